"""The migrations as an API: the same files that `alembic upgrade head` runs, found in a checkout and in an installed package.

Alembic is imported on first use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, inspect

from fine_tuning_store.errors import InvalidValueError, SchemaConflictError, SchemaLockTimeoutError, SchemaOutOfDateError
from fine_tuning_store.sql import catalog
from fine_tuning_store.sql.statements import compatible_numbers
from fine_tuning_store.sql.tables import METADATA, SCHEMA_NUMBER, VERSION_TABLE, compatibility
from fine_tuning_store.sql.waiting import poll

if TYPE_CHECKING:
    from alembic.config import Config

#: How long an upgrade waits for another process that is migrating, in seconds.
LOCK_SECONDS: Final = 60.0

#: Alembic keeps the running migration in module globals: two threads or tasks at once would mix theirs up.
_alembic_in_use = threading.Lock()


def migrations_path() -> Path:
    """The folder of the migrations: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    for path in (package / "migrations", package.parent / "migrations"):
        if (path / "env.py").is_file():
            return path
    raise FileNotFoundError(f"the migrations are missing beside {package}: install fine-tuning-store again")


def require_usable(connection: Connection) -> None:
    """Raise SchemaOutOfDateError unless the code at hand may use the tables: they are current, or newer and declared compatible."""
    if not inspect(connection).has_table(compatibility.name):
        raise SchemaOutOfDateError(None, SCHEMA_NUMBER)
    row = connection.execute(compatible_numbers()).one_or_none()
    if row is None:
        raise SchemaOutOfDateError(None, SCHEMA_NUMBER)
    if row.oldest_code_number > SCHEMA_NUMBER:
        raise SchemaOutOfDateError(row.schema_number, SCHEMA_NUMBER, row.oldest_code_number)
    if row.schema_number < SCHEMA_NUMBER:
        raise SchemaOutOfDateError(row.schema_number, SCHEMA_NUMBER)


def refuse_foreign_tables(connection: Connection) -> None:
    """Raise SchemaConflictError if tables of our names are there that no migration of ours has made.

    For a database without a revision. The first migration makes its own mark first, so a run that was interrupted is told apart.
    """
    present = set(inspect(connection).get_table_names())
    foreign = sorted(present & set(METADATA.tables))
    if foreign and compatibility.name not in present:
        raise SchemaConflictError(
            f"the database already has tables of another application under these names: {', '.join(foreign)}. Nothing was changed: "
            "use a database of its own"
        )


class Schema:
    """Migrates the database of a store and tells how far it is. Every call opens a connection of its own and gives it back."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def upgrade(self, revision: str = "head", *, lock_timeout: float = LOCK_SECONDS) -> None:
        """Migrate forward. Safe to repeat, and safe when many processes call it at once: one migrates, the others wait.

        Waits up to `lock_timeout` seconds, then raises SchemaLockTimeoutError. Raises SchemaConflictError if the database holds
        tables of our names that are not ours or a revision that this release does not know, and InvalidValueError for an unknown
        `revision`; in each case nothing is changed.
        """
        if revision in ("head", self.head()) and self.current() == self.head():
            self._require_whole()
            return
        self._run("upgrade", revision, lock_timeout)

    def downgrade(self, revision: str, *, lock_timeout: float = LOCK_SECONDS) -> None:
        """Migrate back to a revision, or to `base`: without any table. What the dropped tables held is lost. Raises as `upgrade`."""
        self._run("downgrade", revision, lock_timeout)

    def current(self) -> str | None:
        """The revision that the database is at, None before the first."""
        from alembic.migration import MigrationContext

        with self._engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            return context.get_current_revision()

    def head(self) -> str:
        """The newest revision of this release."""
        from alembic.script import ScriptDirectory

        head = ScriptDirectory.from_config(_config()).get_current_head()
        assert head is not None
        return head

    def require_current(self) -> None:
        """Raise SchemaOutOfDateError, which names the call to make, unless this release may use the tables as they are."""
        with self._engine.connect() as connection:
            require_usable(connection)

    def check(self) -> tuple[str, ...]:
        """Compare tables, columns, keys, checks and indexes with what this release expects: one line a difference, none if equal."""
        with self._engine.connect() as connection:
            live, expected = catalog.live(connection), catalog.expected()
        return (*(f"missing: {line}" for line in sorted(expected - live)), *(f"unexpected: {line}" for line in sorted(live - expected)))

    def _require_whole(self) -> None:
        try:
            self.require_current()
        except SchemaOutOfDateError as error:
            raise SchemaConflictError(
                "the database says that it is current, but its tables do not: a downgrade was cut off. Nothing was changed: call "
                "store.schema.downgrade('base') to finish it, then store.schema.upgrade()"
            ) from error

    def _run(self, direction: str, revision: str, lock_timeout: float) -> None:
        from alembic import command
        from alembic.script import ScriptDirectory
        from alembic.util import CommandError

        if not isinstance(revision, str) or not revision:
            raise InvalidValueError("revision", revision, "must be head, base or the name of a revision")
        if isinstance(lock_timeout, bool) or not isinstance(lock_timeout, (int, float)) or lock_timeout < 0:
            raise InvalidValueError("lock_timeout", lock_timeout, "must be a number of seconds")
        known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
        current = self.current()
        if current is not None and current not in known:
            raise SchemaConflictError(
                f"the database is at revision {current!r}, which this release does not know: use the one that made it"
            )
        migrate: Callable[..., None] = getattr(command, direction)
        if not poll(lambda: _alembic_in_use.acquire(blocking=False), lock_timeout, self._engine.dialect):
            raise SchemaLockTimeoutError(lock_timeout)
        try:
            with self._engine.connect() as connection:
                migrate(_config(connection=connection, lock_timeout=lock_timeout), revision)
        except CommandError as error:
            rule = f"must be head, base or one of {', '.join(sorted(known))} ({error})"
            raise InvalidValueError("revision", revision, rule) from error
        finally:
            _alembic_in_use.release()


def _config(**attributes: Any) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config
