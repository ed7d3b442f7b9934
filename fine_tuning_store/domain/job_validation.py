"""What a caller may ask for when a job is created, and what any stored job must be. Every refusal names its field.

`create` holds the contract's ranges (contract 2.1); a job that came from elsewhere is held only to what the tables can keep.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from fine_tuning_store.domain.hyperparameters import asked_hyperparameters, validate_hyperparameters_for_storage
from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS, FineTuningJob, Hyperparameters, JobError, Method
from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.domain.validation import (
    ID_LENGTH,
    METADATA_KEY_LENGTH,
    METADATA_VALUE_LENGTH,
    NAME_LENGTH,
    ORGANIZATION_LENGTH,
    TEXT_LENGTH,
    WORD_LENGTH,
    integer,
    json_object,
    json_value,
    name,
    optional_integer,
    optional_name,
    optional_text,
    text,
)
from fine_tuning_store.errors import InvalidValueError

METADATA_PAIRS: Final = 16
SUFFIX_LENGTH: Final = 64
INTEGRATIONS: Final = 5
LARGEST_SEED: Final = 2**31 - 1
RESULT_FILES: Final = 1000
MAX_PAGE_SIZE: Final = 1000

#: Every top-level member of the API object that this release knows; `extra` may hold none of them.
MEMBERS: Final = (
    *("object", "id", "model", "created_at", "finished_at", "fine_tuned_model", "organization_id", "result_files", "status"),
    *("validation_file", "training_file", "hyperparameters", "trained_tokens", "error", "user_provided_suffix", "seed"),
    *("estimated_finish", "integrations", "metadata", "usage_metrics", "shared_with_openai", "eval_id", "method"),
)
#: What is kept of a Weights & Biases block. An API key among its members is dropped, never stored.
WANDB_MEMBERS: Final = ("project", "name", "entity", "tags", "run_id")


def job_id(value: object, field: str = "id") -> str:
    """An id of up to 255 characters."""
    return text(field, value, ID_LENGTH, 1)


def organization(value: object) -> str:
    """An organization's id of up to 128 characters."""
    if value is None:
        raise InvalidValueError("organization_id", value, "must be given (or come from store.for_organization)")
    return text("organization_id", value, ORGANIZATION_LENGTH, 1)


