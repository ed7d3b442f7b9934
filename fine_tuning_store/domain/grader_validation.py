"""The graders that a create request may have: those that a client of the API, which knows their types, can read back.

Each check takes a value and raises InvalidValueError, whose field is the path below the value. Paths are built on the way up: one for each
element checked would be slow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from fine_tuning_store.domain.plain_values import exact_number
from fine_tuning_store.domain.validation import below, check_choice, check_integer, check_object, check_text
from fine_tuning_store.errors import InvalidValueError

Check = Callable[[Any], object]


def check_grader(field: str, grader: object) -> None:
    """Raise InvalidValueError if a JSON value is not a grader of a known type, with all members of that type."""
    _at(field, _grader, grader)


def _at(place: str, check: Check, value: Any) -> None:
    try:
        check(value)
    except InvalidValueError as error:
        raise below(place, error) from None


def _text(value: Any) -> None:
    check_text("", value)


def _integer(value: Any) -> None:
    check_integer("", value)


def _number(value: Any) -> None:
    if exact_number(value) is None:
        raise InvalidValueError("", value, "must be a number")


def _word(*words: str) -> Check:
    return lambda value: check_choice("", value, words)


def _optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _list(check: Check) -> Check:
    def check_all(value: Any) -> None:
        if not isinstance(value, list):
            raise InvalidValueError("", value, "must be a list")
        for position, element in enumerate(value):
            _at(f"[{position}]", check, element)

    return check_all


def _object(**members: Check) -> Check:
    """Return the check of an object that has these members, and may have others."""

    def check(value: Any) -> None:
        given = check_object("", value)
        for name, check_member in members.items():
            _at(f".{name}", check_member, given.get(name))

    return check


def _typed(checks: Mapping[str, Check]) -> Check:
    """Return the check of an object whose `type` is one of the keys, and decides on its members."""

    def check(value: Any) -> None:
        given = check_object("", value)
        checks[check_choice(".type", given.get("type"), checks)](given)

    return check


_part: Final = _typed(
    {
        "input_text": _object(text=_text),
        "output_text": _object(text=_text),
        "input_image": _object(image_url=_text, detail=_optional(_text)),
        "input_audio": _object(input_audio=_object(data=_text, format=_word("mp3", "wav"))),
    }
)


def _text_or_part(value: Any) -> None:
    if not isinstance(value, str):
        _part(value)


def _content(value: Any) -> None:
    (_list(_text_or_part) if isinstance(value, list) else _text_or_part)(value)


_messages: Final = _list(
    _object(role=_word("user", "assistant", "system", "developer"), content=_content, type=_optional(_word("message")))
)
_METRICS: Final = ("cosine", "fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l")
_sampling: Final = _object(
    seed=_optional(_integer),
    max_completions_tokens=_optional(_integer),
    temperature=_optional(_number),
    top_p=_optional(_number),
    reasoning_effort=_optional(_text),  # new models have new words
)

_SINGLE: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "string_check": _object(name=_text, input=_text, reference=_text, operation=_word("eq", "ne", "like", "ilike")),
        "text_similarity": _object(name=_text, input=_text, reference=_text, evaluation_metric=_word(*_METRICS)),
        "python": _object(name=_text, source=_text, image_tag=_optional(_text)),
        "score_model": _object(
            name=_text, model=_text, input=_messages, range=_optional(_list(_number)), sampling_params=_optional(_sampling)
        ),
        "label_model": _object(name=_text, model=_text, input=_messages, labels=_list(_text), passing_labels=_list(_text)),
    }
)
_single: Final = _typed(_SINGLE)


def _several(value: Any) -> None:
    """Check the `graders` of a multi grader: one grader, as the schema has it, or an object of names, as OpenAI's guide has it."""
    graders = check_object("", value)
    if isinstance(graders.get("type"), str):
        _single(graders)
        return
    if not graders:
        raise InvalidValueError("", value, "must have at least one grader")
    for name, grader in graders.items():
        _at(f".{name}", _single, grader)


#: A job has one of these. The guide leaves out the `name` of a multi grader, which the schema demands.
_grader: Final = _typed(
    {
        **{type: check for type, check in _SINGLE.items() if type != "label_model"},
        "multi": _object(name=_optional(_text), calculate_output=_text, graders=_several),
    }
)
