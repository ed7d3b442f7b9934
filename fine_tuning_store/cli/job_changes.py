"""`fine-tuning-store jobs`: the commands that create a job and change its status."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fine_tuning_store.cli import output
from fine_tuning_store.cli.filters import parse_number, parse_pairs
from fine_tuning_store.cli.job_rows import job_to_json
from fine_tuning_store.cli.options import EXIT_CODES, AsJson, JobId, Source, epilog, with_options
from fine_tuning_store.domain.hyperparameters import STORABLE_RANGES
from fine_tuning_store.domain.job import FineTuningJob, Hyperparameters
from fine_tuning_store.domain.job import Method as JobMethod
from fine_tuning_store.domain.job_validation import JobRequest
from fine_tuning_store.domain.lifecycle import TRANSITIONS
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.store import FineTuningStore
from fine_tuning_store.wire.requests import job_request_from_wire

commands = typer.Typer()

Actor = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What the log names as the actor; the login name unless given."),
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="The reason, for the log.")]
Message = Annotated[str | None, typer.Option(metavar="TEXT", help="A message for the job's user, which becomes an event.")]


def _text(help: str, metavar: str = "ID") -> Any:
    return typer.Option(metavar=metavar, help=help, show_default=False)


@commands.command(
    epilog=epilog(
        EXIT_CODES,
        examples=(
            "jobs create --organization org-1 --model gpt-4o-mini --training-file file-abc",
            "jobs create --organization org-1 --model gpt-4o-mini --training-file file-abc \\",
            "        --hyperparameter n_epochs=3 --metadata team=nlp --enqueue",
            "jobs create --organization org-1 --request request.json",
        ),
    )
)
@with_options
def create(
    *,
    source: Source,
    organization: Annotated[str, _text("The organization of the job.")],
    model: Annotated[str | None, _text("The base model.", "NAME")] = None,
    training_file: Annotated[str | None, _text("The training file.")] = None,
    validation_file: Annotated[str | None, _text("The validation file.")] = None,
    method: Annotated[Literal["supervised", "dpo"] | None, typer.Option(help="The method; supervised unless given.")] = None,
    hyperparameter: Annotated[list[str] | None, _text("A number, or a word such as auto (repeatable).", "NAME=VALUE")] = None,
    suffix: Annotated[str | None, _text("A part of the name of the fine-tuned model.", "TEXT")] = None,
    seed: Annotated[int | None, _text("The seed; a random number unless given.", "N")] = None,
    metadata: Annotated[list[str] | None, _text("A pair (repeatable).", "KEY=VALUE")] = None,
    request: Annotated[
        str | None, _text("A file with a create request of the API in JSON, - for standard input, instead of the options above.", "FILE")
    ] = None,
    id: Annotated[str | None, _text("An id of your own.")] = None,
    idempotency_key: Annotated[str | None, _text("Return the job of the first call with this key.", "KEY")] = None,
    enqueue: Annotated[bool, typer.Option("--enqueue", help="Enqueue the job at once, for the workers.")] = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Create a job, by the rules of the API, and print its id."""
    members: dict[str, Any] = {
        "model": model,
        "training_file": training_file,
        "validation_file": validation_file,
        "suffix": suffix,
        "seed": seed,
        "metadata": parse_pairs("--metadata", metadata) or None,
        "method": None if method is None else JobMethod(type=method),
        "hyperparameters": _hyperparameters(hyperparameter),
    }
    given = {name: value for name, value in members.items() if value is not None}
    if request is not None and given:
        raise typer.BadParameter("is given instead of the members of the request, not beside them.", param_hint="'--request'")
    new: JobRequest = _read_request(request) if request is not None else _complete(given)

    def work(store: FineTuningStore) -> FineTuningJob:
        with store.begin() as unit:
            job = unit.jobs.create(organization_id=organization, id=id, idempotency_key=idempotency_key, **new)
            if enqueue and job.status in TRANSITIONS["enqueue"].sources:
                job = unit.jobs.enqueue(job.id, actor=actor or login_name())
            return job

    with source.open(as_json=as_json, read_only=False) as store:
        job = store.call(work)
    if as_json:
        output.write_json(job_to_json(job))
    else:
        output.write_line(output.plain(job.id))


def _complete(given: dict[str, Any]) -> Any:
    for name in sorted(JobRequest.__required_keys__):
        if name not in given:
            raise typer.BadParameter("is missing (or give --request).", param_hint=f"'--{name.replace('_', '-')}'")
    return given


def _hyperparameters(texts: list[str] | None) -> Hyperparameters | None:
    option = "--hyperparameter"
    pairs = parse_pairs(option, texts)
    for name in pairs:
        if name not in (*STORABLE_RANGES, "reasoning_effort"):
            raise typer.BadParameter(f"{name!r} is not a hyperparameter: use {', '.join(STORABLE_RANGES)}.", param_hint=f"'{option}'")
    values: dict[str, Any] = {
        name: text if text == "auto" or name == "reasoning_effort" else parse_number(option, name, text) for name, text in pairs.items()
    }
    return Hyperparameters(**values) if values else None


def _read_request(file: str) -> JobRequest:
    option = "'--request'"
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        return job_request_from_wire(json.loads(text))
    except OSError as error:
        raise typer.BadParameter(f"{file!r} cannot be read: {error.strerror}.", param_hint=option) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidValueError):
            raise typer.BadParameter(f"{error}.", param_hint=option) from None
        raise typer.BadParameter(f"{file!r} is not JSON in UTF-8.", param_hint=option) from None


def login_name() -> str:
    """Return the login name of the user, or `unknown`, as in a container whose user has no name."""
    try:
        return getpass.getuser() or "unknown"
    except (OSError, KeyError, ImportError):
        return "unknown"


def _change(verb: str, help: str, *examples: str) -> Callable[..., None]:
    """Add the command of a transition that needs no more than a job."""

    def command(
        *, source: Source, id: JobId, reason: Reason = None, actor: Actor = None, message: Message = None, as_json: AsJson = False
    ) -> None:
        by = actor or login_name()
        with source.open(as_json=as_json, read_only=False) as store:
            job: FineTuningJob = store.call(lambda store: getattr(store.jobs, verb)(id, actor=by, reason=reason, message=message))
        if as_json:
            output.write_json(job_to_json(job))
        else:
            output.write_line(f"{output.plain(job.id)} is {job.status}")

    allowed = ", ".join(TRANSITIONS[verb].sources)
    described = f"{help} Allowed from: {allowed}."
    return commands.command(verb, help=described, epilog=epilog(EXIT_CODES, examples=examples))(with_options(command))


cancel = _change(
    "cancel", "Cancel a job. A worker that has it learns so by its next heartbeat.", "jobs cancel ftjob-abc --reason 'wrong file'"
)
pause = _change("pause", "Pause a job, until it is resumed.", "jobs pause ftjob-abc --actor alice")
resume = _change("resume", "Return a paused job to the queue.", "jobs resume ftjob-abc")
requeue = _change(
    "requeue",
    "Return a running job to the queue, for example one that is stuck.",
    "jobs requeue ftjob-abc --reason 'its worker was lost'",
    "jobs stuck --json | jq -r '.data[].id' | xargs -n1 fine-tuning-store jobs requeue",
)
