"""The baseline: the bare drivers with hand-written SQL. A job is a flat dict with its JSON members decoded."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from sqlalchemy import make_url
from uuid_utils import uuid7

from benchmarks.jobs import METADATA
from fine_tuning_store.sql.queries.job_rows import pair_digest

Job = dict[str, Any]

COLUMNS = (
    *("id", "created_at", "finished_at", "fine_tuned_model", "model", "organization_id", "status", "trained_tokens"),
    *("training_file", "validation_file", "seed", "suffix", "estimated_finish", "shared_with_openai", "eval_id", "method_type"),
    *("attempt", "queued_at", "started_at", "updated_at", "queued_seconds", "running_seconds", "wire_status"),
    *("available_at", "worker_id", "lease_expires_at", "lost_leases"),
)
JSON_COLUMNS = ("method_grader", "method_response_format", "method_extra", "integrations", "usage_metrics", "extra")
HYPERPARAMETERS = (
    *("n_epochs", "batch_size", "learning_rate_multiplier", "beta"),
    *("compute_multiplier", "eval_interval", "eval_samples", "reasoning_effort"),
)
ERROR = ("code", "message", "param")
NAMES = (*COLUMNS, *ERROR, *HYPERPARAMETERS, "error_extra", "hyperparameters_extra", *JSON_COLUMNS, "result_files", "metadata")
DECODED = NAMES[NAMES.index("error_extra") :]

#: The last two columns: the result files and the metadata of a job, each as one JSON text.
SQLITE_CHILDREN = """
(SELECT json_group_array(file_id) FROM (SELECT file_id FROM fine_tuning_job_result_files WHERE job_id = j.id ORDER BY position)),
(SELECT json_group_object(key, value) FROM fine_tuning_job_metadata WHERE job_id = j.id)
"""
POSTGRESQL_CHILDREN = """
(SELECT json_agg(file_id ORDER BY position)::text FROM fine_tuning_job_result_files WHERE job_id = j.id),
(SELECT json_object_agg(key, value)::text FROM fine_tuning_job_metadata WHERE job_id = j.id)
"""

#: The time of the database's clock.
SQLITE_TIME = "CAST(strftime('%s', 'now') AS INTEGER)"
POSTGRESQL_TIME = "CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT)"

#: A claim: the next job, its row in the log, and what the claim changes.
NEXT_JOB = "FROM fine_tuning_jobs WHERE status = 'queued' AND available_at <= (SELECT {time}) ORDER BY available_at, id LIMIT 1"
CLAIMED = """
UPDATE fine_tuning_jobs SET
    queued_seconds = CASE WHEN logged_status != status THEN NULL
        WHEN status = 'queued' THEN queued_seconds + CASE WHEN queued_at > {now} THEN 0 ELSE {now} - queued_at END
        ELSE queued_seconds END,
    transition_count = transition_count + 1, updated_at = {now}, started_at = {now}, attempt = attempt + 1,
    logged_status = 'running', status = 'running', wire_status = NULL, worker_id = {worker}, lease_expires_at = {time} + {seconds}
"""
LOGGED = """
INSERT INTO fine_tuning_job_transitions
    (id, job_id, position, transition, from_status, to_status, at, actor, reason, attempt)
"""
LOG_ROW = "{transition_id}, id, transition_count + 1, 'start', status, 'running', {now}, {worker}, NULL, attempt + 1"

#: The row in the log of a transition, and what the transition changes, by the store's rules. A total is NULL if the log lacks a transition.
LOG_ENQUEUE = """
INSERT INTO fine_tuning_job_transitions
    (id, job_id, position, transition, from_status, to_status, at, actor, reason, attempt)
SELECT {transition_id}, id, transition_count + 1, 'enqueue', status, 'queued',
    CASE WHEN created_at > {now} THEN created_at ELSE {now} END, {actor}, {reason}, attempt
FROM fine_tuning_jobs WHERE id = {id} AND status = 'validating_files'
"""
ENQUEUE = """
UPDATE fine_tuning_jobs SET
    queued_seconds = CASE WHEN logged_status != status THEN NULL
        WHEN status = 'queued' THEN queued_seconds + CASE WHEN queued_at > {now} THEN 0 ELSE {now} - queued_at END
        ELSE queued_seconds END,
    running_seconds = CASE WHEN logged_status != status THEN NULL
        WHEN status = 'running' THEN running_seconds + CASE WHEN started_at > {now} THEN 0 ELSE {now} - started_at END
        ELSE running_seconds END,
    transition_count = transition_count + 1,
    updated_at = CASE WHEN created_at > {now} THEN created_at ELSE {now} END,
    queued_at = CASE WHEN created_at > {now} THEN created_at ELSE {now} END,
    logged_status = 'queued', status = 'queued', wire_status = NULL, worker_id = NULL, lease_expires_at = NULL, available_at = {time}
