"""The options of create_engine that from_url takes, and those that it refuses by name."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sqlalchemy.pool import QueuePool

from fine_tuning_store import AsyncFineTuningStore, EngineConfigurationError, FineTuningStore, InvalidValueError, StoreBusyError, Timeouts
from tests.support.factories import created
from tests.support.tables import each

POSSIBLE = {
    "echo": False,
    "echo_pool": False,
    "logging_name": "fine-tuning",
    "max_overflow": 2,
    "pool_logging_name": "fine-tuning-pool",
    "pool_pre_ping": True,
    "pool_recycle": 600,
    "pool_size": 20,
    "pool_use_lifo": True,
    "query_cache_size": 100,
}
URLS = ["sqlite:///file.db", "postgresql://host/db", "postgresql+psycopg2://host/db", "mariadb://host/db"]


@each("url", URLS)
@each("kind", [FineTuningStore, AsyncFineTuningStore])
def test_the_pool_and_the_logs_of_a_stores_engine_can_be_set(kind: Any, url: str) -> None:
    store = kind.from_url(url, engine_options=POSSIBLE, timeouts=Timeouts(pool=3))
    pool = store.engine.pool
    assert isinstance(pool, QueuePool)
    assert (pool.size(), pool._max_overflow, pool._recycle, pool._pre_ping, pool.timeout()) == (20, 2, 600, True, 3)
    assert getattr(store.engine, "sync_engine", store.engine).logging_name == "fine-tuning"


def test_a_store_has_as_many_connections_as_its_options_say(url: str) -> None:
    with FineTuningStore.from_url(url, engine_options={"pool_size": 1, "max_overflow": 1}, timeouts=Timeouts(pool=0.2)) as store:
        with store.engine.connect(), store.engine.connect(), pytest.raises(StoreBusyError, match="all connections"):
            store.jobs.list()
        assert store.jobs.list().data == ()


REFUSED = {
    "pool_timeout": (5, r"Timeouts\(pool"),
    "connect_args": ({"password": "tiger"}, "parameters of the URL"),
    "pool_sise": ("tiger", "pool_sise.*possible are echo.*pool_size"),
    **dict.fromkeys(
        ("isolation_level", "execution_options", "hide_parameters", "poolclass", "pool", "creator", "json_serializer", "url", "plugins"),
        ("tiger", "possible are echo"),
    ),
}


@each("kind", [FineTuningStore, AsyncFineTuningStore])
@each("name", REFUSED)
def test_an_option_that_the_store_sets_or_nobody_knows_is_refused_with_those_that_are_possible(kind: Any, name: str) -> None:
    value, hint = REFUSED[name]
    with pytest.raises(EngineConfigurationError, match=hint) as caught:
        kind.from_url("postgresql://host/db", engine_options={name: value})
    assert name in str(caught.value)
    assert "tiger" not in str(caught.value)


@each(
    ("name", "value"),
    [
        *[("pool_size", value) for value in (0, -1, "20", 1.5, True, None)],
        *[("max_overflow", value) for value in (-2, "20", None)],
        *[("pool_recycle", value) for value in (-2, "20", None)],
        *[("pool_pre_ping", value) for value in (1, "true", None)],
        ("echo", "yes"),
        ("logging_name", 1),
        ("query_cache_size", -1),
    ],
)
def test_a_wrong_value_of_an_option_is_refused_when_the_store_is_opened(name: str, value: object) -> None:
    with pytest.raises(InvalidValueError, match=rf"engine_options\.{name}"):
        FineTuningStore.from_url("postgresql://host/db", engine_options={name: value})


def test_options_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(TypeError, match="engine_options must be a mapping"):
        FineTuningStore.from_url("sqlite://", engine_options=["pool_size"])  # type: ignore[arg-type]


def test_the_pool_of_a_database_in_memory_and_that_of_asyncpg_behind_a_pooler_have_no_size() -> None:
    for name in ("pool_size", "max_overflow"):
        with pytest.raises(EngineConfigurationError, match=rf"{name}.*for this URL"):
            FineTuningStore.from_url("sqlite://", engine_options={name: 5})
        with pytest.raises(EngineConfigurationError, match=rf"{name}.*for this URL"):
            AsyncFineTuningStore.from_url("postgresql://host/db", engine_options={name: 5}, transaction_pooler=True)
    AsyncFineTuningStore.from_url("postgresql://host/db", engine_options={"pool_recycle": 60}, transaction_pooler=True)
    FineTuningStore.from_url("postgresql://host/db", engine_options={"pool_size": 5}, transaction_pooler=True)


def test_the_log_of_echo_shows_statements_without_their_values(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"), FineTuningStore.from_url(url, engine_options={"echo": True}) as store:
        created(store, suffix="a-secret")
    assert "INSERT" in caplog.text
    assert "a-secret" not in caplog.text


def test_pools_log_where_those_of_sqlalchemy_do(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "sqlalchemy.pool"), FineTuningStore.from_url(url) as store:
        store.jobs.list()
    names = {record.name for record in caplog.records if "ool" in record.name}
    assert names
    assert all(name.startswith("sqlalchemy.pool.") for name in names)
