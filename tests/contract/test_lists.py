"""Pages, filters and iteration over jobs."""

from __future__ import annotations

import itertools
import random
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from fine_tuning_store import CursorNotFoundError, FineTuningJob, FineTuningStore, Hyperparameters, JobError, JobStatus, Method, Page
from tests.support.factories import a_job, stored

pytestmark = pytest.mark.every_driver


def list_in_pages(store: FineTuningStore, limit: int, **arguments: Any) -> list[FineTuningJob]:
    """Return the jobs of all pages of a list."""
    page: Page[FineTuningJob] = store.jobs.list(limit=limit, **arguments)
    found = [*page]
    while page.has_more:
        assert len(page) == limit
        page = store.jobs.list(limit=limit, after=page.last_id, **arguments)
        found += page
    return found


def test_a_list_in_the_order_of_the_ends_has_only_jobs_with_a_time_of_it(store: FineTuningStore) -> None:
    late = stored(store, created_at=1, finished_at=50, status="succeeded")
    early = stored(store, created_at=2, finished_at=40, status="failed")
    unknown = stored(store, created_at=3, status="cancelled")
    stored(store, created_at=4, status="running")

    assert store.jobs.list(order_by="finished_at").data == (late, early)
    assert list(store.jobs.iterate(order_by="finished_at", order="asc", page_size=1)) == [early, late]
    assert store.jobs.list(order_by="finished_at", after=late.id).data == (early,)
    assert store.jobs.list(order_by="finished_at", status="cancelled").data == ()
    with pytest.raises(CursorNotFoundError):
        store.jobs.list(order_by="finished_at", after=unknown.id)


def test_pages_together_are_the_whole_ordered_list_even_if_times_are_equal(store: FineTuningStore) -> None:
    jobs = [a_job(created_at=1_700_000_000 + number // 9) for number in range(41)]
    random.Random(1).shuffle(jobs)
    store.jobs.add_many(jobs)

    for order, limit in itertools.product(("desc", "asc"), (1, 7, 40, 41, 1000)):
        expected = sorted(jobs, key=lambda job: (job.created_at, job.id), reverse=order == "desc")
        assert list_in_pages(store, limit, order=order) == expected, (order, limit)
        assert list(store.jobs.iterate(page_size=limit, order=order)) == expected, (order, limit)  # type: ignore[arg-type]


def test_a_page_has_its_first_and_last_id_and_whether_more_follow(store: FineTuningStore) -> None:
    first, second, third = (stored(store) for _ in range(3))

    page = store.jobs.list(limit=2)
    second_page = store.jobs.list(limit=2, after=page.last_id)
    full_page = store.jobs.list(limit=3)
    empty_page = store.jobs.list(after=first.id)

    assert (page.data, page.has_more, page.first_id, page.last_id) == ((third, second), True, third.id, second.id)
    assert (second_page.data, second_page.has_more) == ((first,), False)
    assert (full_page.data, full_page.has_more) == ((third, second, first), False)
    assert (empty_page.data, empty_page.has_more, empty_page.first_id, empty_page.last_id) == ((), False, None, None)


def test_a_page_has_twenty_jobs_by_default(store: FineTuningStore) -> None:
    store.jobs.add_many(a_job() for _ in range(21))

    assert len(store.jobs.list()) == 20
    assert store.jobs.list().has_more


def test_an_unknown_cursor_is_an_error_and_not_an_empty_page(store: FineTuningStore) -> None:
    stored(store)

    with pytest.raises(CursorNotFoundError, match="ftjob-none"):
        store.jobs.list(after="ftjob-none")


def test_a_cursor_need_not_match_the_filters(store: FineTuningStore) -> None:
    older, cursor = stored(store, status="failed"), stored(store, status="running")

    assert store.jobs.list(after=cursor.id, status="failed").data == (older,)


def test_a_cursor_of_another_organization_is_unknown_to_a_list_of_one_organization(store: FineTuningStore) -> None:
    stored(store)
    other = stored(store, organization_id="org-2")

    with pytest.raises(CursorNotFoundError):
        store.jobs.list(after=other.id, organization_id="org-1")


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"a", "b", "c", "d"}),
    ({"organization_id": "org-2"}, {"c"}),
    ({"organization_id": "org-none"}, set()),
    ({"status": "failed"}, {"c", "d"}),
    ({"status": JobStatus.QUEUED}, {"b"}),
    ({"status": ["queued", JobStatus.FAILED]}, {"b", "c", "d"}),
    ({"status": ("validating_files",)}, {"a"}),
    ({"model": "model-2"}, {"b", "d"}),
    ({"model": "MODEL-2"}, set()),
    ({"fine_tuned_model": "ft:d"}, {"d"}),
    ({"training_file": "file-2"}, {"b"}),
    ({"method": "dpo"}, {"b"}),
    ({"method": "supervised"}, {"c"}),
    ({"metadata": {"team": "nlp"}}, {"a", "b"}),
    ({"metadata": {"team": "nlp", "run": "1"}}, {"a"}),
    ({"metadata": {"run": ""}}, {"b"}),
    ({"metadata": {"team": "NLP"}}, set()),
    ({"metadata": {}}, {"a", "b", "c", "d"}),
    ({"metadata": {"team": "nlp"}, "organization_id": "org-2"}, set()),
    ({"has_metadata": True}, {"a", "b"}),
    ({"has_metadata": False}, {"c", "d"}),
    ({"has_metadata": None, "status": None, "metadata": None}, {"a", "b", "c", "d"}),
    ({"created_since": 2000}, {"b", "c", "d"}),
    ({"created_until": 3000}, {"a", "b"}),
    ({"created_since": 2000, "created_until": 4000, "status": "failed"}, {"c"}),
    ({"status": "failed", "model": "model-2", "created_since": 0, "has_metadata": False}, {"d"}),
    ({"validation_file": "file-v"}, {"a"}),
    ({"result_file": "file-r2"}, {"c"}),
    ({"suffix": "s"}, {"b"}),
    ({"error_code": "invalid_file"}, {"c"}),
    ({"error_code": "INVALID_FILE"}, set()),
    ({"attempt": 2}, {"c"}),
    ({"attempt": 0}, {"a", "b", "d"}),
    ({"finished_since": 3500}, {"c", "d"}),
    ({"finished_since": 3500, "finished_until": 4500}, {"c"}),
    ({"updated_since": 1}, {"d"}),
    ({"updated_until": 10_000}, {"d"}),
    ({"created_since": datetime(1970, 1, 1, 1, 50, tzinfo=timezone(timedelta(hours=1)))}, {"c", "d"}),
    ({"hyperparameters_at_least": Hyperparameters(n_epochs=3)}, {"b", "c"}),
    ({"hyperparameters_at_least": Hyperparameters(n_epochs=4)}, {"c"}),
    ({"hyperparameters_at_most": Hyperparameters(n_epochs=3)}, {"b"}),
    ({"hyperparameters_at_least": Hyperparameters(n_epochs=1, beta=0.5)}, {"c"}),
    ({"hyperparameters_at_least": Hyperparameters(beta=0.1), "hyperparameters_at_most": Hyperparameters(beta=0.4)}, set()),
    ({"metadata": {"team": "nlp"}, "has_metadata": False}, set()),
    ({"metadata": {"team": "nlp"}, "has_metadata": True, "status": ["queued", "running"]}, {"b"}),
    ({"training_file": "file-2", "model": "model-2", "organization_id": "org-1"}, {"b"}),
]


