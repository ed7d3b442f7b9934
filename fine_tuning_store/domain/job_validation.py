"""The rules of jobs: what a create call accepts, and what can be stored. Every error names the field at fault.

`create` accepts the ranges of the OpenAI API reference. A job that comes from elsewhere only has to fit into the tables.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final, TypedDict

from fine_tuning_store.domain.hyperparameters import hyperparameters_for_create, validate_hyperparameters
from fine_tuning_store.domain.job import KEPT_MEMBERS, STORE_MEMBERS, FineTuningJob, Hyperparameters, Method
from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.domain.member_validation import (
    check_error,
    check_integrations,
    check_kept_members,
    check_wire_status,
    method_for_create,
    validate_method,
)
from fine_tuning_store.domain.validation import (
    MAX_ID_LENGTH,
    MAX_METADATA_KEY_LENGTH,
    MAX_METADATA_VALUE_LENGTH,
    MAX_NAME_LENGTH,
    MAX_ORGANIZATION_LENGTH,
    check_integer,
    check_json,
    check_json_object,
    check_name,
    check_object,
    check_optional_integer,
    check_optional_name,
    check_optional_text,
    check_text,
    refuse_members,
)
from fine_tuning_store.errors import InvalidValueError

MAX_METADATA_PAIRS: Final = 16
MAX_STORED_METADATA_PAIRS: Final = 1000  # of a job from elsewhere
MAX_SUFFIX_LENGTH: Final = 64
MAX_SEED: Final = 2**31 - 1
MAX_RESULT_FILES: Final = 1000
MAX_PAGE_SIZE: Final = 1000
MAX_COUNT: Final = 2**31 - 1  # of attempts and lost leases: one more still fits into a BIGINT
MAX_SECONDS: Final = 2**53  # of a job in a status: what is added to it still fits into a BIGINT

#: The members of a job under their names in the API, which differ in one case. `extra` may hold none of them but the KEPT_MEMBERS.
WIRE_MEMBERS: Final = (
    "object",
    *(
        "user_provided_suffix" if field.name == "suffix" else field.name
        for field in fields(FineTuningJob)
        if field.name not in (*STORE_MEMBERS, "wire_status", "extra")
    ),
)


class _RequiredMembers(TypedDict):
    model: str
    training_file: str


class JobRequest(_RequiredMembers, total=False):
    """What a client of the API may send to create a job.

    Attributes:
        model: The name of the base model. Required.
        training_file: A file id. Required.
        validation_file: A file id.
        hyperparameters: Those that are missing become `"auto"`.
        method: The training method, by default supervised.
        suffix: 1 to 64 characters for the name of the fine-tuned model.
        seed: 0 to 2147483647, by default a random number.
        integrations: At most 5, of type wandb.
        metadata: At most 16 pairs; keys of up to 64, values of up to 512 characters.
    """

    validation_file: str | None
    hyperparameters: Hyperparameters | None
    method: Method | None
    suffix: str | None
    seed: int | None
    integrations: Sequence[Mapping[str, Any]] | None
    metadata: Mapping[str, str] | None


class NewJob(JobRequest, total=False):
    """The arguments of `create` besides the organization: those of JobRequest, and what only the service knows.

    Attributes:
        eval_id: The id of an evaluation, 1 to 255 characters.
    """

    eval_id: str | None


class JobChanges(TypedDict, total=False):
    """The arguments of `update`. What is not given stays as it is; None clears.

    Attributes:
        trained_tokens: The number of tokens that were trained.
        estimated_finish: Unix seconds.
        usage_metrics: A JSON value.
        eval_id: The id of an evaluation, 1 to 255 characters.
        metadata: At most 16 pairs, which replace all stored ones. The only one that an ended job accepts.
    """

    trained_tokens: int | None
    estimated_finish: int | None
    usage_metrics: Any
    eval_id: str | None
    metadata: Mapping[str, str] | None


def check_id(value: object, field: str = "id") -> str:
    """Return an id of 1 to 255 characters."""
    return check_text(field, value, MAX_ID_LENGTH, 1)


def check_organization(value: object) -> str:
    """Return an organization id of 1 to 128 characters."""
    if value is None:
        raise InvalidValueError("organization_id", value, "must be given (or come from store.for_organization)")
    return check_text("organization_id", value, MAX_ORGANIZATION_LENGTH, 1)


def check_status(value: object, field: str = "status") -> JobStatus:
    """Return the status of a JobStatus member or its string."""
    try:
        return JobStatus(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidValueError(field, value, f"must be one of {', '.join(JobStatus)}") from None


def check_page_size(field: str, value: object) -> int:
    """Return a number of rows, 1 to 1000."""
    return check_integer(field, value, 1, MAX_PAGE_SIZE)


def check_metadata(value: object, max_pairs: int = MAX_METADATA_PAIRS) -> dict[str, str] | None:
    """Return a copy of the metadata: at most `max_pairs` pairs of strings. No pairs become None."""
    if value is None:
        return None
    pairs = check_object("metadata", value)
    if len(pairs) > max_pairs:
        raise InvalidValueError("metadata", value, f"must have at most {max_pairs} pairs")
    return {
        check_text("metadata (a key)", key, MAX_METADATA_KEY_LENGTH): check_text(f"metadata.{key}", word, MAX_METADATA_VALUE_LENGTH)
        for key, word in pairs.items()
    } or None


def check_result_files(value: object) -> tuple[str, ...]:
    """Return at most 1000 file ids in their order."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise InvalidValueError("result_files", value, "must be a list of file ids")
    files = tuple(check_name(f"result_files[{position}]", file) for position, file in enumerate(value))
    if len(files) > MAX_RESULT_FILES:
        raise InvalidValueError("result_files", files, f"must have at most {MAX_RESULT_FILES} entries")
    return files


