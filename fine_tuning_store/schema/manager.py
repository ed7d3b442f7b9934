"""The migrations of a store's database, as an API."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, delete, insert

from fine_tuning_store.errors import EngineConfigurationError, InvalidValueError, SchemaConflictError, SchemaVersionError
from fine_tuning_store.reentrancy import ReentrancyGuard
from fine_tuning_store.retries import retry
from fine_tuning_store.schema import checks, revisions
from fine_tuning_store.schema.catalog import SchemaDifference, differences
from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.schema.revisions import BRANCH, SCHEMA_NUMBER, Verb
from fine_tuning_store.schema.search_path import only_schema
from fine_tuning_store.schema.state import SchemaState, equal_number, look, store_commands
from fine_tuning_store.schema.timeouts import LOCK_SECONDS, deadline
from fine_tuning_store.sql.dialects import database_for
from fine_tuning_store.sql.models import VERSION_TABLE, compatibility
from fine_tuning_store.sql.schema_option import checked_host_version_table, checked_schema, options_of

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class Schema:
    """The migrations of a store's database. Each call uses a connection of its own; one that migrated is closed afterwards."""

    def __init__(
        self, engine: Engine, schema: str | None = None, host_version_table: str | None = None, *, read_only: bool = False
    ) -> None:
        if None in (engine.get_execution_options().get("schema_translate_map") or {}):
            raise EngineConfigurationError(
                "this engine translates the default schema (schema_translate_map): use one that does not, and give the store its schema="
            )
        self._engine = engine
        self._schema = checked_schema(schema, engine.dialect)
        self._host_version_table = checked_host_version_table(host_version_table)
        self._support = support_for(engine.dialect)
        self._read_only = read_only

    def upgrade(self, revision: str = "head", *, lock_timeout: float = LOCK_SECONDS, create_schema: bool = False) -> None:
        """Upgrade to a revision. Safe to repeat, and safe when many processes call it at once: one migrates, the others wait.

        Does nothing if the tables are a newer release's and this one may use them, so that a replica of the old release can restart
        during a deployment, or after a rollback.

        Args:
            revision: The revision to upgrade to.
            lock_timeout: How long to wait for other processes that migrate or use the tables, in seconds.
            create_schema: Create the store's `schema` first if it does not exist.

        Raises:
            SchemaLockTimeoutError: Others migrated or used the tables for longer than `lock_timeout`.
            SchemaConflictError: The database has tables of these names that are not the store's, or a revision that this release does
                not know; or there is something to do, and the history is an application's (`host_version_table`); or Alembic is inside
                a transaction in this process, as in a revision, or writes a script.
            SchemaVersionError: The tables are a newer release's, and this one may not use them.
            UnsupportedDatabaseError, EngineConfigurationError: The database, or the engine's connection to it, cannot hold all text.
            InvalidValueError: The revision or the schema does not exist.
            ReadOnlyStoreError: The store is read-only.
        """
        self._refuse_to_change()
        if create_schema and self._schema is None:
            raise InvalidValueError("create_schema", create_schema, "must be given to a store with a schema")
        with deadline(lock_timeout) as left:
            self._read(checks.refuse_encoding)
            if revision in ("head", self.head()) and self._has_nothing_to_do(left):
                return
            self._run("upgrade", revision, left, create_schema=create_schema)

    def downgrade(self, revision: str, *, allow_data_loss: bool = False, lock_timeout: float = LOCK_SECONDS) -> None:
        """Downgrade to a revision, or to `base`, which drops all tables. What the older tables cannot hold is lost.

        Args:
            revision: The revision to downgrade to.
            allow_data_loss: Go on although jobs are stored.
            lock_timeout: As for `upgrade`.

        Raises:
            SchemaConflictError: A job is stored, and `allow_data_loss` was not given; or as `upgrade`.
            SchemaLockTimeoutError: As `upgrade`.
            InvalidValueError, ReadOnlyStoreError: As `upgrade`.
        """
        self._refuse_to_change()
        with deadline(lock_timeout) as left:
            self._run("downgrade", revision, left, allow_data_loss=allow_data_loss)

    def adopt(self, *, lock_timeout: float = LOCK_SECONDS) -> None:
        """Create the version table for tables that have none, if they are exactly those of a revision, and correct the compatibility row.

        Also undoes a downgrade that was interrupted before it changed a table. Does nothing if the tables are current.

        If several revisions make the same tables, it is the oldest of them, and the next upgrade runs the others. Tables that
        `METADATA.create_all` made lack the view for people: `sql("fine_tuning_store_0005", start="fine_tuning_store_0004")` creates it.

        Raises:
            SchemaConflictError: The tables are not exactly those of a revision, or have a history. The message lists the differences.
            SchemaLockTimeoutError, ReadOnlyStoreError: As `upgrade`.
        """
        self._refuse_to_change()
        with deadline(lock_timeout) as left:
            if self.state().is_usable:
                return
            self._refuse_in_host_history(f"stamp {BRANCH}@head")
            with self._guard(), self._support.dedicated_connection(self._engine) as connection:
                connection.execution_options(**self._support.execution_options)
                with only_schema(connection, self._schema), self._support.migration_lock(connection, left()):
                    checks.refuse_tables_elsewhere(connection)
                    self._adopt(connection)

    def _adopt(self, connection: Connection) -> None:
        from alembic.migration import MigrationContext

        state = look(connection, self._schema, None)
        if state.is_usable:  # another process adopted them first
            return
        number = equal_number(connection, self._schema) if state.command == store_commands(self._schema).adopt else None
        if number is None:
            why = state.problems or ("there are none" if state.revision is None else f"they have a history, which is at {state.revision}",)
            lines = "\n".join(f"- {line}" for line in why)
            raise SchemaConflictError(f"the fine-tuning tables cannot be adopted. Nothing was changed:\n{lines}")
        if state.schema_number != number:
            row = {"id": 1, "schema_number": number, "oldest_code_number": revisions.by_number()[number].oldest_code_number}
            connection.execute(delete(compatibility), execution_options=options_of(self._schema))
            connection.execute(insert(compatibility).values(row), execution_options=options_of(self._schema))
        context = MigrationContext.configure(connection, opts=self._version_options())
        context.stamp(revisions.script_directory(), revisions.revision_id(number))

    def sql(self, revision: str = "head", *, start: str = "base") -> str:
        """Return the SQL of an upgrade from `start` to a revision, or of the downgrade to an older one.

        It does not connect: the SQL assumes that the database is at `start`.

        Raises:
            InvalidValueError: A revision is unknown.
            SchemaConflictError: The history is an application's (`host_version_table`).
        """
        from fine_tuning_store.schema import runner
        from fine_tuning_store.schema.command import Command

        if self._host_version_table is not None:
            raise checks.another_history_error(self._host_version_table, "upgrade heads --sql")
        chain = ["base", *revisions.revisions()]
        places = [self._place(chain, field, name) for field, name in (("start", start), ("revision", revision))]
        output = io.StringIO()
        config = revisions.config(url=f"{self._engine.dialect.name}://", output=output, schema=self._schema)
        verb: Verb = "upgrade" if places[0] <= places[1] else "downgrade"
        runner.run(Command.to_migrate(config, verb, chain[places[1]], script_from=chain[places[0]]))
        return output.getvalue()

    @staticmethod
    def _place(chain: list[str], field: str, name: object) -> int:
        if name == "head":
            return len(chain) - 1
        if name not in chain:
            raise InvalidValueError(field, name, f"must be head or one of {', '.join(chain)}")
        return chain.index(str(name))

    def current(self) -> str | None:
        """Return the revision of the database, None before the first. Raises SchemaConflictError if its version table has several."""
        return self._read(self._current)

    def _current(self, connection: Connection) -> str | None:
        from alembic.migration import MigrationContext

        heads = MigrationContext.configure(connection, opts=self._version_options()).get_current_heads()
        own = [revision for revision in heads if self._host_version_table is None or revision.startswith(revisions.PREFIX)]
        if len(own) > 1:
            raise SchemaConflictError(
                f"the version table has several revisions of the store: {', '.join(sorted(own))}. Nothing was changed: keep only the row "
                "of the one that the tables match (store.schema.state and fine-tuning-store db check list the differences)"
            )
        if heads and not own:  # the version table omits a revision on which one of the application's depends
            found = checks.read_numbers(connection, self._schema)
            own = [revisions.revision_id(found.schema_number)] if found else []
        return own[0] if own else None

    def _read(self, work: Callable[[Connection], T]) -> T:
        """Read from the database, without waiting for writers; retry if another node of a cluster changed the tables in the meantime."""
        database = database_for(self._engine.dialect)

        def once() -> T:
            with self._engine.execution_options(**database.read_options).connect() as connection:
                database_for(connection.dialect)  # refuses the server if it is not supported
                return work(connection)

        return retry(once, database, is_async=self._engine.dialect.is_async, also_disconnected=True)

    def _version_options(self) -> dict[str, Any]:
        return {"version_table": self._host_version_table or VERSION_TABLE, "version_table_schema": self._schema}

    def head(self) -> str:
        """Return the newest revision of this release."""
        return revisions.revisions()[-1]

    def state(self) -> SchemaState:
        """Return the state of the database, what is wrong with it, and the command to run next. It only reads.

        It raises nothing about what it finds, only the driver's errors. If the version table names a revision of this release, it also
        compares the catalog, which takes 10 to 20 ms: call it once at a start, not in each request.
        """
        return self._read(lambda connection: look(connection, self._schema, self._host_version_table))

    def require_usable(self) -> None:
        """Raise SchemaVersionError, which names the call to make, unless this release may use the tables as they are."""
        self._read(lambda connection: checks.require_usable(connection, self._schema, self._host_version_table, read_only=self._read_only))

    def check(self) -> tuple[SchemaDifference, ...]:
        """Compare the database's catalog with what this release makes. The `str` of each difference is a sentence.

        It compares tables, columns (type, collation, nullability, default, whether they are generated or invisible), keys, checks,
        exclusion constraints, and indexes (columns, sorting, collation, uniqueness, condition), on PostgreSQL also whether all these are
        valid, but not triggers, row level security and storage options. SQLite's catalog has no collations of columns.
        """
        return self._read(lambda connection: differences(connection, self._schema))

    def damage(self) -> tuple[str, ...]:
        """Look for damage of a SQLite file (`PRAGMA integrity_check`), and return a line for each fault. It reads the whole file.

        Of a server the result is empty, whatever its state.
        """
        return self._read(self._support.damage)

    def _has_nothing_to_do(self, left: Callable[[], float]) -> bool:
        """Return True if the tables are current, or a newer release's that this one may use."""
        current = self.current()
        if current == self.head():
            return self._is_whole(left)
        if current is None or current in revisions.revisions():
            return False
        found = self._read(lambda connection: checks.read_numbers(connection, self._schema))
        if found is None or found.schema_number <= SCHEMA_NUMBER:
            return False
        self.require_usable()
        _logger.info("the tables are of a newer release that allows this one to use them: nothing was migrated")
        return True

    def _is_whole(self, left: Callable[[], float]) -> bool:
        """Return True if the tables match the version table. Undoes a downgrade that was interrupted before it changed one of them."""
        try:
            self.require_usable()
        except SchemaVersionError as error:
            if self._host_version_table is None and not self.check():
                try:
                    self.adopt(lock_timeout=left())
                except SchemaConflictError:
                    if self.current() == self.head():
                        raise
                    return False  # it was not interrupted, and has ended in the meantime
                return self.current() == self.head()  # False if an older revision makes the same tables
            raise checks.interrupted_downgrade(error.found, is_in_host=self._host_version_table is not None) from error
        return True

    def _run(self, verb: Verb, revision: str, left: Callable[[], float], **attributes: Any) -> None:
        from alembic.util import CommandError

        from fine_tuning_store.schema import runner
        from fine_tuning_store.schema.command import Command

        if not isinstance(revision, str) or not revision:
            raise InvalidValueError("revision", revision, "must be head, base or the id of a revision")
        self._refuse_in_host_history("upgrade heads" if verb == "upgrade" else f"downgrade {revision}")
        known, current = revisions.revisions(), self.current()
        if current is not None and current not in known:
            raise SchemaConflictError(
                f"the database is at revision {current!r}, which this release does not know: use the release that made it"
            )
        steps: list[Any] = []
        began = time.monotonic()
        try:
            with self._guard(), self._support.dedicated_connection(self._engine) as connection:
                attributes |= {"lock_timeout": left(), "schema": self._schema}
                attributes["on_version_apply"] = lambda *, step, **_: steps.append(step)
                runner.run(Command.to_migrate(revisions.config(connection=connection, **attributes), verb, revision))
        except CommandError as error:
            rule = f"must be head, base or one of {', '.join(known)} ({error})"
            raise InvalidValueError("revision", revision, rule) from error
        if steps:
            source, target = ("".join(ids) or "base" for ids in (steps[0].source_revision_ids, steps[-1].destination_revision_ids))
            _logger.info("migrated from %s to %s in %.3f s", source, target, time.monotonic() - began)

    def _guard(self) -> ReentrancyGuard:
        return ReentrancyGuard(self, self._engine, database_for(self._engine.dialect).sole_writer_of(self._engine.url))

    def _refuse_to_change(self) -> None:
        checks.refuse_read_only_store(read_only=self._read_only)
        checks.refuse_inside_a_transaction_of_alembic()

    def _refuse_in_host_history(self, instead: str) -> None:
        if (table := self._host_version_table) is not None:
            self._read(lambda connection: checks.refuse_history_of_host(connection, self._schema, table, instead))
