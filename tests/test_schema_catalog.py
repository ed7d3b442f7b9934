"""No setting of a host's connection is taken for damage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine

from fine_tuning_store import FineTuningStore, SchemaStatus


@pytest.fixture
def store(empty_url: str) -> Iterator[FineTuningStore]:
    """A store whose tables a test may damage."""
    with FineTuningStore.connect(empty_url) as store:
        store.schema.upgrade()
        yield store


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES", "ORACLE", "EMPTY_STRING_IS_NULL", "ANSI_QUOTES", "PAD_CHAR_TO_FULL_LENGTH"])
def test_each_sql_mode_of_a_hosts_connection_shows_the_same_tables(store: FineTuningStore, mode: str) -> None:
    engine = create_engine(store.engine.url, connect_args={"sql_mode": mode})
    hosts = FineTuningStore(engine)

    assert (hosts.schema.state().status, hosts.schema.check()) == (SchemaStatus.CURRENT, ())
    engine.dispose()