_SUPERVISED: Final = Method()


def validate_for_create(id: str, created_at: int, organization_id: str | None, request: Mapping[str, Any]) -> FineTuningJob:
    """Return the job that the arguments of `create` ask for, in its first status.

    Raises InvalidValueError for a value outside of the API's ranges, and TypeError for a wrong or missing argument.
    """
    _refuse_arguments("create", request, NewJob)
    for required in sorted(NewJob.__required_keys__):
        if required not in request:
            raise TypeError(f"create() needs the argument {required!r}")
    get = request.get
    method = _SUPERVISED if get("method") is None else method_for_create(get("method"))
    return FineTuningJob(
        id=id,
        created_at=created_at,
        organization_id=organization_id,
        model=check_name("model", get("model")),
        training_file=check_name("training_file", get("training_file")),
        validation_file=check_optional_name("validation_file", get("validation_file")),
        hyperparameters=hyperparameters_for_create(get("hyperparameters"), method.type),
        method=method,
        suffix=check_optional_text("suffix", get("suffix"), MAX_SUFFIX_LENGTH, 1),
        seed=random.getrandbits(31) if get("seed") is None else check_integer("seed", get("seed"), 0, MAX_SEED),
        integrations=() if get("integrations") is None else check_integrations(get("integrations"), for_create=True),
        metadata=check_metadata(get("metadata")),
        shared_with_openai=False,
        eval_id=check_optional_text("eval_id", get("eval_id"), MAX_ID_LENGTH, 1),
        queued_seconds=0,
        running_seconds=0,
    )


def _refuse_arguments(function: str, given: Mapping[str, Any], accepted: Any) -> None:
    names = accepted.__required_keys__ | accepted.__optional_keys__
    for name in given:
        if name not in names:
            raise TypeError(f"{function}() has no argument {name!r}: use {', '.join(sorted(names))}")


