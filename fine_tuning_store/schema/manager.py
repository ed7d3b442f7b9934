"""The migrations of a store's database."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, delete, insert, inspect

from fine_tuning_store.errors import (
    InvalidValueError,
    SchemaConflictError,
    SchemaVersionError,
    UnsupportedDatabaseError,
)
from fine_tuning_store.schema import exclusive, revisions
from fine_tuning_store.schema.checks import numbers, refuse_tables_elsewhere, require_usable
from fine_tuning_store.schema.exclusive import LOCK_SECONDS
from fine_tuning_store.sql.dialects import traits_of
from fine_tuning_store.transactions import retry
from fine_tuning_store.sql.schema_option import checked_host_version_table, checked_schema, only_schema, options_of
from fine_tuning_store.sql.models import SCHEMA_NUMBER, VERSION_TABLE, compatibility

if TYPE_CHECKING:
    from fine_tuning_store.schema.state import SchemaState

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class Schema:
    """Migrates the database of a store and tells how far it is. Each call has a connection of its own; one that migrated is closed."""

    def __init__(self, engine: Engine, schema: str | None = None, host_version_table: str | None = None) -> None:
        if None in (engine.get_execution_options().get("schema_translate_map") or {}):
            raise UnsupportedDatabaseError("this engine translates schemas: give one that does not, and the store its schema=")
        self._engine = engine
        self._schema = checked_schema(schema, engine.dialect)
        self._version_table = checked_host_version_table(host_version_table)

    def upgrade(self, revision: str = "head", *, lock_timeout: float = LOCK_SECONDS, create_schema: bool = False) -> None:
        """Migrate forward. Safe to repeat, and safe when many processes call it at once: one migrates, the others wait.

        `create_schema` creates the store's `schema` first if it is not there; without it, a missing one raises InvalidValueError.

        Does nothing on tables of a newer release that this one may use, so that it can start again beside that one, or after a rollback.

        Waits up to `lock_timeout` seconds, then raises SchemaLockTimeoutError. Raises SchemaConflictError if the database holds
        tables of our names that are not ours or a revision that this release does not know, or if the store's `host_version_table` is an
        application's and there is something to do, SchemaVersionError for tables of a newer release that this one may not use,
        and InvalidValueError for an unknown `revision`; in each case nothing is changed.
        """
        if create_schema and self._schema is None:
            raise InvalidValueError("create_schema", create_schema, "must be given to a store with a schema")
        with exclusive.patience(lock_timeout) as left:
            if revision in ("head", self.head()) and self._has_nothing_to_do(left):
                return
            self._run("upgrade", revision, left, create_schema=create_schema)

    def downgrade(self, revision: str, *, allow_data_loss: bool = False, lock_timeout: float = LOCK_SECONDS) -> None:
        """Migrate back to a revision, or to `base`: without any table. What the older tables cannot hold is lost.

        So with any job stored it raises SchemaConflictError and goes no further back, unless `allow_data_loss` is given. Raises as `upgrade`.
        """
        with exclusive.patience(lock_timeout) as left:
            self._run("downgrade", revision, left, allow_data_loss=allow_data_loss)

    def adopt(self, *, lock_timeout: float = LOCK_SECONDS) -> None:
        """Begin a history for tables that have none, where they are exactly those of a revision: write the version table, and what
        the compatibility row should say. The same where a downgrade was cut off before it changed a table. At the head already, it
        does nothing.

        Raises SchemaConflictError, which lists the differences, if the tables are not exactly those of a revision, or if they have a
        history, and SchemaLockTimeoutError as `upgrade`; in each case nothing is changed.
        """
        with exclusive.patience(lock_timeout) as left:
            if self.state().is_usable:
                return
            if self._version_table is not None:
                self._refuse_to_write_in(self._version_table, "stamp fine_tuning_store@head")
            traits = traits_of(self._engine.dialect.name)
            with exclusive.connection(self._engine) as connection:
                connection.execution_options(**traits.migration_options)
                with only_schema(connection, self._schema), traits.migration_lock(connection, left()):
                    refuse_tables_elsewhere(connection)
                    self._adopt(connection)

    def _adopt(self, connection: Connection) -> None:
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory

        from fine_tuning_store.schema.state import equal_number, look, own
        from fine_tuning_store.sql import catalog

        state = look(connection, self._schema, None)
        if state.is_usable:  # another process was faster
            return
        number = equal_number(connection, self._schema) if state.command == own(self._schema).adopt else None
        if number is None:
            why = state.problems or ("there are none" if state.revision is None else f"they have a history, which is at {state.revision}",)
            lines = "\n".join(f"- {line}" for line in why)
            raise SchemaConflictError(f"the fine-tuning tables cannot be adopted. Nothing was changed:\n{lines}")
        if state.schema_number != number:
            row = {"id": 1, "schema_number": number, "oldest_code_number": catalog.REVISIONS[number].oldest_code_number}
            connection.execute(delete(compatibility), execution_options=options_of(self._schema))
            connection.execute(insert(compatibility).values(row), execution_options=options_of(self._schema))
        context = MigrationContext.configure(connection, opts=self._version_options())
        context.stamp(ScriptDirectory.from_config(revisions.config()), revisions.revision_of(number))

    def sql(self, revision: str = "head", *, start: str = "base") -> str:
        """The SQL of an upgrade from `start` to a revision, or of the downgrade to an older one, for the database of this store.

        It connects to nothing, so the SQL trusts the database to be at `start`. Raises InvalidValueError for an unknown revision, and
        SchemaConflictError if the store's `host_version_table` is an application's.
        """
        from alembic import command

        if self._version_table is not None:
            raise self._another_history(self._version_table, "upgrade heads --sql")
        chain = ["base", *revisions.revisions()]
        places = [self._place(chain, field, name) for field, name in (("start", start), ("revision", revision))]
        write = command.upgrade if places[0] <= places[1] else command.downgrade
        output = io.StringIO()
        with exclusive.alembic(self._engine, LOCK_SECONDS):
            config = revisions.config(url=f"{self._engine.dialect.name}://", output=output, schema=self._schema)
            write(config, ":".join(chain[place] for place in places), sql=True)
        return output.getvalue()

    @staticmethod
    def _place(chain: list[str], field: str, name: object) -> int:
        if name == "head":
            return len(chain) - 1
        if name not in chain:
            raise InvalidValueError(field, name, f"must be head or one of {', '.join(chain)}")
        return chain.index(str(name))

    def current(self) -> str | None:
        """The revision that the database is at, None before the first. Raises SchemaConflictError if its version table has several."""
        return self._read(self._current)

    def _current(self, connection: Connection) -> str | None:
        from alembic.migration import MigrationContext

        heads = MigrationContext.configure(connection, opts=self._version_options()).get_current_heads()
        ours = [revision for revision in heads if self._version_table is None or revision.startswith(revisions.PREFIX)]
        if len(ours) > 1:
            raise SchemaConflictError(
                f"the version table has several of our revisions: {', '.join(sorted(ours))}. Nothing was changed: leave the row of the one "
                "that the tables are of (store.schema.state and fine-tuning-store db check tell the differences)"
            )
        if heads and not ours:  # Alembic leaves out a revision that one of the application's depends on
            found = numbers(connection, self._schema)
            ours = [revisions.revision_of(found[0])] if found else []
        return ours[0] if ours else None

    def _read(self, look: Callable[[Connection], T]) -> T:
        """Look at the database; again where another node of a cluster changed the tables meanwhile."""

        def once() -> T:
            with self._engine.connect() as connection:
                return look(connection)

        return retry(once, self._engine.dialect, also_disconnected=True)

    def _version_options(self) -> dict[str, Any]:
        return {"version_table": self._version_table or VERSION_TABLE, "version_table_schema": self._schema}

    def head(self) -> str:
        """The newest revision of this release."""
        return revisions.revisions()[-1]

    def state(self) -> SchemaState:
        """How far the database is, what is wrong with it, and what to run next. It reads only.

        Raises nothing for what it finds, only what the driver raises where it cannot connect or read. Where the version table names a
        revision of this release it compares the catalog too: about 10 to 20 ms in all, so call it once at a start, not in each request.
        """
        from fine_tuning_store.schema.state import look

        return self._read(lambda connection: look(connection, self._schema, self._version_table))

    def require_usable(self) -> None:
        """Raise SchemaVersionError, which names the call to make, unless this release may use the tables as they are."""
        self._read(lambda connection: require_usable(connection, self._schema, self._version_table))

    def check(self) -> tuple[str, ...]:
        """Compare the database's catalog with what this release makes: one line a difference, none if it is equal.

        It compares tables, columns (type, collation, nullability, default, whether the database makes or hides the value), keys, checks
        and exclusion constraints, and indexes (columns, sorting, collation, uniqueness, condition), on PostgreSQL also whether all these
        are valid, but not triggers, row level security and storage options. SQLite's catalog tells no collations of columns.
        """
        from fine_tuning_store.sql import catalog

        return self._read(lambda connection: tuple(map(str, catalog.differences(connection, self._schema))))

    def _has_nothing_to_do(self, left: Callable[[], float]) -> bool:
        """Whether the tables are current, or a newer release's that this one may use."""
        current = self.current()
        if current == self.head():
            return self._is_whole(left)
        if current is None or current in revisions.revisions():
            return False
        found = self._read(lambda connection: numbers(connection, self._schema))
        if found is None or found[0] <= SCHEMA_NUMBER:
            return False
        self.require_usable()
        _logger.info("the tables are of a newer release, which lets this one use them: nothing was migrated")
        return True

    def _is_whole(self, left: Callable[[], float]) -> bool:
        """Whether the tables are as the version table says. A downgrade that was cut off before it changed one of them is taken back."""
        try:
            self.require_usable()
        except SchemaVersionError as error:
            if self._version_table is None and not self.check():
                try:
                    self.adopt(lock_timeout=left())
                except SchemaConflictError:
                    if self.current() == self.head():
                        raise
                    return False  # it was not cut off, and has ended meanwhile
                return True
            target = "base" if error.found is None else revisions.revision_of(error.found)
            if self._version_table is None:
                finish = f"finish it by a downgrade to {target!r} (store.schema.downgrade, fine-tuning-store db downgrade), then upgrade"
            else:
                name = "fine_tuning_store@base" if error.found is None else target
                finish = f"finish it by 'alembic downgrade {name}', then run 'alembic upgrade heads'"
            raise SchemaConflictError(
                f"the database says that it is current, but its tables do not: a downgrade was cut off. Nothing was changed: {finish}"
            ) from error
        return True

    def _run(self, direction: str, revision: str, left: Callable[[], float], **attributes: Any) -> None:
        from alembic import command
        from alembic.util import CommandError

        if not isinstance(revision, str) or not revision:
            raise InvalidValueError("revision", revision, "must be head, base or the name of a revision")
        if self._version_table is not None:
            self._refuse_to_write_in(self._version_table, "upgrade heads" if direction == "upgrade" else f"downgrade {revision}")
        known, current = revisions.revisions(), self.current()
        if current is not None and current not in known:
            raise SchemaConflictError(
                f"the database is at revision {current!r}, which this release does not know: use the one that made it"
            )
        steps: list[Any] = []
        began = time.monotonic()
        try:
            with exclusive.alembic(self._engine, left()), exclusive.connection(self._engine) as connection:
                attributes |= {"lock_timeout": left(), "schema": self._schema}
                attributes["on_version_apply"] = lambda *, step, **_: steps.append(step)
                getattr(command, direction)(revisions.config(connection=connection, **attributes), revision)
        except CommandError as error:
            rule = f"must be head, base or one of {', '.join(known)} ({error})"
            raise InvalidValueError("revision", revision, rule) from error
        if steps:
            source, target = ("".join(ids) or "base" for ids in (steps[0].source_revision_ids, steps[-1].destination_revision_ids))
            _logger.info("migrated from %s to %s in %.3f s", source, target, time.monotonic() - began)

    def _refuse_to_write_in(self, host_version_table: str, instead: str) -> None:
        if self._read(lambda connection: inspect(connection).has_table(VERSION_TABLE, self._schema)):
            raise SchemaConflictError(
                f"the fine-tuning tables have a history of their own in {VERSION_TABLE!r}. Nothing was changed: open the store "
                "without host_version_table"
            )
        raise self._another_history(host_version_table, instead)

    @staticmethod
    def _another_history(host_version_table: str, instead: str) -> SchemaConflictError:
        return SchemaConflictError(
            f"the fine-tuning tables belong to the history in {host_version_table!r}. Nothing was changed: run 'alembic {instead}' in the "
            "application that keeps it"
        )
