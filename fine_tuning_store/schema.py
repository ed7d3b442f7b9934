"""The migrations as an API: the same files that `alembic upgrade head` runs, found in a checkout and in an installed package.

`is_not_ours`, `foreign_keys_off` and `migrations_path` are for the env.py and the Config of an application with an Alembic of its own.

Alembic is imported on first use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, inspect

from fine_tuning_store.domain.values import text
from fine_tuning_store.errors import (
    InvalidValueError,
    SchemaConflictError,
    SchemaLockTimeoutError,
    SchemaOutOfDateError,
    UnsupportedDatabaseError,
)
from fine_tuning_store.sql import catalog
from fine_tuning_store.sql.dialects import traits_of
from fine_tuning_store.sql.named_schema import checked_schema, options_of
from fine_tuning_store.sql.statements import compatible_numbers
from fine_tuning_store.sql.tables import METADATA, SCHEMA_NUMBER, VERSION_TABLE, compatibility
from fine_tuning_store.sql.waiting import poll

if TYPE_CHECKING:
    from alembic.config import Config

#: How long an upgrade waits for another process that is migrating, in seconds.
LOCK_SECONDS: Final = 60.0

#: What the name of each revision begins with; its number follows.
_REVISION: Final = "fine_tuning_store_"

#: Alembic keeps the running migration in module globals: two threads or tasks at once would mix theirs up.
_alembic_in_use = threading.Lock()


def migrations_path() -> Path:
    """The folder of the migrations: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    for path in (package / "migrations", package.parent / "migrations"):
        if (path / "env.py").is_file():
            return path
    raise FileNotFoundError(f"the migrations are missing beside {package}: install fine-tuning-store again")


def is_not_ours(name: str | None, kind: str, _: object) -> bool:
    """The `include_name` of an application's env.py: without it, `alembic check` and autogenerate would drop the store's tables."""
    return kind != "table" or (name not in METADATA.tables and name != VERSION_TABLE)


def is_ours(name: str | None, kind: str, _: object) -> bool:
    """Its opposite, of our env.py. Alembic leaves out the version table itself."""
    return kind != "table" or name in METADATA.tables


def foreign_keys_off(connection: Connection) -> AbstractContextManager[None]:
    """For an application's env.py that runs our revisions: a block in which SQLite may rebuild a table and keep its child rows.

    Does nothing on other databases, and where foreign keys are off already. A commit that would leave rows whose parent is gone
    raises SchemaConflictError and is rolled back; so is what is uncommitted at the end of the block. Raises InvalidValueError
    if the connection has begun a transaction, inside of which foreign keys cannot be turned off.
    """
    return traits_of(connection.dialect.name).foreign_keys_off(connection)


def require_usable(connection: Connection, schema: str | None = None, version_table: str | None = None) -> None:
    """Raise SchemaOutOfDateError unless the code at hand may use the tables: they are current, or newer and declared compatible."""
    found = _numbers(connection, schema)
    if found is None:
        raise SchemaOutOfDateError(None, SCHEMA_NUMBER, None, version_table)
    schema_number, oldest_code_number = found
    if oldest_code_number > SCHEMA_NUMBER:
        raise SchemaOutOfDateError(schema_number, SCHEMA_NUMBER, oldest_code_number, version_table)
    if schema_number < SCHEMA_NUMBER:
        raise SchemaOutOfDateError(schema_number, SCHEMA_NUMBER, None, version_table)


def _numbers(connection: Connection, schema: str | None) -> tuple[int, int] | None:
    """The schema's number and the oldest code number that may use it, None where the tables are not there or not complete."""
    if not inspect(connection).has_table(compatibility.name, schema):
        return None
    row = connection.execute(compatible_numbers(), execution_options=options_of(schema)).one_or_none()
    return None if row is None else (row.schema_number, row.oldest_code_number)


def refuse_foreign_tables(connection: Connection, schema: str | None = None) -> None:
    """Raise SchemaConflictError if tables of our names are there that this history has not made.

    For a database without a revision. The first migration makes its own mark first, after the version table, so a run that was
    interrupted is told apart.
    """
    present = set(inspect(connection).get_table_names(schema))
    foreign = sorted(present & set(METADATA.tables))
    if not foreign:
        return
    if compatibility.name not in present:
        raise SchemaConflictError(
            f"the database already has tables of another application under these names: {', '.join(foreign)}. Nothing was changed: "
            "use a database of its own, or on PostgreSQL a schema of its own (schema=)"
        )
    if VERSION_TABLE not in present:
        raise SchemaConflictError(
            f"the fine-tuning tables are there, but not their history {VERSION_TABLE!r}: another one has made them. Nothing was changed: "
            "if that is your application's Alembic, open the store with version_table='alembic_version' and run 'alembic upgrade heads'"
        )


