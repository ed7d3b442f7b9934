"""The endpoints of graders: `validate` checks the shape of a grader, `run` evaluates those that need neither a model nor a sandbox."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq

from fine_tuning_store import InvalidValueError, grader_from_wire
from openai_service.bodies import Body, Wire, reply

MAX_TEXT, MAX_WORDS = 300_000, 2_000  # of a text that is evaluated; words only where they are compared

router = APIRouter(prefix="/v1/fine_tuning/alpha/graders")
Words = Sequence[str]


@router.post("/validate")
def validate_grader(payload: Body) -> Response:
    return reply({"grader": grader_from_wire(payload.get("grader"))})


@router.post("/run")
def run_grader(payload: Body) -> Response:
    grader, sample = grader_from_wire(payload.get("grader")), payload.get("model_sample")
    if not isinstance(sample, str):
        raise InvalidValueError("model_sample", sample, "must be a text")
    evaluate = EVALUATORS.get(grader["type"])
    if evaluate is None:
        raise HTTPException(501, f"This service does not run graders of the type {grader['type']!r}: they need a model or a sandbox.")
    started = time.perf_counter()
    variables = {"sample": {"output_text": sample, "output_json": _json_or_none(sample)}, "item": payload.get("item")}
    errors = dict.fromkeys(ERRORS, False)
    try:
        reward = evaluate(grader, *(_filled(grader[name], variables) for name in ("input", "reference")))
    except (LookupError, RecursionError):
        errors["invalid_variable_error"], reward = True, 0.0
    metadata = {"name": grader["name"], "type": grader["type"], "scores": {grader["name"]: reward}, "errors": errors}
    return reply(
        {
            "reward": reward,
            "sub_rewards": {},
            "model_grader_token_usage_per_model": {},
            "metadata": {**metadata, "execution_time": time.perf_counter() - started, "token_usage": None, "sampled_model_name": None},
        }
    )


#: What a result of the API says about errors. Only the variables of a template can be wrong here.
ERRORS = (
    *("formula_parse_error", "invalid_variable_error", "model_grader_parse_error", "model_grader_refusal_error"),
    *("model_grader_server_error", "other_error", "python_grader_runtime_error", "python_grader_server_error"),
    *("sample_parse_error", "truncated_observation_error", "unresponsive_reward_error"),
)


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _filled(template: str, variables: Wire) -> str:
    """Return the template with each `{{ name.name }}` replaced. Raises LookupError for an unknown name."""
    length = len(template)

    def value_of(match: re.Match[str]) -> str:
        nonlocal length
        value: Any = variables
        for name in match[1].split("."):
            if isinstance(value, list) and re.fullmatch("[0-9]{1,6}", name):
                value = value[int(name)]
            elif isinstance(value, dict):
                value = value[name]
            else:
                raise LookupError(name)
        text = value if isinstance(value, str) else json.dumps(value)
        length += len(text)
        if length > MAX_TEXT:  # before it grows: a short request could fill the memory
            raise InvalidValueError("grader", None, f"must not make texts of more than {MAX_TEXT} characters")
        return text

    return re.sub(r"\{\{\s*([^{}\s]+)\s*\}\}", value_of, template)


def check_strings(grader: Wire, text: str, reference: str) -> float:
    """Return 1 if the texts compare as the operation says, else 0."""
    operations: dict[str, Callable[[], bool]] = {
        "eq": lambda: text == reference,
        "ne": lambda: text != reference,
        "like": lambda: reference in text,
        "ilike": lambda: reference.lower() in text.lower(),
    }
    return float(operations[grader["operation"]]())


def compare_texts(grader: Wire, text: str, reference: str) -> float:
    """Return how similar the texts are, from 0 to 1."""
    name = grader["evaluation_metric"]
    if name == "fuzzy_match":
        return fuzz.ratio(text, reference) / 100
    words, expected = text.split(), reference.split()
    if max(len(words), len(expected)) > MAX_WORDS:
        raise InvalidValueError("grader", None, f"must not compare texts of more than {MAX_WORDS} words by {name}")
    if name.startswith("rouge_"):
        return rouge(words, expected, name.removeprefix("rouge_"))
    if name == "cosine":
        raise HTTPException(501, "This service does not compute 'cosine': it needs a model of embeddings.")
    return translation_score(name, words, expected) if words and expected else float(words == expected)


def translation_score(name: str, words: Words, expected: Words) -> float:
    """Return a score for translations: `bleu`, `gleu` or `meteor`."""
    from nltk.translate import bleu_score, gleu_score, meteor_score  # takes half a second, once

    if name == "bleu":
        return float(bleu_score.sentence_bleu([expected], words, smoothing_function=bleu_score.SmoothingFunction().method1))
    if name == "gleu":
        return float(gleu_score.sentence_gleu([expected], words))
    return float(meteor_score.single_meteor_score(expected, words, wordnet=NoSynonyms()))


class NoSynonyms:
    """Instead of WordNet, which has to be downloaded: METEOR compares words and their stems alone."""

    def synsets(self, _: str) -> list[Any]:
        return []


def rouge(words: Words, expected: Words, kind: str) -> float:
    """Return the F1 score of common n-grams (kinds `1` to `5`), or of the longest common subsequence (`l`)."""
    if kind == "l":
        common, sizes = LCSseq.similarity(words, expected), (len(words), len(expected))
    else:
        found, wanted = (Counter(zip(*(each[start:] for start in range(int(kind))), strict=False)) for each in (words, expected))
        common, sizes = (found & wanted).total(), (found.total(), wanted.total())
    return 2 * common / sum(sizes) if sum(sizes) else float(words == expected)


EVALUATORS: dict[str, Callable[[Wire, str, str], float]] = {"string_check": check_strings, "text_similarity": compare_texts}