"""
ENQUEUE_GUARD = "WHERE id = {id} AND status = 'validating_files'"


class Statements:
    """The SQL of one database, which differs in placeholders, casts of JSON to text, aggregates, and in writes by common table expressions.

    `enqueue` and `create` are one statement with such expressions, else two and three.
    """

    def __init__(self, placeholder: str, named: str, as_text: str, children: str, time: str, *, writes_in_ctes: bool) -> None:
        columns = [
            *(f"j.{name}" for name in COLUMNS),
            *(f"e.{name}" for name in ERROR),
            *(f"h.{name}" for name in HYPERPARAMETERS),
            *(f"{name}{as_text}" for name in ("e.extra", "h.extra", *(f"j.{name}" for name in JSON_COLUMNS))),
            children,
        ]
        select = f"""
            SELECT {", ".join(columns)} FROM fine_tuning_jobs j
            LEFT JOIN fine_tuning_job_errors e ON e.job_id = j.id
            LEFT JOIN fine_tuning_job_hyperparameters h ON h.job_id = j.id
        """
        self.get = f"{select} WHERE j.id = {placeholder}"
        self.page = f"{select} WHERE j.organization_id = {placeholder} ORDER BY j.created_at DESC, j.id DESC LIMIT {placeholder}"
        binds = {name: named.format(name) for name in ("id", "transition_id", "now", "actor", "reason")}
        log, change, guard = (template.format(**binds, time=time) for template in (LOG_ENQUEUE, ENQUEUE, ENQUEUE_GUARD))
        if writes_in_ctes:
            logged = f"WITH logged AS ({log} FOR UPDATE RETURNING job_id)"
            self.enqueue: tuple[str, ...] = (f"{logged} {change} FROM logged WHERE fine_tuning_jobs.id = logged.job_id",)
        else:
            self.enqueue = (log, f"{change} {guard}")

        binds = {name: named.format(name) for name in ("id", "transition_id", "now", "worker", "seconds")}
        next_job, log_row, change = (template.format(**binds, time=time) for template in (NEXT_JOB, LOG_ROW, CLAIMED))
        #: One statement, or four: the next job, its row in the log, the change, and the job.
        self.claim: tuple[str, ...] = (
            f"SELECT id {next_job}",
            f"{LOGGED} SELECT {log_row} FROM fine_tuning_jobs WHERE id = {binds['id']} AND status = 'queued'",
            f"{change} WHERE id = {binds['id']} AND status = 'queued'",
            self.get,
        )
        if writes_in_ctes:
            self.claim = (
                f"WITH candidate AS (SELECT {log_row} {next_job} FOR UPDATE SKIP LOCKED), "
                f"logged AS ({LOGGED} SELECT * FROM candidate RETURNING job_id), "
                f"claimed AS ({change} FROM logged WHERE fine_tuning_jobs.id = logged.job_id RETURNING fine_tuning_jobs.*) "
                + select.replace("FROM fine_tuning_jobs j", "FROM claimed j"),
            )

        def insert(table: str, names: Sequence[str], rows: int = 1) -> str:
            row = f"({', '.join([placeholder] * len(names))})"
            return f"INSERT INTO {table} ({', '.join(names)}) VALUES {', '.join([row] * rows)}"

        job = insert("fine_tuning_jobs", (*COLUMNS, *JSON_COLUMNS, "logged_status"))
        pair = ("job_id", "key", "value", "digest", "organization_id", "created_at")
        metadata = insert("fine_tuning_job_metadata", pair, rows=len(METADATA))
        hyperparameters = insert("fine_tuning_job_hyperparameters", ("job_id", *HYPERPARAMETERS, "extra"))
        #: The three, or one statement that takes the values of all, in this order.
        self.create: tuple[str, ...] = (job, metadata, hyperparameters)
        if writes_in_ctes:
            self.create = (f"WITH job AS ({job}), pairs AS ({metadata}) {hyperparameters}",)


class Bare(ABC):
    """The four operations, each with as little work as possible on one driver."""

    def __init__(self, statements: Statements, reader: Any, writer: Any) -> None:
        self.statements = statements
        self.reader = reader
        self.writer = writer

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction on the writer."""

    @abstractmethod
    def commit(self) -> None:
        """Commit it."""

    @abstractmethod
    def settle(self) -> None:
        """Run the maintenance that the server would run in the background after many inserts."""

    def get(self, id: str) -> Job:
        return _decoded(self.reader.execute(self.statements.get, (id,)).fetchone())

    def page(self, organization_id: str) -> list[Job]:
        return [_decoded(row) for row in self.reader.execute(self.statements.page, (organization_id, 100))]

    def enqueue(self, id: str) -> Job:
        values = {"id": id, "transition_id": f"fttransition-{uuid7().hex}", "now": int(time.time()), "actor": None, "reason": None}
        self.begin()
        for statement in self.statements.enqueue:
            assert self.writer.execute(statement, values).rowcount == 1
        row = self.writer.execute(self.statements.get, (id,)).fetchone()
        self.commit()
        return _decoded(row)

    def claim(self, worker_id: str, seconds: int) -> Job | None:
        values = {"transition_id": f"fttransition-{uuid7().hex}", "now": int(time.time()), "worker": worker_id, "seconds": seconds}
        if len(self.statements.claim) == 1:
            row = self.reader.execute(self.statements.claim[0], values).fetchone()
            return row and _decoded(row)
        find, log, change, get = self.statements.claim
        self.begin()
        found = self.writer.execute(find).fetchone()
        if found is None:
            self.commit()
            return None
        for statement in (log, change):
            assert self.writer.execute(statement, {**values, "id": found[0]}).rowcount == 1
        row = self.writer.execute(get, found).fetchone()
        self.commit()
        return _decoded(row)

    def create(self, organization_id: str) -> str:
        id, now = f"ftjob-{uuid7().hex}", int(time.time())
        members = (id, now, None, None, "gpt-4o-mini", organization_id, "validating_files", None, "file-abc", "file-def")
        more = (random.getrandbits(31), "benchmark", None, False, None, "supervised", 0, None, None, None, 0, 0, None, 0, None, None, 0)
        pairs = [value for key, word in METADATA.items() for value in (id, key, word, pair_digest(key, word), organization_id, now)]
        hyperparameters = (id, 3, -1, 1.8, None, None, None, None, None, None)
        values: tuple[Sequence[Any], ...] = ((*members, *more, *[None] * len(JSON_COLUMNS), "validating_files"), pairs, hyperparameters)
        if len(self.statements.create) == 1:
            values = ([value for row in values for value in row],)
        self.begin()
        for statement, row in zip(self.statements.create, values, strict=True):
            self.writer.execute(statement, row)
        self.commit()
        return id