class Schema:
    """Migrates the database of a store and tells how far it is. Every call opens a connection of its own and gives it back."""

    def __init__(self, engine: Engine, schema: str | None = None, version_table: str | None = None) -> None:
        self._engine = engine
        self._schema = checked_schema(schema, engine.dialect)
        self._version_table = None if version_table is None else text("version_table", version_table, 63, 1)

    def upgrade(self, revision: str = "head", *, lock_timeout: float = LOCK_SECONDS, create_schema: bool = False) -> None:
        """Migrate forward. Safe to repeat, and safe when many processes call it at once: one migrates, the others wait.

        `create_schema` creates the store's `schema` first if it is not there; without it, a missing one raises InvalidValueError.

        Waits up to `lock_timeout` seconds, then raises SchemaLockTimeoutError. Raises SchemaConflictError if the database holds
        tables of our names that are not ours or a revision that this release does not know, or if the store's `version_table` is an
        application's and there is something to do, and InvalidValueError for an unknown `revision`; in each case nothing is changed.
        """
        if create_schema and self._schema is None:
            raise InvalidValueError("create_schema", create_schema, "must be given to a store with a schema")
        if revision in ("head", self.head()) and self.current() == self.head():
            self._require_whole()
            return
        self._run("upgrade", revision, lock_timeout, create_schema=create_schema)

    def downgrade(self, revision: str, *, lock_timeout: float = LOCK_SECONDS) -> None:
        """Migrate back to a revision, or to `base`: without any table. What the dropped tables held is lost. Raises as `upgrade`."""
        self._run("downgrade", revision, lock_timeout)

    def current(self) -> str | None:
        """The revision that the database is at, None before the first."""
        from alembic.migration import MigrationContext

        with self._engine.connect() as connection:
            where = {"version_table": self._version_table or VERSION_TABLE, "version_table_schema": self._schema}
            context = MigrationContext.configure(connection, opts=where)
            heads = context.get_current_heads()
            ours = [revision for revision in heads if revision.startswith(_REVISION)]
            if heads and not ours:  # Alembic leaves out a revision that one of the application's depends on
                found = _numbers(connection, self._schema)
                ours = [f"{_REVISION}{found[0]:04}"] if found else []
        return ours[0] if ours else None

    def head(self) -> str:
        """The newest revision of this release."""
        from alembic.script import ScriptDirectory

        head = ScriptDirectory.from_config(_config()).get_current_head()
        assert head is not None
        return head

    def require_current(self) -> None:
        """Raise SchemaOutOfDateError, which names the call to make, unless this release may use the tables as they are."""
        with self._engine.connect() as connection:
            require_usable(connection, self._schema, self._version_table)

    def check(self) -> tuple[str, ...]:
        """Compare tables, columns, keys, checks and indexes with what this release expects: one line a difference, none if equal."""
        with self._engine.connect() as connection:
            live, expected = catalog.live(connection, self._schema), catalog.expected()
        return (*(f"missing: {line}" for line in sorted(expected - live)), *(f"unexpected: {line}" for line in sorted(live - expected)))

    def _require_whole(self) -> None:
        try:
            self.require_current()
        except SchemaOutOfDateError as error:
            if self._version_table is None:
                finish = "call store.schema.downgrade('base') to finish it, then store.schema.upgrade()"
            else:
                finish = "run 'alembic downgrade fine_tuning_store@base' to finish it, then 'alembic upgrade heads'"
            raise SchemaConflictError(
                f"the database says that it is current, but its tables do not: a downgrade was cut off. Nothing was changed: {finish}"
            ) from error

    def _run(self, direction: str, revision: str, lock_timeout: float, *, create_schema: bool = False) -> None:
        from alembic import command
        from alembic.script import ScriptDirectory
        from alembic.util import CommandError

        if not isinstance(revision, str) or not revision:
            raise InvalidValueError("revision", revision, "must be head, base or the name of a revision")
        if self._engine.get_execution_options().get("schema_translate_map"):
            raise UnsupportedDatabaseError("this engine translates schemas: give one that does not, and the store its schema=")
        if isinstance(lock_timeout, bool) or not isinstance(lock_timeout, (int, float)) or lock_timeout < 0:
            raise InvalidValueError("lock_timeout", lock_timeout, "must be a number of seconds")
        if self._version_table is not None:
            self._refuse_to_write_in(self._version_table, "upgrade heads" if direction == "upgrade" else f"downgrade {revision}")
        known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
        current = self.current()
        if current is not None and current not in known:
            raise SchemaConflictError(
                f"the database is at revision {current!r}, which this release does not know: use the one that made it"
            )
        migrate: Callable[..., None] = getattr(command, direction)
        if not poll(lambda: _alembic_in_use.acquire(blocking=False), lock_timeout, awaited=self._engine.dialect.is_async):
            raise SchemaLockTimeoutError(lock_timeout)
        try:
            with self._engine.connect() as connection:
                given = {"lock_timeout": lock_timeout, "schema": self._schema, "create_schema": create_schema}
                migrate(_config(connection=connection, **given), revision)
        except CommandError as error:
            rule = f"must be head, base or one of {', '.join(sorted(known))} ({error})"
            raise InvalidValueError("revision", revision, rule) from error
        finally:
            _alembic_in_use.release()

    def _refuse_to_write_in(self, version_table: str, instead: str) -> None:
        with self._engine.connect() as connection:
            if inspect(connection).has_table(VERSION_TABLE, self._schema):
                raise SchemaConflictError(
                    f"the fine-tuning tables have a history of their own in {VERSION_TABLE!r}. Nothing was changed: open the store "
                    "without version_table"
                )
        raise SchemaConflictError(
            f"the fine-tuning tables belong to the history in {version_table!r}. Nothing was changed: run 'alembic {instead}' in the "
            "application that keeps it"
        )


def _config(**attributes: Any) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config
