"""Pages, filters and walks."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fine_tuning_store import CursorNotFoundError, FineTuningJob, FineTuningStore, JobStatus, Method, Page
from tests.support.factories import a_job, stored
from tests.support.tables import each

pytestmark = pytest.mark.every_driver


def walked(store: FineTuningStore, limit: int, **arguments: Any) -> list[FineTuningJob]:
    """All pages of a list, joined."""
    page: Page[FineTuningJob] = store.jobs.list(limit=limit, **arguments)
    found = [*page]
    while page.has_more:
        assert len(page) == limit
        page = store.jobs.list(limit=limit, after=page.last_id, **arguments)
        found += page
    return found


@each("order", ["desc", "asc"])
@each("limit", [1, 7, 40, 41, 1000])
def test_pages_joined_are_the_whole_list_in_order_although_times_are_equal(store: FineTuningStore, order: str, limit: int) -> None:
    jobs = [a_job(created_at=1_700_000_000 + number // 9) for number in range(41)]
    random.Random(1).shuffle(jobs)
    store.jobs.add_many(jobs)
    expected = sorted(jobs, key=lambda job: (job.created_at, job.id), reverse=order == "desc")

    assert walked(store, limit, order=order) == expected
    assert list(store.jobs.iterate(page_size=limit, order=order)) == expected  # type: ignore[arg-type]


def test_a_page_knows_its_ends_and_whether_more_follows(store: FineTuningStore) -> None:
    first, second, third = (stored(store) for _ in range(3))

    page = store.jobs.list(limit=2)
    rest = store.jobs.list(limit=2, after=page.last_id)
    exact = store.jobs.list(limit=3)
    behind = store.jobs.list(after=first.id)

    assert (page.data, page.has_more, page.first_id, page.last_id) == ((third, second), True, third.id, second.id)
    assert (rest.data, rest.has_more) == ((first,), False)
    assert (exact.data, exact.has_more) == ((third, second, first), False)
    assert (behind.data, behind.has_more, behind.first_id, behind.last_id) == ((), False, None, None)


def test_twenty_jobs_are_a_page_unless_said_otherwise(store: FineTuningStore) -> None:
    store.jobs.add_many(a_job() for _ in range(21))

    assert len(store.jobs.list()) == 20
    assert store.jobs.list().has_more


def test_an_unknown_after_is_an_error_and_not_an_empty_page(store: FineTuningStore) -> None:
    stored(store)

    with pytest.raises(CursorNotFoundError, match="ftjob-none"):
        store.jobs.list(after="ftjob-none")


def test_after_is_found_by_its_id_whatever_the_other_filters_say(store: FineTuningStore) -> None:
    older, cursor = stored(store, status="failed"), stored(store, status="running")

    assert store.jobs.list(after=cursor.id, status="failed").data == (older,)


def test_after_of_another_organization_is_unknown_to_a_list_of_one(store: FineTuningStore) -> None:
    stored(store)
    foreign = stored(store, organization_id="org-2")

    with pytest.raises(CursorNotFoundError):
        store.jobs.list(after=foreign.id, organization_id="org-1")


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
]


@each(("filters", "expected"), FILTERS)
def test_a_filter_finds_its_jobs_and_no_others(store: FineTuningStore, filters: dict[str, Any], expected: set[str]) -> None:
    store.jobs.add_many(
        [
            a_job(id="a", created_at=1000, metadata={"team": "nlp", "run": "1"}, model="model-1"),
            a_job(
                id="b",
                created_at=2000,
                metadata={"team": "nlp", "run": ""},
                model="model-2",
                status="queued",
                training_file="file-2",
                method=Method(type="dpo"),
            ),
            a_job(id="c", created_at=3000, organization_id="org-2", status="failed", method=Method()),
            a_job(id="d", created_at=4000, status="failed", model="model-2", fine_tuned_model="ft:d"),
        ]
    )
    newest_first = sorted(expected, reverse=True)

    assert [job.id for job in walked(store, 1, **filters)] == newest_first
    assert [job.id for job in store.jobs.iterate(page_size=1, **filters)] == newest_first
    assert [job.id for job in store.jobs.list(order="asc", **filters)] == newest_first[::-1]


def test_a_walk_goes_on_when_jobs_are_deleted_and_created_under_it(store: FineTuningStore) -> None:
    jobs = [stored(store, status="failed") for _ in range(10)]

    seen = []
    for job in store.jobs.iterate(page_size=3):
        seen.append(job)
        store.jobs.delete(job.id)
        stored(store)

    assert seen == jobs[::-1]


def test_a_page_costs_one_statement_and_one_more_for_its_cursor(store: FineTuningStore) -> None:
    from sqlalchemy import event

    store.jobs.add_many(a_job(metadata={"a": "b"}, result_files=("f",)) for _ in range(50))
    first = store.jobs.list(limit=5)
    said: list[str] = []
    event.listen(store._transactions.engine, "before_cursor_execute", lambda *arguments: said.append(arguments[2]))

    def statements(**arguments: Any) -> int:
        said.clear()
        store.jobs.list(limit=50, **arguments)
        return len(said)

    assert statements() == 1
    assert statements(metadata={"a": "b"}, status=["failed", "queued"]) == 1
    assert statements(after=first.last_id) == 2
    said.clear()
    store.jobs.get(first.data[0].id)
    assert len(said) == 1
