"""The interface of a database in migrations, with the defaults that most databases share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine

from fine_tuning_store.errors import FineTuningStoreError
from fine_tuning_store.sql.dialects import Database


class MigrationSupport(ABC):
    """What a migration needs to know of a database."""

    #: The same database at run time.
    database: ClassVar[Database]
    #: Execution options of a connection that migrates.
    execution_options: ClassVar[Mapping[str, Any]] = {}
    #: Settings that limit how long a statement waits for a table that is in use, by name.
    lock_wait_settings: ClassVar[Mapping[str, str]] = {}
    #: Whether an SQL script begins and ends transactions; None for Alembic's default.
    scripts_in_transactions: ClassVar[bool | None] = None
    #: A query for the schema that holds the store's tables if it is not the one that new tables would be created in.
    tables_elsewhere: ClassVar[str | None] = None

    #: A query for the types of columns, if SQLAlchemy's reflection leaves out parts of them: table, column, type, character set, collation.
    column_types: ClassVar[str | None] = None
    #: A query for everything else that reflection leaves out of the catalog.
    facts: ClassVar[str]
    #: False if `facts` returns the indexes instead of reflection.
    reflects_indexes: ClassVar[bool] = True
    #: The prefix of the keyword arguments of an Index by which it is limited to the beginning of a long text; None if it never is.
    index_length_option: ClassVar[str | None] = None
    #: False if a comment cannot be set without repeating the definition of its column, so that revisions set none.
    has_comments: ClassVar[bool] = True

    @abstractmethod
    def migration_lock(self, connection: Connection, seconds: float) -> AbstractContextManager[None]:
        """Hold the migration lock while the block runs. Raises SchemaLockTimeoutError if it is not free within the time."""

    def setting(self, connection: Connection, name: str, value: str) -> AbstractContextManager[None]:  # noqa: ARG002 - for subclasses
        """Change a setting of the database while the block runs, for this connection only."""
        return nullcontext()

    @contextmanager
    def brief_lock_waits(self, connection: Connection) -> Iterator[None]:
        """Make each statement inside the block give up after LOCK_WAIT_SECONDS if it waits for a table that is in use."""
        with ExitStack() as settings:
            for name, value in self.lock_wait_settings.items():
                settings.enter_context(self.setting(connection, name, value))
            yield

    def is_retryable(self, error: BaseException) -> bool:  # noqa: ARG002 - for subclasses
        """Return True if the revision that this error ended may run again."""
        return False

    def column_type(self, type_: str, character_set: str | None, collation: str | None) -> str:  # noqa: ARG002 - for subclasses
        """Return the type of a row of `column_types` as SQLAlchemy writes it."""
        return type_.upper() if collation is None else f"{type_.upper()} COLLATE {collation}"

    def encoding_error(self, connection: Connection) -> FineTuningStoreError | None:  # noqa: ARG002 - for subclasses
        """Return the error for a database, or a connection, whose encoding does not have all characters; None if it has."""
        return None

    def stop_writers(self, connection: Connection) -> None:  # noqa: B027 - most databases have no such statement
        """Keep other transactions from adding jobs until this transaction ends."""

    def damage(self, connection: Connection) -> tuple[str, ...]:  # noqa: ARG002 - for subclasses
        """Return a line for each fault of the stored data, if the database can look for them."""
        return ()

    def foreign_keys_off(self, connection: Connection) -> AbstractContextManager[None]:  # noqa: ARG002 - for subclasses
        """Disable foreign keys while the block runs, if the database rebuilds tables to change them."""
        return nullcontext()

    @contextmanager
    def dedicated_connection(self, engine: Engine) -> Iterator[Connection]:
        """Open a connection that is closed afterwards, so that no later user of the pool gets the locks and settings left on it."""
        with engine.connect() as connection:
            try:
                yield connection
            finally:
                if not connection.invalidated:
                    connection.invalidate()
