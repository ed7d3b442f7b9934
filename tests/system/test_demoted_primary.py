"""A MariaDB that was the primary and refuses writes now: stores say so, and take new connections, which may lead to the next primary."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine

from fine_tuning_store import ReadOnlyStoreError
from tests.support.async_store import run_with_store
from tests.support.factories import created
from tests.support.own_mariadb import own_mariadb
from tests.support.standby import scalar


def session(store: Any) -> Any:
    with store.engine.connect() as connection:
        return connection.exec_driver_sql("SELECT connection_id()").scalar()


def test_a_store_leaves_the_connections_of_a_demoted_primary() -> None:
    with own_mariadb() as server:
        engine = create_engine(server.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE jobs")
            connection.exec_driver_sql("CREATE USER service")  # root may write to a read-only server
            connection.exec_driver_sql("GRANT ALL ON jobs.* TO service")
        engine.dispose()
        url = server.url.set(database="jobs", username="service").render_as_string(hide_password=False)

        def be_demoted(store: Any) -> None:
            store.schema.upgrade()
            job = created(store)
            before = session(store)
            scalar(server.url, "SET GLOBAL read_only = 1")
            with pytest.raises(ReadOnlyStoreError, match="is read-only now"):
                store.jobs.cancel(job.id)
            assert session(store) != before
            assert store.jobs.get(job.id) == job
            assert store.schema.state().is_read_only
            scalar(server.url, "SET GLOBAL read_only = 0")
            assert store.jobs.cancel(job.id).status == "cancelled"

        for driver in (None, "aiomysql"):
            run_with_store(be_demoted, url, driver)
