"""The lists that are measured as a database grows: the filters of each, and where a goal applies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import signature
from typing import Any, Final, NamedTuple

from benchmarks.synthetic import COMMON_PAIR, FIRST_SECOND, MODELS, ORGANIZATIONS, PAIR_OF_5_PERCENT, RARE_PAIR, SHARED_FILES, TWO_YEARS
from fine_tuning_store import FineTuningJob, FineTuningJobRepository, FineTuningStore, Hyperparameters, JobFilters

ORGANIZATION: Final = ORGANIZATIONS.words[2]  #: of 6 % of the jobs
OF_A_JOB: Final = object()  #: stands for the value of one job, which differs from database to database
NO_SUCH: Final = "no-such-value"
MIDDLE: Final = FIRST_SECOND + TWO_YEARS // 2
MONTH: Final = 30 * 86_400

CREATED: Final = frozenset({"created_at"})
FINISHED: Final = frozenset({"finished_at"})
NOWHERE: Final[frozenset[str]] = frozenset()


class ListCase(NamedTuple):
    """A list: its filters, and the orders in which it may take no longer in a large database."""

    name: str
    filters: Mapping[str, Any]
    goal: frozenset[str] = CREATED


CASES: Final = (
    ListCase("all jobs", {}),
    ListCase("status", {"status": "failed"}, CREATED | FINISHED),
    ListCase("open status", {"status": "queued"}),
    ListCase("two open statuses", {"status": ("queued", "running")}),
    ListCase("two ended statuses", {"status": ("succeeded", "failed")}, CREATED | FINISHED),
    ListCase("common model", {"model": MODELS.words[0]}),
    ListCase("rare model", {"model": MODELS.words[-1]}),
    ListCase("fine-tuned model", {"fine_tuned_model": OF_A_JOB}),
    ListCase("method", {"method": "dpo"}),
    ListCase("shared training file", {"training_file": SHARED_FILES.words[0]}),
    ListCase("training file", {"training_file": OF_A_JOB}),
    ListCase("common pair", {"metadata": dict([COMMON_PAIR])}),
    ListCase("pair of 5 %", {"metadata": dict([PAIR_OF_5_PERCENT])}),
    ListCase("rare pair", {"metadata": dict([RARE_PAIR])}),
    ListCase("common and rare pair", {"metadata": dict([COMMON_PAIR, RARE_PAIR])}),
    ListCase("common pair and pair of 5 %", {"metadata": dict([COMMON_PAIR, PAIR_OF_5_PERCENT])}),
    ListCase("created in a month", {"created_since": MIDDLE, "created_until": MIDDLE + MONTH}),
    ListCase("status and model", {"status": "cancelled", "model": MODELS.words[-1]}, NOWHERE),
    ListCase("any metadata", {"has_metadata": True}, NOWHERE),
    # Residual filters that match no job, so that the whole leading index is read.
    ListCase("common pair, no metadata", {"metadata": dict([COMMON_PAIR]), "has_metadata": False}, NOWHERE),
    ListCase("validation file", {"validation_file": NO_SUCH}, NOWHERE),
    ListCase("result file", {"result_file": NO_SUCH}, NOWHERE),
    ListCase("suffix", {"suffix": NO_SUCH}, NOWHERE),
    ListCase("error code", {"error_code": NO_SUCH}, NOWHERE),
    ListCase("hyperparameters at least", {"hyperparameters_at_least": Hyperparameters(n_epochs=1000)}, NOWHERE),
    ListCase("hyperparameters at most", {"hyperparameters_at_most": Hyperparameters(learning_rate_multiplier=0.0001)}, NOWHERE),
    ListCase("attempt", {"attempt": 1000}, NOWHERE),
    ListCase("updated since", {"updated_since": MIDDLE * 2}, NOWHERE),
    ListCase("updated until", {"updated_until": 1}, NOWHERE),
    ListCase("finished in a month", {"finished_since": MIDDLE, "finished_until": MIDDLE + MONTH}, FINISHED),
)


class List(NamedTuple):
    """A list in one order."""

    name: str
    filters: Mapping[str, Any]
    order_by: str
    order: str
    has_goal: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """The order as arguments of `store.jobs.list`."""
        return {"order": self.order, **({"order_by": self.order_by} if HAS_ORDER_BY else {})}


HAS_ORDER_BY: Final = "order_by" in signature(FineTuningJobRepository.list).parameters


def lists(only: str = "") -> Iterator[List]:
    """Yield every case in every order that the store has, of all jobs and of one organization. Print a line for each that it lacks."""
    for case in CASES:
        missing = [name for name in case.filters if name not in JobFilters.__annotations__]
        if missing:
            print(f"skipped {case.name}: the store has no filter {', '.join(missing)}")
            continue
        for scope in ({}, {"organization_id": ORGANIZATION}):
            name = f"organization, {case.name}" if scope else case.name
            for order_by in ("created_at", "finished_at") if HAS_ORDER_BY else ("created_at",):
                for order in ("desc", "asc"):
                    if only in name:
                        yield List(name, {**case.filters, **scope}, order_by, order, order_by in case.goal)
    if not HAS_ORDER_BY:
        print("skipped the order of finished_at: the store has no order_by")


def sample_job(store: FineTuningStore) -> FineTuningJob:
    """Return a job with the values that stand for OF_A_JOB: a fine-tuned model, and a training file of its own."""
    page = store.jobs.list(organization_id=ORGANIZATION, status="succeeded", limit=1000)
    return next(job for job in page.data if job.training_file not in SHARED_FILES.words)


def resolved(filters: Mapping[str, Any], sample: FineTuningJob) -> dict[str, Any]:
    """Return the filters with the values of the sample in place of OF_A_JOB."""
    return {name: getattr(sample, name) if value is OF_A_JOB else value for name, value in filters.items()}
