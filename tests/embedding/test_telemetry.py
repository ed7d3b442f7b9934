"""What an operator sees: statements with names in server views and traces, and a log without user data."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import FineTuningJob, FineTuningStore, FineTuningStoreError, JobError, UnitOfWork
from tests.contract.test_statement_counts import CALLS, statements
from tests.support.databases import Database
from tests.support.factories import created, stored

SECRET = "hunter2"
NAMED = re.compile(r"(WITH .*?)?\b(SELECT|INSERT|UPDATE|DELETE) /\* fine_tuning_store\.\w+ \*/ ", re.DOTALL)


@pytest.mark.parametrize("call", CALLS)
def test_each_statement_has_a_name_after_its_verb(sqlite_store: FineTuningStore, call: str) -> None:
    status, _, function = CALLS[call]
    job = stored(sqlite_store, status=status, fine_tuned_model="ft:c")
    with statements(sqlite_store) as sent:
        with suppress(FineTuningStoreError):  # rows that do not exist have been queried by then
            function(sqlite_store, job.id)

    assert [statement for statement in sent if not NAMED.match(statement)] == []


def test_writes_have_names_on_every_database(store: FineTuningStore) -> None:
    template = stored(store)
    with statements(store) as sent:
        created(store, metadata={"a": "b"})
        store.jobs.fail(template.id, JobError(code="c"), message="hello")
        store.jobs.add_many([FineTuningJob(**{**members(template), "id": f"ftjob-{number}"}) for number in range(3)])
        store.jobs.delete(template.id)

    assert [statement for statement in sent if not NAMED.match(statement)] == []


def members(job: FineTuningJob) -> dict[str, Any]:
    return {name: getattr(job, name) for name in ("created_at", "organization_id", "model", "training_file")}


def test_a_servers_view_of_its_connections_shows_the_name(store: FineTuningStore, url: str, database: Database) -> None:
    if database.name != "postgresql":
        return
    engine = create_engine(url)
    with store.begin() as unit, engine.connect() as other:
        unit.jobs.list()
        queries = other.scalars(text("SELECT query FROM pg_stat_activity WHERE state = 'idle in transaction'")).all()
    engine.dispose()

    assert any(query.startswith("SELECT /* fine_tuning_store.page */ ") for query in queries)


@contextmanager
def traced(engine: Engine | None) -> Iterator[InMemorySpanExporter]:
    """Record the spans of one engine, or of all engines created within the block."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    instrumentor = SQLAlchemyInstrumentor()
    instrumentor.instrument(engine=engine, tracer_provider=provider, skip_dep_check=True)  # it declares SQLAlchemy < 2.1
    try:
        yield spans
    finally:
        instrumentor.uninstrument()


@pytest.mark.parametrize("owner", ["store", "host"])
def test_traces_show_the_names_and_no_values(url: str, owner: str) -> None:
    engine = create_engine(url) if owner == "host" else None
    with traced(engine) as spans, FineTuningStore(engine) if engine else FineTuningStore.from_url(url) as store:
        store.jobs.get(created(store, suffix=SECRET).id)
    if engine:
        engine.dispose()

    sent = [str((span.attributes or {}).get("db.statement", "")) for span in spans.get_finished_spans()]
    assert any(statement.startswith("SELECT /* fine_tuning_store.job */ ") for statement in sent)
    assert any("INSERT /* fine_tuning_store.insert_" in statement for statement in sent)
    assert SECRET not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_a_retried_unit_is_logged_without_the_data_it_wrote(store: FineTuningStore, caplog: pytest.LogCaptureFixture) -> None:
    runs: list[int] = []

    def work(unit: UnitOfWork) -> None:
        runs.append(1)
        unit.jobs.create(organization_id="org-1", model=SECRET, training_file="f")
        if len(runs) == 1:
            original: Any = Exception(1213, SECRET)
            original.sqlstate = "40P01"
            original.sqlite_errorname = "SQLITE_BUSY_SNAPSHOT"
            raise DBAPIError("UPDATE", {"model": SECRET}, original)

    with caplog.at_level(logging.DEBUG, logger="fine_tuning_store"):
        store.run_in_transaction(work)

    (record,) = [record for record in caplog.records if record.name.startswith("fine_tuning_store")]
    assert (record.name, record.levelno) == ("fine_tuning_store.retries", logging.INFO)
    assert re.fullmatch(r"attempt 1 of a transaction failed \((1213|40P01|SQLITE_BUSY_SNAPSHOT)\): retrying", record.getMessage())
    assert SECRET not in caplog.text