def job_status(value: object) -> JobStatus:
    """One of the seven statuses, as a member or its string."""
    try:
        return JobStatus(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidValueError("status", value, f"must be one of {', '.join(JobStatus)}") from None


def page_size(field: str, value: object) -> int:
    """A number of rows, 1 to 1000."""
    return integer(field, value, 1, MAX_PAGE_SIZE)


def metadata_pairs(value: object, pairs: int | None = METADATA_PAIRS) -> dict[str, str] | None:
    """Up to 16 pairs of texts, keys of up to 64 and values of up to 512 characters; no pairs at all is None."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidValueError("metadata", value, "must be an object of strings")
    if pairs is not None and len(value) > pairs:
        raise InvalidValueError("metadata", value, f"must have at most {pairs} pairs")
    return {
        text("metadata (a key)", key, METADATA_KEY_LENGTH): text(f"metadata.{key}", word, METADATA_VALUE_LENGTH)
        for key, word in value.items()
    } or None


def file_ids(value: object) -> tuple[str, ...]:
    """File ids in their order, at most 1000."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise InvalidValueError("result_files", value, "must be a list of file ids")
    files = tuple(name(f"result_files[{position}]", file) for position, file in enumerate(value))
    if len(files) > RESULT_FILES:
        raise InvalidValueError("result_files", files, f"must have at most {RESULT_FILES} entries")
    return files


def job_error(value: object) -> JobError:
    """The error of a failed job. Raises InvalidValueError if no member of it says anything."""
    if not isinstance(value, JobError):
        raise InvalidValueError("error", value, "must be a JobError object")
    extra = _present(json_object("error.extra", value.extra))
    _refuse_members("error.extra", extra, ("code", "message", "param"))
    error = JobError(
        code=optional_text("error.code", value.code, TEXT_LENGTH),
        message=optional_text("error.message", value.message, TEXT_LENGTH),
        param=optional_text("error.param", value.param, TEXT_LENGTH),
        extra=extra,
    )
    if error == JobError():
        raise InvalidValueError("error", value, "must have a code, a message or a param")
    return error


def integration_list(value: object, *, asked: bool = False) -> tuple[Any, ...]:
    """Integrations without secrets: of a Weights & Biases block only project, name, entity, tags and run_id are kept.

    `asked` holds the ranges of a create request: at most 5, of type wandb, with a project.
    """
    if not isinstance(value, (list, tuple)):
        raise InvalidValueError("integrations", type(value).__name__, "must be a list")
    if asked and len(value) > INTEGRATIONS:
        raise InvalidValueError("integrations", len(value), f"must have at most {INTEGRATIONS} entries")
    return tuple(_integration(f"integrations[{position}]", member, asked=asked) for position, member in enumerate(value))


def _integration(field: str, value: object, *, asked: bool) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValueError(field, type(value).__name__, "must be an object")
    block = value.get("wandb")
    if asked:
        if value.get("type") != "wandb" or not isinstance(block, Mapping):
            raise InvalidValueError(f"{field}.type", value.get("type"), 'must be "wandb", with an object of that name beside it')
        text(f"{field}.wandb.project", block.get("project"), NAME_LENGTH, 1)
    if value.get("type") != "wandb" and "wandb" not in value:
        return json_object(field, value)
    if isinstance(block, Mapping):
        return {"type": "wandb", "wandb": json_object(f"{field}.wandb", _known_wandb(block))}
    return {"type": "wandb", **json_object(field, _known_wandb(value))}  # other servers keep the members flat


def _known_wandb(members: Mapping[str, Any]) -> dict[str, Any]:
    return {member: members[member] for member in WANDB_MEMBERS if member in members}


def validate_method_for_storage(value: object) -> Method:
    """A method as it can be stored, of whatever type."""
    if not isinstance(value, Method):
        raise InvalidValueError("method", value, "must be a Method object")
    type = text("method.type", value.type, WORD_LENGTH, 1)
    if type == "type":
        raise InvalidValueError("method.type", type, "must be the name of a method")
    extra = _present(json_object("method.extra", value.extra))
    _refuse_members("method.extra", extra, ("type",))
    block = json_object(f"method.extra.{type}", extra.pop(type, {}))
    _refuse_members(f"method.extra.{type}", block, ("hyperparameters", "grader", "response_format"))
    return Method(
        type=type,
        grader=json_value("method.grader", value.grader),
        response_format=json_value("method.response_format", value.response_format),
        extra={**extra, type: block} if block else extra,
    )


def _present(members: dict[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in members.items() if value is not None}


def _refuse_members(field: str, extra: Mapping[str, Any], members: Iterable[str]) -> None:
    for member in members:
        if member in extra:
            raise InvalidValueError(f"{field}.{member}", extra[member], "is a member of its own")


def _asked_method(value: object) -> Method:
    asked = validate_method_for_storage(value)
    if asked.type not in METHOD_HYPERPARAMETERS:
        raise InvalidValueError("method.type", asked.type, f"must be one of {', '.join(METHOD_HYPERPARAMETERS)}")
    if asked.extra:
        raise InvalidValueError("method", next(iter(asked.extra)), "has an unknown member")
    if asked.type == "reinforcement":
        if not isinstance(asked.grader, dict) or not asked.grader:
            raise InvalidValueError("method.reinforcement.grader", asked.grader, "must be an object: the method needs a grader")
    else:
        for name in ("grader", "response_format"):
            if getattr(asked, name) is not None:
                raise InvalidValueError(f"method.{name}", getattr(asked, name), f"does not belong to the {asked.type} method")
    return asked


_SUPERVISED: Final = Method()


def validate_for_create(
    *,
    id: str,
    created_at: int,
    organization_id: str,
    model: object,
    training_file: object,
    validation_file: object,
    hyperparameters: Hyperparameters | None,
    method: Method | None,
    suffix: object,
    seed: object,
    integrations: object,
    metadata: object,
    eval_id: object,
) -> FineTuningJob:
    """The job that a create call asks for, in its first status, with a seed made here if none was given."""
    asked_method = _SUPERVISED if method is None else _asked_method(method)
    return FineTuningJob(
        id=id,
        created_at=created_at,
        organization_id=organization_id,
        model=name("model", model),
        training_file=name("training_file", training_file),
        validation_file=optional_name("validation_file", validation_file),
        hyperparameters=asked_hyperparameters(hyperparameters, asked_method.type),
        method=asked_method,
        suffix=optional_text("suffix", suffix, SUFFIX_LENGTH, 1),
        seed=random.getrandbits(31) if seed is None else integer("seed", seed, 0, LARGEST_SEED),
        integrations=() if integrations is None else integration_list(integrations, asked=True),
        metadata=metadata_pairs(metadata),
        shared_with_openai=False,
        eval_id=optional_text("eval_id", eval_id, ID_LENGTH, 1),
    )


def check_request(**asked: Any) -> None:
    """Raise InvalidValueError unless `create` would take these arguments."""
    validate_for_create(id="ftjob-", created_at=0, organization_id="org-", eval_id=None, **asked)


def validate_job_for_storage(job: object) -> FineTuningJob:
    """A job from elsewhere as it can be stored: every member checked against what its column holds, and nothing more.

    It may still lack its organization.
    """
    if not isinstance(job, FineTuningJob):
        raise InvalidValueError("job", type(job).__name__, "must be a FineTuningJob (job_from_wire makes one from a payload)")
    state = job_status(job.status)
    if job.finished_at is not None and state not in ENDED:
        raise InvalidValueError("finished_at", job.finished_at, f"must be None while the status is {state}")
    extra = json_object("extra", job.extra)
    _refuse_members("extra", extra, (*MEMBERS, "suffix"))
    if not (job.shared_with_openai is None or isinstance(job.shared_with_openai, bool)):
        raise InvalidValueError("shared_with_openai", job.shared_with_openai, "must be True, False or None")
    return replace(
        job,
        id=job_id(job.id),
        created_at=integer("created_at", job.created_at),
        organization_id=None if job.organization_id is None else organization(job.organization_id),
        model=name("model", job.model),
        training_file=name("training_file", job.training_file),
        validation_file=optional_name("validation_file", job.validation_file),
        fine_tuned_model=optional_name("fine_tuned_model", job.fine_tuned_model),
        status=state,
        finished_at=optional_integer("finished_at", job.finished_at),
        trained_tokens=optional_integer("trained_tokens", job.trained_tokens),
        seed=optional_integer("seed", job.seed),
        suffix=optional_text("suffix", job.suffix, NAME_LENGTH),
        estimated_finish=optional_integer("estimated_finish", job.estimated_finish),
        eval_id=optional_text("eval_id", job.eval_id, ID_LENGTH),
        error=None if job.error is None else job_error(job.error),
        hyperparameters=validate_hyperparameters_for_storage(job.hyperparameters),
        method=None if job.method is None else validate_method_for_storage(job.method),
        result_files=file_ids(job.result_files),
        integrations=integration_list(job.integrations),
        metadata=metadata_pairs(job.metadata, pairs=None),
        usage_metrics=json_value("usage_metrics", job.usage_metrics),
        extra=extra,
    )
