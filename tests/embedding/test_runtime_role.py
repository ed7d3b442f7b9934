"""A service may run as a user that cannot change the schema, while another user migrates."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import FineTuningStore, JobNotFoundError
from fine_tuning_store.sql.models import JOB_CHILDREN, METADATA, VERSION_TABLE
from tests.schema.test_cli import refusal
from tests.support.databases import ASYNC_DRIVERS, SYNC_DRIVERS, Database, with_driver
from tests.support.factories import created

pytestmark = pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True, scope="session")

#: The tables that a service writes. It only reads the others.
WRITTEN = sorted(set(METADATA.tables) - {"fine_tuning_store_compatibility"})
READ = ("fine_tuning_store_compatibility", VERSION_TABLE)


@dataclass
class Role:
    """A user of one database, initially without privileges."""

    owner: Engine
    name: str
    account: str
    url: str

    def grant(self) -> None:
        """Grant the privileges that a service needs on the existing tables."""
        present = inspect(self.owner).get_table_names()
        with self.owner.connect() as connection:
            for table in WRITTEN:
                if table in present:
                    connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {self.account}"))
            for table in READ:
                connection.execute(text(f"GRANT SELECT ON {table} TO {self.account}"))


@pytest.fixture
def role(database: Database, empty_url: str) -> Iterator[Role]:
    """A user that may only log in."""
    name, password = f"fine_tuning_{secrets.token_hex(6)}", secrets.token_hex(8)
    owner = create_engine(empty_url, isolation_level="AUTOCOMMIT")
    url = make_url(empty_url).set(username=name, password=password).render_as_string(hide_password=False)
    with owner.connect() as connection:
        if database.name == "postgresql":
            account = name
            connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'"))
        else:
            account = f"'{name}'@'%'"
            connection.execute(text(f"CREATE USER {account} IDENTIFIED BY '{password}'"))
            # Without any privilege, the user cannot connect to the database.
            connection.execute(text(f"GRANT CREATE TEMPORARY TABLES ON {make_url(empty_url).database}.* TO {account}"))
        yield Role(owner, name, account, url)
        if database.name == "postgresql":
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))
        else:
            connection.execute(text(f"DROP USER {account}"))
    owner.dispose()


def test_a_user_without_rights_on_the_schema_can_use_all_operations_on_a_job(empty_url: str, role: Role) -> None:
    with FineTuningStore.from_url(empty_url) as owner_store:
        owner_store.schema.upgrade()
    role.grant()
    with FineTuningStore.from_url(role.url) as store:
        store.schema.require_usable()
        store.schema.upgrade()  # does nothing

        job = created(store, metadata={"team": "nlp"})
        for transition in (store.jobs.enqueue, store.jobs.start, store.jobs.pause, store.jobs.resume, store.jobs.start):
            transition(job.id, message="changed")
        store.events.append(job.id, "Step 1", type="metrics", data={"step": 1})
        name = "ft:m:ckpt-step-1"
        store.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint=name)
        (permission,) = store.checkpoint_permissions.create(name, ["proj-1"])
        assert store.jobs.succeed(job.id, fine_tuned_model="ft:m", result_files=["file-r"]).status == "succeeded"
        assert [found.id for found in store.jobs.list(metadata={"team": "nlp"})] == [job.id]
        assert len(store.events.list(job.id)) == 6
        store.checkpoint_permissions.delete(permission.id)
        store.jobs.delete(job.id)
        with pytest.raises(JobNotFoundError):
            store.jobs.get(job.id)
        assert store.schema.check() == ()


@pytest.mark.parametrize("revision", ["base", "fine_tuning_store_0001"])
def test_a_user_without_rights_on_the_schema_cannot_upgrade_and_changes_nothing(empty_url: str, role: Role, revision: str) -> None:
    with FineTuningStore.from_url(empty_url) as owner_store:
        if revision != "base":
            owner_store.schema.upgrade(revision)
            role.grant()
        tables = inspect(owner_store.engine).get_table_names()
        with FineTuningStore.from_url(role.url) as store:
            with pytest.raises(DBAPIError, match=r"(?i)permission denied|must be owner|command denied"):
                store.schema.upgrade()

        assert owner_store.schema.current() == (None if revision == "base" else revision)
        assert inspect(owner_store.engine).get_table_names() == tables
        owner_store.schema.upgrade()
        assert owner_store.schema.check() == ()


def test_the_command_line_sends_a_user_without_rights_to_the_owner_of_the_tables(database: Database, role: Role) -> None:
    for driver in (make_url(role.url).get_driver_name(), *SYNC_DRIVERS[database.name], *ASYNC_DRIVERS[database.name]):
        line = refusal("upgrade", url=with_driver(role.url, driver))

        assert line.startswith("the database failed: ")
        assert line.endswith(": do this as the owner of the tables")
        assert not re.search("LINE|CREATE TABLE", line)


def test_a_job_is_created_where_policies_of_its_tables_look_the_job_up(role: Role, database: Database) -> None:
    if database.name != "postgresql":
        pytest.skip("MariaDB has no row level security")
    with FineTuningStore.from_url(role.owner.url.render_as_string(hide_password=False)) as owner:
        owner.schema.upgrade()
    role.grant()
    with role.owner.connect() as connection:
        for table in sorted(child.name for child in JOB_CHILDREN):
            connection.execute(text(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"))
            sees = "EXISTS (SELECT 1 FROM fine_tuning_jobs AS job WHERE job.id = job_id)"
            connection.execute(text(f"CREATE POLICY of_a_visible_job ON {table} USING ({sees})"))

    with FineTuningStore.from_url(role.url) as store:
        job = created(store, metadata={"team": "nlp"})
        store.jobs.enqueue(job.id, message="queued")
        assert store.jobs.get(job.id).metadata == {"team": "nlp"}
        assert store.transitions.list(job.id).data[0].to_status == "queued"
        assert len(store.events.list(job.id).data) > 0
