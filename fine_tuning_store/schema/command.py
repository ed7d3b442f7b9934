"""A command of Alembic: what it does, and with which options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from alembic import context
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Dialect

from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.schema.revisions import Verb
from fine_tuning_store.sql.schema_option import checked_schema

DEFAULT_URL: Final = "sqlite:///fine_tuning.db"


@dataclass(frozen=True, slots=True)
class Command:
    """A command, in the environment that Alembic gives to it."""

    environment: EnvironmentContext

    @classmethod
    def running(cls) -> Command:
        """Return the command that has loaded env.py."""
        return cls(context._proxy)  # type: ignore[attr-defined]

    @classmethod
    def to_migrate(cls, config: Config, verb: Verb, revision: str, script_from: str | None = None) -> Command:
        """Return the command for an upgrade or a downgrade, as a script if it has a revision to begin at.

        It is not run by Alembic, whose modules `context` and `op` serve one command of the process at a time: an application's may be
        running, in this thread or in another one.
        """
        script = ScriptDirectory.from_config(config)
        steps = script._upgrade_revs if verb == "upgrade" else script._downgrade_revs
        environment = EnvironmentContext(
            config,
            script,
            fn=lambda heads, _: steps(revision, heads),
            as_sql=script_from is not None,
            starting_rev=script_from,
            destination_rev=revision,
        )
        return cls(environment)

    def run_migrations(self) -> None:
        """Run the revisions, with operations of their own: Alembic's module `op` would be another command's."""
        migration = self.environment.get_context()
        operations = Operations(migration)
        for script in self.environment.script.walk_revisions():
            for module in (script.module, getattr(script.module, "operations", None)):
                if module is not None:
                    vars(module)["op"] = operations
        migration.run_migrations()

    @property
    def options(self) -> Mapping[str, Any]:
        """What the command has given to the environment: known before `configure`, which must not be called before the lock is taken."""
        options: Mapping[str, Any] = self.environment.context_opts
        return options

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What `Schema` gives to the command, beside its options."""
        return self.environment.config.attributes

    @property
    def migrates(self) -> bool:
        """True for upgrade and downgrade: besides stamp, which may purge, no other command has a destination."""
        return "destination_rev" in self.options and not self.stamps

    @property
    def stamps(self) -> bool:
        """True for stamp."""
        return "purge" in self.options

    @property
    def creates_the_version_table(self) -> bool:
        """True for ensure_version, which has the options of no other command."""
        return self.options.keys() == {"fn", "as_sql"}

    @property
    def url(self) -> str:
        """The URL of the database, unless `Schema` gives a connection."""
        return self._arguments.get("url") or os.environ.get("FINE_TUNING_STORE_URL") or DEFAULT_URL

    def schema(self, dialect: Dialect) -> str | None:
        """Return the schema of the tables, None if the database finds it by itself."""
        return checked_schema(self.attributes.get("schema", self._arguments.get("schema")), dialect)

    @property
    def may_lose_jobs(self) -> bool:
        """Whether a downgrade may lose jobs, as given in Python or by `-x allow_data_loss`."""
        given = self.attributes.get("allow_data_loss", self._arguments.get("allow_data_loss", False))
        if given not in (True, False, "", "true", "false"):
            raise InvalidValueError("allow_data_loss", given, "must be true or false")
        return given in (True, "", "true")

    @property
    def _arguments(self) -> dict[str, str]:
        """The -x arguments of the command line."""
        return self.environment.get_x_argument(as_dictionary=True)
