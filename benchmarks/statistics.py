"""Statistics of the store beside the best SQL by hand, in a database that `benchmarks.populate` has filled.

python -m benchmarks statistics --url postgresql://postgres@127.0.0.1:5432/growth_1m

Both sides fetch all rows, and take turns. By hand, a percentile is the rows on both sides of it, or the database's own function, and an
organization is a bound parameter, as in any program: PostgreSQL may plan both statements without knowing it. Two statistics may take some
milliseconds in any case, since the cost of a call alone is more than a tenth of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final, NamedTuple

from sqlalchemy import create_engine, make_url

from benchmarks.lists import MIDDLE, MONTH, ORGANIZATION
from benchmarks.synthetic import COMMON_PAIR
from benchmarks.timing import medians
from fine_tuning_store import FineTuningStore
from fine_tuning_store.sql.queries.job_rows import pair_digest

MAX_RATIO: Final = 1.1  #: the goal
BOUND: Final = {"sqlite": "?", "postgresql": "%s", "mariadb": "%s"}

ALL_COUNTS: Final = "status, count(*), sum(trained_tokens)"
#: The start of the month of a job's creation.
MONTH_START: Final = {
    "sqlite": "strftime('%s', created_at, 'unixepoch', 'start of month')",
    "postgresql": "date_trunc('month', to_timestamp(created_at) AT TIME ZONE 'UTC')",
    "mariadb": "date_format(from_unixtime(created_at), '%Y-%m-01')",
}
#: The last job of an error code: the one with the largest time, and of several the one with the largest id.
LAST_JOB: Final = {
    "sqlite": "max(printf('%012d', coalesce(j.finished_at, j.created_at)) || j.id)",
    "postgresql": "max(lpad(coalesce(j.finished_at, j.created_at)::text, 12, '0') || j.id)",
    "mariadb": "max(concat(lpad(coalesce(j.finished_at, j.created_at), 12, '0'), j.id))",
}
#: The condition of the jobs whose durations no longer grow.
HAS_ENDED: Final = "status IN ('succeeded', 'failed', 'cancelled')"
PERCENTILES: Final = "percentile_cont(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY {})"


def _durations(dialect: str, group: str, condition: str) -> str:
    """Return the SQL of the percentiles of both durations of the ended jobs of each group."""
    condition = f"{condition} AND {HAS_ENDED}"
    if dialect == "postgresql":
        columns = ", ".join(PERCENTILES.format(name) for name in ("queued_seconds", "running_seconds"))
        return f"SELECT {group}, count(*), {columns} FROM fine_tuning_jobs WHERE {condition} GROUP BY {group}"
    divided = "DIV" if dialect == "mariadb" else "/"
    places = ", ".join(f"(known - 1) * {percent} {divided} 100 + {place}" for percent in (50, 90, 99) for place in (1, 2))
    return " UNION ALL ".join(
        f"""
        SELECT '{name}', {group}, jobs, known, place, seconds FROM (
            SELECT {group}, {name} AS seconds, count(*) OVER (PARTITION BY {group}) AS jobs,
                count({name}) OVER (PARTITION BY {group}) AS known,
                row_number() OVER (PARTITION BY {group} ORDER BY {name} IS NULL, {name}) AS place
            FROM fine_tuning_jobs WHERE {condition}
        ) AS ranked WHERE place IN ({places})
        """
        for name in ("queued_seconds", "running_seconds")
    )


class Statistic(NamedTuple):
    """A call of the store, and the same by hand: the SQL of every database or of each."""

    name: str
    call: Callable[[Any], object]
    sql: str | Mapping[str, str]
    bound: tuple[str, ...] = ()
    enough_ms: float = 0.0  #: so many milliseconds meet the goal, whatever the ratio

    def meets_goal(self, ours: float, hand: float) -> bool:
        """Return whether the milliseconds of the store are few enough beside those of the SQL by hand."""
        return ours <= max(hand * MAX_RATIO, self.enough_ms)


def _each(template: Callable[[str], str]) -> dict[str, str]:
    return {dialect: template(dialect) for dialect in MONTH_START}


STATISTICS: Final = (
    Statistic(
        "counts",
        lambda store: store.statistics.counts(),
        f"SELECT {ALL_COUNTS} FROM fine_tuning_jobs GROUP BY status",
    ),
    Statistic(
        "counts by model and day, a month",
        lambda store: store.statistics.counts(by=("model",), bucket="day", created_since=MIDDLE, created_until=MIDDLE + MONTH),
        f"SELECT created_at - created_at % 86400, model, {ALL_COUNTS} FROM fine_tuning_jobs "
        f"WHERE created_at >= {MIDDLE} AND created_at < {MIDDLE + MONTH} GROUP BY 1, 2, status",
    ),
    Statistic(
        "counts by organization and month",
        lambda store: store.statistics.counts(by=("organization_id",), bucket="month"),
        _each(lambda dialect: f"SELECT {MONTH_START[dialect]}, organization_id, {ALL_COUNTS} FROM fine_tuning_jobs GROUP BY 1, 2, status"),
    ),
    Statistic(
        "counts by model, an organization",
        lambda store: store.for_organization(ORGANIZATION).statistics.counts(by=("model",)),
        _each(
            lambda dialect: (
                f"SELECT model, {ALL_COUNTS} FROM fine_tuning_jobs WHERE organization_id = {BOUND[dialect]} GROUP BY model, status"
            )
        ),
        bound=(ORGANIZATION,),
    ),
    Statistic(
        "counts by model, a common pair",
        lambda store: store.statistics.counts(by=("model",), metadata=dict([COMMON_PAIR])),
        f"SELECT model, {ALL_COUNTS} FROM fine_tuning_jobs JOIN fine_tuning_job_metadata m ON m.job_id = id "
        f"WHERE m.digest = {pair_digest(*COMMON_PAIR)} AND m.value = '{COMMON_PAIR[1]}' GROUP BY model, status",
    ),
    Statistic(
        "durations",
        lambda store: store.statistics.durations(),
        _each(lambda dialect: _durations(dialect, "1", "1 = 1")),
    ),
    Statistic(
        "durations by model",
        lambda store: store.statistics.durations(by=("model",)),
        _each(lambda dialect: _durations(dialect, "model", "1 = 1")),
    ),
    Statistic(
        "durations by model, a month",
        lambda store: store.statistics.durations(by=("model",), created_since=MIDDLE, created_until=MIDDLE + MONTH),
        _each(lambda dialect: _durations(dialect, "model", f"created_at >= {MIDDLE} AND created_at < {MIDDLE + MONTH}")),
    ),
    Statistic(
        "error codes",
        lambda store: store.statistics.error_codes(),
        _each(
            lambda dialect: (
                f"SELECT e.code, count(*), {LAST_JOB[dialect]} FROM fine_tuning_jobs j "
                "LEFT JOIN fine_tuning_job_errors e ON e.job_id = j.id WHERE j.status = 'failed' GROUP BY e.code ORDER BY 2 DESC LIMIT 20"
            )
        ),
    ),
    Statistic(
        "queue",
        lambda store: store.statistics.queue(),
        "SELECT status, count(*), min(coalesce(queued_at, created_at)), min(coalesce(started_at, created_at)) FROM fine_tuning_jobs "
        "WHERE status IN ('queued', 'running', 'paused') GROUP BY status",
        enough_ms=10.0,
    ),
    Statistic(
        "count of a status",
        lambda store: store.jobs.count(status="failed"),
        "SELECT count(*) FROM fine_tuning_jobs WHERE status = 'failed'",
    ),
    Statistic(
        "count of a status, at most 10,000",
        lambda store: store.jobs.count(status="failed", limit=10_000),
        "SELECT count(*) FROM (SELECT 1 FROM fine_tuning_jobs WHERE status = 'failed' LIMIT 10000) AS few",
        enough_ms=5.0,
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="the URL of the database")
    parser.add_argument("--only", default="", help="only statistics whose name contains this, such as 'durations'")
    parser.add_argument("--seconds", type=float, default=10.0, help="the rounds of a statistic end after so long (default: 10)")


def main(options: argparse.Namespace) -> None:
    dialect = make_url(options.url).get_backend_name().replace("mysql", "mariadb")
    with FineTuningStore.from_url(options.url) as store:
        engine = create_engine(store.engine.url)
        with closing(engine.raw_connection()) as driver, closing(driver.cursor()) as cursor:
            print("| statistic | store ms | SQL by hand ms | ratio | goal |")
            print("|---|--:|--:|--:|---|", flush=True)
            for statistic in STATISTICS:
                if options.only in statistic.name:
                    _report(store, cursor, statistic, dialect, options.seconds)
        engine.dispose()


def _report(store: FineTuningStore, cursor: Any, statistic: Statistic, dialect: str, seconds: float) -> None:
    sql = statistic.sql if isinstance(statistic.sql, str) else statistic.sql[dialect]

    def by_hand() -> object:
        cursor.execute(sql, *([statistic.bound] if statistic.bound else []))
        return cursor.fetchall()

    try:
        statistic.call(store)
    except AttributeError as error:
        print(f"| {statistic.name} | | | | skipped: {error} |", flush=True)
        return
    ours, hand = medians(lambda: statistic.call(store), by_hand, seconds=seconds, meets_goal=statistic.meets_goal)
    goal = "met" if statistic.meets_goal(ours, hand) else "missed"
    print(f"| {statistic.name} | {ours:.1f} | {hand:.1f} | {ours / hand:.2f} | {goal} |", flush=True)