def test_a_filter_finds_exactly_the_matching_jobs(store: FineTuningStore, subtests: pytest.Subtests) -> None:
    store.jobs.add_many(
        [
            a_job(
                id="a",
                created_at=1000,
                metadata={"team": "nlp", "run": "1"},
                model="model-1",
                validation_file="file-v",
                hyperparameters=Hyperparameters(n_epochs="auto"),
            ),
            a_job(
                id="b",
                created_at=2000,
                metadata={"team": "nlp", "run": ""},
                model="model-2",
                status="queued",
                training_file="file-2",
                method=Method(type="dpo"),
                suffix="s",
                hyperparameters=Hyperparameters(n_epochs=3),
            ),
            a_job(
                id="c",
                created_at=3000,
                finished_at=3500,
                organization_id="org-2",
                status="failed",
                method=Method(),
                error=JobError(code="invalid_file"),
                result_files=("file-r1", "file-r2"),
                attempt=2,
                hyperparameters=Hyperparameters(n_epochs=4, beta=0.5),
            ),
            a_job(id="d", created_at=4000, finished_at=4500, updated_at=9999, status="failed", model="model-2", fine_tuned_model="ft:d"),
        ]
    )

    for filters, expected in FILTERS:
        with subtests.test(str(filters)):
            newest_first = sorted(expected, reverse=True)

            assert [job.id for job in list_in_pages(store, 1, **filters)] == newest_first
            assert [job.id for job in store.jobs.iterate(page_size=1, **filters)] == newest_first
            assert [job.id for job in store.jobs.list(order="asc", **filters)] == newest_first[::-1]


def test_iteration_continues_while_jobs_are_deleted_and_created(store: FineTuningStore) -> None:
    jobs = [stored(store, status="failed") for _ in range(10)]

    found = []
    for job in store.jobs.iterate(page_size=3):
        found.append(job)
        store.jobs.delete(job.id)
        stored(store)

    assert found == jobs[::-1]