def validate_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the arguments of `update`. Raises InvalidValueError, and TypeError for a wrong argument."""
    _refuse_arguments("update", changes, JobChanges)
    checks: dict[str, Callable[[object], Any]] = {
        "trained_tokens": lambda value: check_optional_integer("trained_tokens", value, 0),
        "estimated_finish": lambda value: check_optional_integer("estimated_finish", value, 0),
        "usage_metrics": lambda value: check_json("usage_metrics", value),
        "eval_id": lambda value: check_optional_text("eval_id", value, MAX_ID_LENGTH, 1),
        "metadata": check_metadata,
    }
    return {name: checks[name](value) for name, value in changes.items()}


def validate_for_storage(job: object) -> FineTuningJob:
    """Return a copy of a job from elsewhere that the tables can hold. It may still lack its organization.

    What was kept of a status that the job no longer has, or of another error, is left out, and so is a lease. Raises InvalidValueError for
    a member that its column cannot hold.
    """
    if not isinstance(job, FineTuningJob):
        raise InvalidValueError("job", type(job).__name__, "must be a FineTuningJob (job_from_wire makes one from a payload)")
    status = check_status(job.status)
    if job.finished_at is not None and status not in ENDED:
        raise InvalidValueError("finished_at", job.finished_at, f"must be None while the status is {status}")
    error = None if job.error is None else check_error(job.error)
    extra = check_json_object("extra", job.extra)
    refuse_members("extra", extra, [name for name in (*WIRE_MEMBERS, "suffix") if name not in KEPT_MEMBERS])
    kept = check_kept_members({name: extra.pop(name) for name in KEPT_MEMBERS if name in extra}, status, error)
    if not (job.shared_with_openai is None or isinstance(job.shared_with_openai, bool)):
        raise InvalidValueError("shared_with_openai", job.shared_with_openai, "must be True, False or None")
    return replace(
        job,
        id=check_id(job.id),
        created_at=check_integer("created_at", job.created_at),
        organization_id=None if job.organization_id is None else check_organization(job.organization_id),
        model=check_name("model", job.model),
        training_file=check_name("training_file", job.training_file),
        validation_file=check_optional_name("validation_file", job.validation_file),
        fine_tuned_model=check_optional_name("fine_tuned_model", job.fine_tuned_model),
        status=status,
        finished_at=check_optional_integer("finished_at", job.finished_at),
        trained_tokens=check_optional_integer("trained_tokens", job.trained_tokens),
        seed=check_optional_integer("seed", job.seed),
        suffix=check_optional_text("suffix", job.suffix, MAX_NAME_LENGTH),
        estimated_finish=check_optional_integer("estimated_finish", job.estimated_finish),
        eval_id=check_optional_text("eval_id", job.eval_id, MAX_ID_LENGTH),
        error=error,
        hyperparameters=validate_hyperparameters(job.hyperparameters),
        method=None if job.method is None else validate_method(job.method),
        result_files=check_result_files(job.result_files),
        integrations=check_integrations(job.integrations),
        metadata=check_metadata(job.metadata, MAX_STORED_METADATA_PAIRS),
        usage_metrics=check_json("usage_metrics", job.usage_metrics),
        attempt=check_integer("attempt", job.attempt, 0, MAX_COUNT),
        queued_at=check_optional_integer("queued_at", job.queued_at, 0),
        started_at=check_optional_integer("started_at", job.started_at, 0),
        updated_at=check_optional_integer("updated_at", job.updated_at, 0),
        queued_seconds=check_optional_integer("queued_seconds", job.queued_seconds, 0, MAX_SECONDS),
        running_seconds=check_optional_integer("running_seconds", job.running_seconds, 0, MAX_SECONDS),
        available_at=check_integer("available_at", job.available_at, 0),
        worker_id=None,
        lease_expires_at=None,
        lost_leases=check_integer("lost_leases", job.lost_leases, 0, MAX_COUNT),
        wire_status=check_wire_status(job.wire_status, status),
        extra={**extra, **kept},
    )
