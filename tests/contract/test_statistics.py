"""Counts, durations, error codes and the state of the queue: the same figures on every database as plain Python computes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from fine_tuning_store import (
    ErrorCodeCount,
    FineTuningJob,
    FineTuningStore,
    InvalidValueError,
    JobError,
    JobQueueState,
    JobStatus,
    Method,
    UnitOfWork,
)
from tests.support.factories import a_job, stored
from tests.support.tables import each

pytestmark = pytest.mark.every_driver

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(*parts: int) -> int:
    """The Unix seconds of a time in UTC."""
    return int((datetime(*parts, tzinfo=UTC) - EPOCH) // timedelta(seconds=1))  # type: ignore[misc, arg-type]


# What plain Python computes


def start_of(bucket: str, time: int) -> int:
    moment = EPOCH + timedelta(seconds=time)
    start = moment.replace(minute=0, second=0)
    if bucket != "hour":
        start = start.replace(hour=0)
    if bucket == "week":
        start -= timedelta(days=start.weekday())
    if bucket == "month":
        start = start.replace(day=1)
    return int((start - EPOCH) // timedelta(seconds=1))


def value_of(job: FineTuningJob, dimension: str) -> str | None:
    if dimension == "method":
        return None if job.method is None else job.method.type
    if dimension.startswith("metadata."):
        return (job.metadata or {}).get(dimension.removeprefix("metadata."))
    value: str | None = getattr(job, dimension)
    return None if value is None else str(value)


def grouped(
    jobs: Iterable[FineTuningJob], by: tuple[str, ...], bucket: str | None, at: str
) -> list[tuple[dict[str, Any], list[FineTuningJob]]]:
    """The jobs of each group, by the first keys of its flat row, in the order of the rows."""
    groups: dict[tuple[Any, ...], list[FineTuningJob]] = {} if by or bucket else {(None,): []}
    for job in jobs:
        time = job.created_at if at == "created" else job.finished_at
        if time is not None:
            key = (start_of(bucket, time) if bucket else None, *(value_of(job, dimension) for dimension in by))
            groups.setdefault(key, []).append(job)

    def order(key: tuple[Any, ...]) -> Any:
        return key[0] or 0, [(value is None, value or "") for value in key[1:]]

    return [(dict(zip(("bucket", *by), key, strict=True)), groups[key]) for key in sorted(groups, key=order)]


def counts_of(jobs: list[FineTuningJob]) -> dict[str, Any]:
    number = {status: sum(job.status == status for job in jobs) for status in JobStatus}
    succeeded, failed = number[JobStatus.SUCCEEDED], number[JobStatus.FAILED]
    return {
        "total": len(jobs),
        "succeeded": succeeded,
        "failed": failed,
        "cancelled": number[JobStatus.CANCELLED],
        "open": sum(not job.status.is_ended for job in jobs),
        "trained_tokens": sum(job.trained_tokens or 0 for job in jobs),
        "success_rate": succeeded / (succeeded + failed) if succeeded + failed else None,
    }


def percentile(values: list[int], fraction: Fraction) -> float | None:
    if not values:
        return None
    place = fraction * (len(values) - 1)
    below, above = sorted(values)[math.floor(place)], sorted(values)[math.ceil(place)]
    return float(below + (above - below) * (place - math.floor(place)))


def durations_of(jobs: list[FineTuningJob]) -> dict[str, Any]:
    ended = [job for job in jobs if job.status.is_ended]
    figures: dict[str, Any] = {"jobs": len(ended)}
    for name in ("queued", "running"):
        values = [seconds for job in ended if (seconds := getattr(job, f"{name}_seconds")) is not None]
        for suffix, hundredths in (("median", 50), ("p90", 90), ("p99", 99)):
            figures[f"{name}_{suffix}"] = percentile(values, Fraction(hundredths, 100))
    return figures


def error_codes_of(jobs: Iterable[FineTuningJob]) -> list[ErrorCodeCount]:
    found = defaultdict(list)
    for job in jobs:
        if job.status is JobStatus.FAILED:
            last_at = job.created_at if job.finished_at is None else job.finished_at
            found[None if job.error is None else job.error.code].append((last_at, job.id))
    ordered = sorted(found.items(), key=lambda entry: (len(entry[1]), max(entry[1])), reverse=True)
    return [ErrorCodeCount(code=code, jobs=len(seen), last_job_id=max(seen)[1], last_at=max(seen)[0]) for code, seen in ordered]


def queue_of(jobs: Iterable[FineTuningJob]) -> JobQueueState:
    def times(status: str, member: str) -> list[int]:
        return [job.created_at if (time := getattr(job, member)) is None else time for job in jobs if job.status == status]

    queued, running = times("queued", "queued_at"), times("running", "started_at")
    return JobQueueState(
        queued=len(queued),
        oldest_queued_at=min(queued, default=None),
        running=len(running),
        longest_running_since=min(running, default=None),
        paused=len(times("paused", "started_at")),
    )


# Random jobs

times = st.integers(at(1890, 1, 1), at(2110, 1, 1)) | st.sampled_from(
    [time + shift for time in (0, at(2024, 3, 1), at(2100, 3, 1), at(2026, 10, 25, 1), at(1969, 12, 29)) for shift in (-86400, -1, 0, 1)]
)
seconds = st.none() | st.integers(0, 20) | st.integers(0, 10**9)
tokens = st.none() | st.sampled_from([0, 1, 2**62, 2**63 - 1, -(2**63)])
words = st.sampled_from(["a", "A", "b", "é", "\U0001f600", "a "])


@st.composite
def jobs(draw: st.DrawFn) -> FineTuningJob:
    status = draw(st.sampled_from(JobStatus))
    return a_job(
        status=status,
        created_at=draw(times),
        finished_at=draw(st.none() | times) if status.is_ended else None,
        organization_id=draw(st.sampled_from(["org-1", "org-2"])),
        model=draw(words),
        method=draw(st.none() | st.sampled_from(["supervised", "dpo"]).map(lambda type: Method(type=type))),
        metadata=draw(st.none() | st.dictionaries(st.sampled_from(["team", "run", ""]), words, min_size=1)),
        trained_tokens=draw(tokens),
        queued_seconds=draw(seconds),
        running_seconds=draw(seconds),
        queued_at=draw(st.none() | times.map(abs)),
        started_at=draw(st.none() | times.map(abs)),
        error=draw(st.none() | st.builds(JobError, code=st.none() | words, message=st.just("It broke."))),
    )


dimensions = st.lists(
    st.sampled_from(["organization_id", "model", "method", "status", "metadata.team", "metadata.run", "metadata."]), unique=True, max_size=3
).map(tuple)


def test_statistics_of_random_jobs_equal_those_computed_in_python(store: FineTuningStore) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=[*HealthCheck])
    @given(
        given_jobs=st.lists(jobs(), max_size=25),
        by=dimensions,
        bucket=st.sampled_from([None, "hour", "day", "week", "month"]),
        when=st.sampled_from(["created", "finished"]),
        organization_id=st.sampled_from([None, "org-1"]),
        team=st.none() | words,
    )
    def check(  # noqa: PLR0917 - Hypothesis passes them by name
        given_jobs: list[FineTuningJob], by: tuple[str, ...], bucket: Any, when: Any, organization_id: str | None, team: str | None
    ) -> None:
        with store.engine.begin() as connection:
            connection.execute(text("DELETE FROM fine_tuning_jobs"))
        store.jobs.add_many(given_jobs)
        filters: dict[str, Any] = {} if team is None else {"metadata": {"team": team}}
        statistics, found = store.statistics, given_jobs
        if organization_id is not None:
            found = [job for job in found if job.organization_id == organization_id]
            statistics = store.for_organization(organization_id).statistics
            assert store.jobs.count(organization_id=organization_id) == len(found)
        if team is not None:
            found = [job for job in found if (job.metadata or {}).get("team") == team]
        groups = grouped(found, by, bucket, when)

        counts = statistics.counts(by=by, bucket=bucket, at=when, **filters)
        durations = statistics.durations(by=by, bucket=bucket, at=when, **filters)

        assert [row.as_dict() for row in counts] == [{**key, **counts_of(members)} for key, members in groups]
        assert [row.as_dict() for row in durations] == [{**key, **durations_of(members)} for key, members in groups]
        for row in counts:  # no driver's Decimal
            assert {type(row.total), type(row.failed), type(row.open), type(row.trained_tokens), type(row.bucket or 0)} == {int}
        assert statistics.error_codes(limit=3, **filters) == tuple(error_codes_of(found)[:3])
        assert statistics.queue(**filters) == queue_of(found)

    check()


# Examples


def test_counts_say_how_the_jobs_of_each_group_ended(store: FineTuningStore) -> None:
    for status, model, tokens in (
        ("succeeded", "m", 5),
        ("succeeded", "m", 7),
        ("failed", "m", None),
        ("cancelled", "m", None),
        ("queued", "m", None),
        ("running", "n", None),
    ):
        stored(store, status=status, model=model, trained_tokens=tokens)

    first, second = store.statistics.counts(by=("model",))

    assert first.as_dict() == {
        "bucket": None,
        "model": "m",
        "total": 5,
        "succeeded": 2,
        "failed": 1,
        "cancelled": 1,
        "open": 1,
        "trained_tokens": 12,
        "success_rate": 2 / 3,
    }
    assert (second.group, second.total, second.open, second.trained_tokens, second.success_rate) == ({"model": "n"}, 1, 1, 0, None)
    assert store.statistics.counts(by="model") == (first, second)
    (all_of_them,) = store.statistics.counts()
    assert (all_of_them.group, all_of_them.total) == ({}, 6)


def test_a_store_without_jobs_has_one_row_of_zeros_and_no_groups(store: FineTuningStore) -> None:
    (counts,), (durations,) = store.statistics.counts(), store.statistics.durations()

    assert (counts.total, counts.trained_tokens, counts.success_rate) == (0, 0, None)
    assert (durations.jobs, durations.queued_median, durations.running_p99) == (0, None, None)
    assert store.statistics.counts(bucket="day") == ()
    assert store.statistics.durations(by=("model",)) == ()
    assert store.statistics.error_codes() == ()
    assert store.statistics.queue() == JobQueueState(queued=0, oldest_queued_at=None, running=0, longest_running_since=None, paused=0)


BUCKETS: list[tuple[str, int, int]] = [
    ("hour", at(2026, 1, 1, 0, 59, 59), at(2026, 1, 1)),
    ("hour", at(1969, 12, 31, 23, 59, 59), at(1969, 12, 31, 23)),
    ("day", at(2026, 3, 29, 23, 59, 59), at(2026, 3, 29)),
    ("day", -1, at(1969, 12, 31)),
    ("week", at(2026, 11, 29, 23, 59, 59), at(2026, 11, 23)),
    ("week", at(2026, 11, 30), at(2026, 11, 30)),
    ("week", 0, at(1969, 12, 29)),
    ("month", at(2024, 2, 29, 23, 59, 59), at(2024, 2, 1)),
    ("month", at(2100, 2, 28, 23, 59, 59), at(2100, 2, 1)),
    ("month", at(2100, 3, 1), at(2100, 3, 1)),
    ("month", at(1900, 2, 28), at(1900, 2, 1)),
    ("month", at(1, 1, 31), at(1, 1, 1)),
    ("month", at(9999, 12, 31), at(9999, 12, 1)),
]


@each(("bucket", "time", "start"), BUCKETS)
def test_a_bucket_begins_in_utc(store: FineTuningStore, bucket: Any, time: int, start: int) -> None:
    stored(store, created_at=time)

    assert [row.bucket for row in store.statistics.counts(bucket=bucket)] == [start]


def test_the_zone_of_a_session_changes_no_bucket(store: FineTuningStore) -> None:
    setting = {"postgresql": "SET TIME ZONE 'America/New_York'", "mysql": "SET time_zone = '-05:00'", "mariadb": "SET time_zone = '-05:00'"}
    stored(store, created_at=at(2026, 3, 8, 2, 30))

    with store.begin() as unit:
        if (statement := setting.get(store.engine.dialect.name)) is not None:
            unit.connection.execute(text(statement))
        starts = [unit.statistics.counts(bucket=bucket)[0].bucket for bucket in ("hour", "day", "week", "month")]
        if store.engine.dialect.name == "postgresql":
            unit.connection.execute(text("RESET TIME ZONE"))
        elif statement is not None:
            unit.connection.execute(text("SET time_zone = DEFAULT"))

    assert starts == [at(2026, 3, 8, 2), at(2026, 3, 8), at(2026, 3, 2), at(2026, 3, 1)]


def test_the_sql_mode_of_a_session_changes_no_bucket(store: FineTuningStore) -> None:
    modes = ("ORACLE", "ANSI", "MSSQL", "DEFAULT") if store.engine.dialect.name in ("mysql", "mariadb") else ()
    stored(store, created_at=at(2026, 3, 8, 2, 30))

    with store.begin() as unit:
        for mode in modes:
            unit.connection.execute(text(f"SET sql_mode = {mode}"))
            starts = [unit.statistics.counts(bucket=bucket)[0].bucket for bucket in ("hour", "day", "week", "month")]
            assert starts == [at(2026, 3, 8, 2), at(2026, 3, 8), at(2026, 3, 2), at(2026, 3, 1)]


def test_at_finished_leaves_out_jobs_that_have_no_such_time(store: FineTuningStore) -> None:
    stored(store, status="succeeded", created_at=at(2026, 1, 1), finished_at=at(2026, 2, 3))
    stored(store, status="succeeded", created_at=at(2026, 1, 1))
    stored(store, status="running", created_at=at(2026, 1, 1))

    by_month = store.statistics.counts(bucket="month", at="finished")

    assert [(row.bucket, row.total) for row in by_month] == [(at(2026, 2, 1), 1)]
    assert [row.total for row in store.statistics.counts(at="finished")] == [1]


def test_a_percentile_lies_between_two_jobs(store: FineTuningStore) -> None:
    for queued, running in ((0, 100), (10, None), (20, 200), (30, None)):
        stored(store, status="succeeded", queued_seconds=queued, running_seconds=running)
    stored(store, status="failed")

    (row,) = store.statistics.durations()

    assert (row.jobs, row.queued_median, row.queued_p90, row.queued_p99) == (5, 15.0, 27.0, 29.7)
    assert (row.running_median, row.running_p90, row.running_p99) == (150.0, 190.0, 199.0)


def test_durations_are_about_ended_jobs(store: FineTuningStore) -> None:
    """The totals of an open job are 0 at first, and would pull every percentile down."""
    stored(store, model="m", status="succeeded", queued_seconds=60, running_seconds=600)
    for status in ("validating_files", "queued", "running", "paused"):
        stored(store, model="m", status=status, queued_seconds=0, running_seconds=0)
    stored(store, model="n", status="running", queued_seconds=5, running_seconds=0)

    ended, only_open = store.statistics.durations(by="model")

    assert (ended.jobs, ended.queued_median, ended.running_p99) == (1, 60.0, 600.0)
    assert (only_open.group, only_open.jobs, only_open.queued_median) == ({"model": "n"}, 0, None)


def test_rows_are_ordered_by_bucket_and_value_and_jobs_without_a_value_come_last(store: FineTuningStore) -> None:
    for time, team in ((86400, "b"), (0, None), (0, "b"), (0, "B"), (86400, None), (0, "é")):
        stored(store, created_at=time, metadata=None if team is None else {"team": team})

    rows = store.statistics.counts(by=("metadata.team",), bucket="day")

    assert [(row.bucket, row.group["metadata.team"]) for row in rows] == [
        *((0, "B"), (0, "b"), (0, "é"), (0, None)),
        *((86400, "b"), (86400, None)),
    ]


def test_error_codes_name_the_last_job_and_the_most_frequent_code_first(store: FineTuningStore) -> None:
    stored(store, id="old", status="failed", finished_at=50, error=JobError(code="oom"))
    stored(store, id="new", status="failed", finished_at=70, error=JobError(code="oom"))
    stored(store, id="other", status="failed", finished_at=None, created_at=60, error=JobError(code="bad file"))
    stored(store, id="silent", status="failed", finished_at=-5)
    stored(store, id="ended", status="cancelled", finished_at=99, error=JobError(code="oom"))

    found = store.statistics.error_codes()

    assert [tuple(row.as_dict().values()) for row in found] == [
        ("oom", 2, "new", 70),
        ("bad file", 1, "other", 60),
        (None, 1, "silent", -5),
    ]
    assert store.statistics.error_codes(limit=1) == found[:1]
    assert store.statistics.error_codes(limit=1, created_since=datetime(2200, 1, 1, tzinfo=UTC)) == ()


def test_the_queue_shows_what_waits_longest(store: FineTuningStore) -> None:
    stored(store, status="queued", queued_at=50, created_at=10)
    stored(store, status="queued", created_at=40)
    stored(store, status="running", started_at=70, queued_at=1, model="n")
    stored(store, status="paused", started_at=1)
    stored(store, status="failed", started_at=1, queued_at=1)

    state = store.statistics.queue()

    assert state.as_dict() == {"queued": 2, "oldest_queued_at": 40, "running": 1, "longest_running_since": 70, "paused": 1}
    assert store.statistics.queue(model="n").queued == 0


def test_a_count_ends_at_its_limit(store: FineTuningStore) -> None:
    for status in ("failed", "failed", "running"):
        stored(store, status=status, metadata={"a": "b", "c": "d"} if status == "failed" else None)

    assert (store.jobs.count(), store.jobs.count(2), store.jobs.count(limit=9)) == (3, 2, 3)
    assert store.jobs.count(status="failed", metadata={"a": "b", "c": "d"}) == store.jobs.count(has_metadata=True) == 2
    assert store.jobs.count(limit=1, metadata={"a": "b"}) == 1
    assert store.jobs.count(metadata={"a": "b", "c": "e"}) == 0


def test_a_store_and_a_unit_of_one_organization_count_its_own_jobs(store: FineTuningStore) -> None:
    for number, organization_id in enumerate(("org-ours", "org-theirs", "org-theirs")):
        stored(store, organization_id=organization_id, status="failed", error=JobError(code=f"code-{number}"), metadata={"a": "b"})
    ours = store.for_organization("org-ours")

    def check(view: FineTuningStore | UnitOfWork) -> None:
        assert (view.jobs.count(), view.jobs.count(limit=5), view.jobs.count(metadata={"a": "b"})) == (1, 1, 1)
        assert [row.group for row in view.statistics.counts(by=("organization_id",))] == [{"organization_id": "org-ours"}]
        assert [row.jobs for row in view.statistics.durations(by=("metadata.a",))] == [1]
        assert [row.code for row in view.statistics.error_codes()] == ["code-0"]
        with pytest.raises(InvalidValueError, match="organization_id"):
            view.statistics.queue(organization_id="org-theirs")

    check(ours)
    with ours.begin() as unit:
        check(unit)


def test_a_time_may_be_a_datetime_of_any_zone(store: FineTuningStore) -> None:
    stored(store, created_at=at(2026, 1, 31, 12))
    noon = datetime(2026, 1, 31, 13, tzinfo=ZoneInfo("Europe/Berlin"))

    assert store.jobs.count(created_since=noon) == 1
    assert store.jobs.count(created_until=noon) == 0
    assert len(store.jobs.list(created_since=noon + timedelta(microseconds=999_999))) == 1  # the time is rounded down
    assert store.jobs.count(created_since=noon.astimezone(timezone(timedelta(hours=-3))) + timedelta(seconds=1)) == 0


WRONG: list[tuple[str, Callable[[FineTuningStore], object]]] = [
    ("by", lambda store: store.statistics.counts(by=("colour",))),
    ("by", lambda store: store.statistics.counts(by="colour")),
    ("by", lambda store: store.statistics.durations(by=("model", "model"))),
    ("by", lambda store: store.statistics.counts(by=5)),  # type: ignore[arg-type]
    ("by", lambda store: store.statistics.counts(by=(5,))),  # type: ignore[arg-type]
    ("by", lambda store: store.statistics.counts(by=tuple(f"metadata.{number}" for number in range(9)))),
    ("by (a metadata key)", lambda store: store.statistics.counts(by=("metadata." + "k" * 65,))),
    ("bucket", lambda store: store.statistics.counts(bucket="year")),  # type: ignore[arg-type]
    ("at", lambda store: store.statistics.durations(at="started")),  # type: ignore[arg-type]
    ("status", lambda store: store.statistics.queue(status="lost")),
    ("limit", lambda store: store.statistics.error_codes(limit=0)),
    ("limit", lambda store: store.jobs.count(limit=0)),
    ("limit", lambda store: store.jobs.count(limit=True)),
    ("created_since", lambda store: store.jobs.count(created_since=datetime(2026, 1, 1))),  # noqa: DTZ001 - naive is the point
    ("created_until", lambda store: store.jobs.list(created_until="2026-01-01")),  # type: ignore[arg-type]
]


@each(("field", "call"), WRONG)
def test_wrong_input_is_refused_by_name_before_anything_is_sent(field: str, call: Callable[[FineTuningStore], object]) -> None:
    with FineTuningStore.from_url("postgresql://nobody@127.0.0.1:1/none") as store, pytest.raises(InvalidValueError) as caught:
        call(store)

    assert caught.value.field == field


def test_what_is_possible_is_listed() -> None:
    with FineTuningStore.from_url("postgresql://nobody@127.0.0.1:1/none") as store:
        with pytest.raises(InvalidValueError, match=r"organization_id, model, method, status, metadata\.<key>"):
            store.statistics.counts(by=("colour",))
        with pytest.raises(InvalidValueError, match="hour, day, week, month"):
            store.statistics.counts(bucket="year")  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError, match="created, finished"):
            store.statistics.counts(at="started")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"'colour'.*created_since"):
            store.statistics.error_codes(colour="red")  # type: ignore[call-arg]
