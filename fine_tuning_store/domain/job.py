"""Fine-tuning jobs as plain values: frozen, slotted, compared by content. Nothing here knows SQL or JSON text.

Times are Unix seconds. Members that the API leaves null while a job runs are None. Objects without a fixed form (graders, usage metrics,
unknown members) are Python values as `json.loads` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, Self

from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.storable import storable_members, storable_text, text_of

Auto = Literal["auto"]

#: The hyperparameters of each training method, in the order of the OpenAI API reference.
METHOD_HYPERPARAMETERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "supervised": ("n_epochs", "batch_size", "learning_rate_multiplier"),
        "dpo": ("n_epochs", "batch_size", "learning_rate_multiplier", "beta"),
        "reinforcement": (
            "n_epochs",
            "batch_size",
            "learning_rate_multiplier",
            "compute_multiplier",
            "eval_interval",
            "eval_samples",
            "reasoning_effort",
        ),
    }
)


def _json() -> Any:
    """Return a field for a JSON object: compared by value, left out of the hash because dicts have none."""
    return field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed: a machine-readable `code`, a `message` for people, and the parameter at fault.

    `extra` keeps members that the API has not documented, and a code, message or param that was imported as something else than a text: a
    code of 500 is there, and `code` is `"500"`.
    """

    code: str | None = None
    message: str | None = None
    param: str | None = None
    extra: Mapping[str, Any] = _json()

    @classmethod
    def from_exception(cls, error: BaseException, *, code: str | None = None, **extra: Any) -> Self:
        """Return the error of a job whose training raised an exception. It can always be stored.

        Args:
            error: The exception. Its text is the message.
            code: The code. By default it is the name of the exception's type.
            **extra: More about it, such as `step=4`.

        What no database holds is replaced: NUL and lone surrogates in a text, NaN and infinity by null, what is no JSON by its text. A text
        is cut off after 1,000,000 bytes, and `extra` that is too large as a whole is left out.
        """
        name = type(error).__name__
        return cls(
            code=storable_text(code or name),
            message=storable_text(text_of(error)) or name,
            extra=storable_members({name: value for name, value in extra.items() if name not in ("code", "message", "param")}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """The settings of a training run, for every method. Each is `"auto"`, a number, or None if it is absent.

    `reasoning_effort` is a word. `extra` keeps what no column can hold: unknown names, and imported values of another type.
    """

    n_epochs: int | Auto | None = None
    batch_size: int | Auto | None = None
    learning_rate_multiplier: float | Auto | None = None
    beta: float | Auto | None = None
    compute_multiplier: float | Auto | None = None
    eval_interval: int | Auto | None = None
    eval_samples: int | Auto | None = None
    reasoning_effort: str | None = None
    extra: Mapping[str, Any] = _json()


#: The names of the hyperparameters that have a column of their own, in the order of the fields.
HYPERPARAMETERS = tuple(member.name for member in fields(Hyperparameters) if member.name != "extra")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How a model is trained: `supervised`, `dpo` or `reinforcement` (with a grader). Its settings are the job's hyperparameters."""

    type: str = "supervised"
    grader: Any = field(default=None, hash=False)
    response_format: Any = field(default=None, hash=False)
    extra: Mapping[str, Any] = _json()


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuningJob:
    """A fine-tuning job: the 14 members of the API's first version, what the API added later, and what only the store knows.

    `organization_id` is None only on a job that was read from a payload without one; every stored job has it. `method` is None on jobs
    from before methods existed. `extra` holds members that this release does not know, and those of KEPT_MEMBERS as they were imported.

    `wire_status` is the status and, after a colon, the word that another server sent for it, such as `running:training`. `job_to_wire`
    writes the word while the job has that status; every transition clears it.

    The members of STORE_MEMBERS are not on the wire. `attempt` counts the starts. `queued_at`, `started_at` and `updated_at` are the Unix
    seconds at which the job was last queued, started and changed. `queued_seconds` and `running_seconds` are totals over all attempts,
    without pauses, and grow when the job leaves the status. They are None if a part is unknown, as on imported jobs. A queued job may be
    claimed from `available_at` on. A lease of `worker_id` on the job ends at `lease_expires_at`, and `lost_leases` counts those that a
    worker let expire; these times are of the database's clock, and a job that is stored by `add` has no lease.
    """

    id: str
    created_at: int
    finished_at: int | None = None
    error: JobError | None = None
    fine_tuned_model: str | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    model: str
    organization_id: str | None = None
    result_files: tuple[str, ...] = ()
    status: JobStatus = JobStatus.VALIDATING_FILES
    trained_tokens: int | None = None
    training_file: str
    validation_file: str | None = None
    seed: int | None = None
    integrations: tuple[Any, ...] = field(default=(), hash=False)
    metadata: Mapping[str, str] | None = field(default=None, hash=False)
    method: Method | None = None
    suffix: str | None = None
    estimated_finish: int | None = None
    usage_metrics: Any = field(default=None, hash=False)
    shared_with_openai: bool | None = None
    eval_id: str | None = None
    attempt: int = 0
    queued_at: int | None = None
    started_at: int | None = None
    updated_at: int | None = None
    queued_seconds: int | None = None
    running_seconds: int | None = None
    available_at: int = 0
    worker_id: str | None = None
    lease_expires_at: int | None = None
    lost_leases: int = 0
    wire_status: str | None = None
    extra: Mapping[str, Any] = _json()

    @property
    def object(self) -> str:
        """The API's name of this kind of object, always `fine_tuning.job`."""
        return "fine_tuning.job"


#: The members of a job that the store keeps for itself: the JSON of the API does not have them.
STORE_MEMBERS = (
    "attempt",
    "queued_at",
    "started_at",
    "updated_at",
    "queued_seconds",
    "running_seconds",
    "available_at",
    "worker_id",
    "lease_expires_at",
    "lost_leases",
)
#: The members of the API that `extra` keeps where no column can hold them: the `finished_at` of an open job, and an `error` that is no
#: object, whose text is in `JobError.message` too.
KEPT_MEMBERS = ("finished_at", "error")
