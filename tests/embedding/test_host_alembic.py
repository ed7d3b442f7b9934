"""Applications with their own tables and Alembic history, separate from the store's or including it: the examples, on every database."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import alembic
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import Script
from alembic.util import CommandError
from sqlalchemy import inspect, text

from fine_tuning_store import FineTuningStore, InvalidValueError, SchemaConflictError, SchemaVersionError
from fine_tuning_store.errors import FineTuningStoreError
from fine_tuning_store.schema import exclude_store_tables, migrations_path
from fine_tuning_store.schema.revisions import SCHEMA_NUMBER, revision_id
from fine_tuning_store.schema.revisions import config as our_config
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE
from tests.support.databases import Database
from tests.support.factories import created

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAD = revision_id(SCHEMA_NUMBER)
STORE_TABLES = set(METADATA.tables)


@pytest.fixture
def separate(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The configuration of the application whose history is separate from the store's."""
    monkeypatch.setenv("DATABASE_URL", empty_url)
    return Config(EXAMPLES / "host_two_histories" / "alembic.ini")


@pytest.fixture
def shared(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The configuration of the application whose history includes the store's revisions.

    Its alembic.ini refers to the installed package. In a checkout, the folder of the revisions is set here.
    """
    monkeypatch.setenv("DATABASE_URL", empty_url)
    folder = EXAMPLES / "host_one_history"
    config = Config(folder / "alembic.ini")
    config.set_main_option("version_locations", f"{folder / 'versions'}\n{migrations_path() / 'versions'}".replace("%", "%%"))
    return config


@pytest.fixture
def store(empty_url: str) -> Iterator[FineTuningStore]:
    with FineTuningStore.from_url(empty_url) as store:
        yield store


@pytest.fixture
def guest(empty_url: str) -> Iterator[FineTuningStore]:
    """A store with the version table of the application, whose history includes its tables."""
    with FineTuningStore.from_url(empty_url, host_version_table="alembic_version") as guest:
        yield guest


def tables(store: FineTuningStore) -> set[str]:
    return set(inspect(store.engine).get_table_names())


def versions(store: FineTuningStore) -> set[str]:
    with store.engine.connect() as connection:
        return set(connection.scalars(text("SELECT version_num FROM alembic_version")))


def add_charge(store: FineTuningStore) -> str:
    """Create a job and a row of the application that refers to it. Returns the id of the job."""
    job = created(store)
    with store.begin() as unit:
        unit.connection.execute(text("INSERT INTO charges (id, job_id, cents) VALUES (1, :job_id, 250)"), {"job_id": job.id})
    return job.id


def count_charges(store: FineTuningStore) -> int:
    with store.engine.connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM charges")) or 0


def check_store_history(store: FineTuningStore) -> None:
    """Run `alembic check` with the store's env.py."""
    with store.engine.connect() as connection:
        command.check(our_config(connection=connection))


def test_two_histories_go_up_and_down_and_up_again_in_one_database(separate: Config, store: FineTuningStore) -> None:
    for _ in range(2):
        store.schema.upgrade()
        command.upgrade(separate, "head")
        assert (store.schema.current(), versions(store)) == (HEAD, {"0001"})
        add_charge(store)
        command.check(separate)
        check_store_history(store)
        assert store.schema.check() == ()
        command.downgrade(separate, "base")
        assert tables(store) == {*STORE_TABLES, VERSION_TABLE, "alembic_version"}
        store.schema.downgrade("base", allow_data_loss=True)
        assert tables(store) == {"alembic_version"}  # Alembic keeps the empty table of the application


def test_an_application_may_delete_its_rows_with_the_job(separate: Config, store: FineTuningStore) -> None:
    store.schema.upgrade()
    command.upgrade(separate, "head")
    job_id = add_charge(store)

    store.jobs.cancel(job_id)
    store.jobs.delete(job_id)

    assert count_charges(store) == 0


def test_without_the_filter_autogenerate_would_drop_the_stores_tables(separate: Config, store: FineTuningStore) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import MetaData

    store.schema.upgrade()
    with store.engine.connect() as connection:

        def dropped(**options: object) -> set[str]:
            context = MigrationContext.configure(connection, opts={"include_schemas": False, **options})
            return {change[1].name for change in compare_metadata(context, MetaData()) if change[0] == "remove_table"}

        def in_this_database(name: str | None, kind: str, parents: Any) -> bool:
            """Leave out the other databases of MariaDB, which other tests drop while they are reflected."""
            return name is None if kind == "schema" else exclude_store_tables(name, kind, parents)

        assert dropped() == {*STORE_TABLES, VERSION_TABLE}
        assert dropped(include_name=exclude_store_tables) == set()
        assert dropped(include_name=in_this_database, include_schemas=True) == set()


def test_one_history_goes_up_and_down_and_up_again(shared: Config, guest: FineTuningStore) -> None:
    assert guest.schema.current() is None
    for _ in range(2):
        command.upgrade(shared, "heads")
        assert tables(guest) == {*STORE_TABLES, "charges", "alembic_version"}
        assert versions(guest) == {"0001", HEAD}
        assert guest.schema.current() == guest.schema.head() == HEAD
        add_charge(guest)
        command.check(shared)
        assert guest.schema.check() == ()
        guest.schema.require_usable()
        guest.schema.upgrade()
        command.downgrade(shared, "fine_tuning_store_0001")
        assert versions(guest) == {"0001"}  # Alembic leaves out what the application's revision depends on
        assert guest.schema.current() == "fine_tuning_store_0001"
        assert count_charges(guest) == 1
        command.upgrade(shared, "heads")
        command.downgrade(shared, "application@base")
        assert (guest.schema.current(), tables(guest)) == (HEAD, {*STORE_TABLES, "alembic_version"})
        command.downgrade(shared, "base")
        assert (guest.schema.current(), tables(guest)) == (None, {"alembic_version"})


def test_a_store_inside_an_applications_history_names_its_command_instead_of_migrating(shared: Config, guest: FineTuningStore) -> None:
    def refused() -> None:
        before = tables(guest)
        calls: list[tuple[Callable[[], object], str]] = [
            (guest.schema.upgrade, "'alembic upgrade heads'"),
            (lambda: guest.schema.downgrade("base"), "'alembic downgrade base'"),
        ]
        for call, names in calls:
            with pytest.raises(SchemaConflictError, match=names):
                call()
        for look in (guest.jobs.list, guest.schema.require_usable):
            with pytest.raises(SchemaVersionError, match="'alembic upgrade heads'"):
                look()
        assert tables(guest) == before

    refused()
    command.upgrade(shared, "fine_tuning_store_0001")
    refused()
    command.upgrade(shared, "heads")
    guest.schema.upgrade()
    with pytest.raises(SchemaConflictError, match="'alembic downgrade base'"):
        guest.schema.downgrade("base")
    assert guest.schema.current() == HEAD


@pytest.mark.parametrize("target", ["fine_tuning_store_0001", "heads"])
def test_no_second_history_is_begun_next_to_an_applications(shared: Config, store: FineTuningStore, target: str) -> None:
    command.upgrade(shared, target)
    before = tables(store)

    assert store.schema.current() is None
    calls: list[Callable[[], object]] = [
        store.schema.upgrade,
        lambda: store.schema.upgrade("fine_tuning_store_0001"),
        lambda: store.schema.downgrade("base"),
    ]
    for call in calls:
        with pytest.raises(SchemaConflictError, match=r"host_version_table='alembic_version' and run 'alembic upgrade heads'"):
            call()
    assert tables(store) == before
    if target == "heads":
        created(store)  # reading and writing jobs does not depend on the history


def test_a_store_with_a_history_of_its_own_is_not_mistaken_for_an_applications(store: FineTuningStore, guest: FineTuningStore) -> None:
    store.schema.upgrade("fine_tuning_store_0001")

    with pytest.raises(SchemaConflictError, match="without host_version_table"):
        guest.schema.upgrade()
    store.schema.upgrade()


def test_the_stores_own_history_can_be_moved_into_an_applications(shared: Config, store: FineTuningStore, guest: FineTuningStore) -> None:
    """Stamp the application's history, then drop the store's version table, as documented."""
    store.schema.upgrade()
    job = created(store)
    command.stamp(shared, "fine_tuning_store@head")
    with store.engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
    command.upgrade(shared, "heads")

    assert (guest.schema.current(), versions(guest)) == (HEAD, {HEAD, "0001"})
    assert guest.jobs.get(job.id) == job
    command.downgrade(shared, "base")
    assert tables(guest) == {"alembic_version"}


@pytest.mark.parametrize("name", ["", 5, "a\0b", "x" * 64])
def test_a_wrong_version_table_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        FineTuningStore.from_url("sqlite://", host_version_table=name)
    assert caught.value.field == "host_version_table"


def test_the_next_revision_of_the_application_is_empty_and_created_in_its_own_folder(
    shared: Config, empty_url: str, tmp_path: Path
) -> None:
    command.upgrade(shared, "heads")
    versions_folder = tmp_path / "versions"
    versions_folder.mkdir()
    for path in (EXAMPLES / "host_one_history" / "versions").glob("*.py"):
        (versions_folder / path.name).write_text(path.read_text())
    (tmp_path / "script.py.mako").write_text((Path(alembic.__file__).parent / "templates" / "generic" / "script.py.mako").read_text())
    (tmp_path / "env.py").write_text((EXAMPLES / "host_one_history" / "env.py").read_text())
    shared.set_main_option("script_location", str(tmp_path))
    shared.set_main_option("version_locations", f"{versions_folder}\n{migrations_path() / 'versions'}")
    before = sorted((migrations_path() / "versions").glob("*.py"))

    script = command.revision(shared, "next", autogenerate=True, head="application@head")

    assert script is not None
    assert not isinstance(script, list)
    assert Path(script.path).parent == versions_folder
    assert (
        re.findall(
            r"^def (?:up|down)grade\(\) -> None:\n    \"\"\"[^\n]*\n(.*?)\n(?=\n|\Z)",
            Path(script.path).read_text(),
            re.MULTILINE | re.DOTALL,
        )
        == ["    # ### commands auto generated by Alembic - please adjust! ###\n    pass\n    # ### end Alembic commands ###"] * 2
    )
    assert sorted((migrations_path() / "versions").glob("*.py")) == before


@pytest.fixture
def new_application(empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The configuration of an application whose history includes the store's revisions, and that has none of its own yet."""
    for name in ("env.py", "alembic.ini"):
        (tmp_path / name).write_text((EXAMPLES / "host_one_history" / name).read_text())
    (tmp_path / "script.py.mako").write_text((Path(alembic.__file__).parent / "templates" / "generic" / "script.py.mako").read_text())
    config = Config(tmp_path / "alembic.ini")
    config.set_main_option("version_locations", f"{tmp_path / 'versions'}\n{migrations_path() / 'versions'}".replace("%", "%%"))
    monkeypatch.setattr("sys.path", [str(EXAMPLES), *sys.path])
    monkeypatch.setenv("DATABASE_URL", empty_url)
    return config


def test_the_first_revision_of_an_application_is_written_to_its_own_folder_and_runs(
    new_application: Config, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = new_application
    before = sorted((migrations_path() / "versions").glob("*.py"))

    command.upgrade(config, "heads")
    first = command.revision(config, "first", autogenerate=True)
    command.upgrade(config, "heads")
    command.check(config)
    second = command.revision(config, "second")
    for head in ("fine_tuning_store@head", HEAD):
        with pytest.raises(CommandError, match="leave out --head"):
            command.revision(config, "wrong", head=head)

    assert isinstance(first, Script)
    assert isinstance(second, Script)
    assert {Path(script.path).parent for script in (first, second)} == {tmp_path / "versions"}
    assert (first.down_revision, first.dependencies) == (None, HEAD)
    assert (second.down_revision, second.dependencies) == (first.revision, None)
    assert not re.search(r"(import|from) +fine_tuning_store|fine_tuning_store\.", Path(first.path).read_text())
    assert sorted((migrations_path() / "versions").glob("*.py")) == before
    with database.empty() as another_url, FineTuningStore.from_url(another_url, host_version_table="alembic_version") as guest:
        monkeypatch.setenv("DATABASE_URL", another_url)
        command.upgrade(config, "heads")
        command.check(config)
        assert add_charge(guest)


def test_the_first_revision_that_refers_to_jobs_runs_in_a_new_database_whatever_precedes_it(
    new_application: Config, empty_url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application had a history, of two branches even, before it used the store."""
    folder = tmp_path / "versions"
    folder.mkdir(exist_ok=True)
    for id in ("begin", "other"):
        (folder / f"{id}.py").write_text(
            f"revision, down_revision = {id!r}, None\ndef upgrade() -> None:\n    pass\ndef downgrade() -> None:\n    pass\n"
        )
    command.upgrade(new_application, "heads")

    second = command.revision(new_application, "create tables", autogenerate=True, head="begin", depends_on="other")
    third = command.revision(new_application, "third", head="begin@head")

    assert isinstance(second, Script)
    assert isinstance(third, Script)
    assert (second.down_revision, second.dependencies) == ("begin", ("other", HEAD))
    assert (third.down_revision, third.dependencies) == (second.revision, None)
    with database.empty() as another_url, FineTuningStore.from_url(another_url, host_version_table="alembic_version") as guest:
        monkeypatch.setenv("DATABASE_URL", another_url)
        command.upgrade(new_application, second.revision)
        assert guest.schema.current() == HEAD
        assert add_charge(guest)
        command.upgrade(new_application, "heads")
        command.check(new_application)


@pytest.mark.slow
def test_optuna_works_in_the_same_database(database: Database) -> None:
    """Test a real application, which has its history in `alembic_version` and does not use the store's filters."""
    import optuna
    from optuna.storages import RDBStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for first in ("optuna", "store"):
        with database.empty() as url, FineTuningStore.from_url(url) as store:
            if first == "store":
                store.schema.upgrade()
            storage = RDBStorage(url)
            optuna_versions = versions(store)
            store.schema.upgrade()
            study = optuna.create_study(storage=storage)
            study.optimize(lambda trial: trial.suggest_float("learning_rate", 0, 1), n_trials=2)
            created(store)

            with store.engine.begin() as connection:  # as before its last migration, which only creates an index
                connection.execute(text("UPDATE alembic_version SET version_num = :old"), {"old": storage.get_all_versions()[1]})
            assert storage.get_current_version() != storage.get_head_version()
            storage.upgrade()
            store.schema.upgrade()
            check_store_history(store)
            assert versions(store) == optuna_versions == {storage.get_head_version()}
            before = tables(store) - STORE_TABLES - {VERSION_TABLE}
            store.schema.downgrade("base", allow_data_loss=True)

            assert tables(store) == before
            assert len(optuna.load_study(study_name=study.study_name, storage=storage).trials) == 2
            storage.engine.dispose()


def test_the_errors_survive_pickling() -> None:
    import pickle

    errors: list[FineTuningStoreError] = [SchemaVersionError(1, 2, None, "alembic_version"), SchemaConflictError("because")]
    for error in errors:
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