class BareSqlite(Bare):
    """sqlite3, configured as the store configures it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(Statements("?", ":{}", "", SQLITE_CHILDREN, SQLITE_TIME, writes_in_ctes=False), connection, connection)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    def begin(self) -> None:
        self.writer.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self.writer.execute("COMMIT")

    def settle(self) -> None:
        """Do nothing: SQLite has no background maintenance."""


class BarePostgresql(Bare):
    """psycopg, which prepares a statement after five executions. No transaction rolls back, which would discard prepared statements."""

    def __init__(self, reader: psycopg.Connection[Any], writer: psycopg.Connection[Any]) -> None:
        super().__init__(Statements("%s", "%({})s", "::text", POSTGRESQL_CHILDREN, POSTGRESQL_TIME, writes_in_ctes=True), reader, writer)

    def begin(self) -> None:
        """Do nothing: the driver begins a transaction before the first statement."""

    def commit(self) -> None:
        self.writer.commit()

    def settle(self) -> None:
        self.reader.execute("VACUUM ANALYZE")


@contextmanager
def open_bare(url: str) -> Iterator[Bare]:
    """Open the bare driver on the database of a store's URL."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(parsed.database), isolation_level=None, timeout=30)) as connection:
            yield BareSqlite(connection)
        return
    address = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as reader, psycopg.connect(address) as writer:
        yield BarePostgresql(reader, writer)


def _decoded(row: Sequence[Any]) -> Job:
    job = dict(zip(NAMES, row, strict=True))
    for name in DECODED:
        text = job[name]
        if text is not None:
            job[name] = json.loads(text)
    return job
