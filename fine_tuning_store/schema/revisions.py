"""The revisions: where their files are, their order and numbers, and what each of them added."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TextIO

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

#: The beginning of each revision's id; its number follows.
PREFIX: Final = "fine_tuning_store_"
#: The label of the branch that the revisions are in an application's own history.
BRANCH: Final = "fine_tuning_store"

#: A direction in which revisions are run.
Verb = Literal["upgrade", "downgrade"]


class Thing(NamedTuple):
    """A table, or a column, key, check or index of one."""

    kind: str
    table: str
    name: str | None = None  #: None for a table and for a primary key

    def __str__(self) -> str:
        return f"{self.kind} {self.table}" + ("" if self.name is None else f".{self.name}")


class Revision(NamedTuple):
    """What a revision did to the tables."""

    oldest_code_number: int  #: the schema number of the oldest code that may use the tables
    added: frozenset[Thing]  #: the tables that it created, and what it added to older ones


#: What revision 2 added. Later revisions have it in a variable `added` of their file, which `alembic revision --autogenerate` writes.
_ADDED_BY_0002: Final = (
    ("column", "fine_tuning_jobs", "event_count"),
    ("table", "fine_tuning_job_events"),
    ("table", "fine_tuning_job_checkpoints"),
    ("table", "fine_tuning_checkpoint_permissions"),
)


def migrations_path() -> Path:
    """Return the folder of the migrations: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for path in (package / "migrations", package.parent / "migrations"):
        if (path / "env.py").is_file():
            return path
    raise FileNotFoundError(f"the migrations are missing beside {package}: install fine-tuning-store again")


#: The schema number of this release: that of its newest revision.
SCHEMA_NUMBER: Final = max(int(path.name[:4]) for path in (migrations_path() / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))


def config(*, url: str | None = None, output: TextIO | None = None, **attributes: Any) -> Config:
    """Return Alembic's configuration, which reads no file.

    Args:
        url: What `-x url=` is on the command line.
        output: Where SQL is written to.
        attributes: What migrations/env.py finds in `config.attributes`.
    """
    from alembic.config import Config

    made = Config(cmd_opts=None if url is None else Namespace(x=[f"url={url}"]), output_buffer=output)
    made.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes.update(attributes)
    return made


@cache
def script_directory() -> ScriptDirectory:
    """Return Alembic's view of the revisions. Alembic executes their files to know them."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(config())


@cache
def revisions() -> tuple[str, ...]:
    """Return the ids of the revisions of this release, the oldest first."""
    return tuple(script.revision for script in script_directory().walk_revisions())[::-1]


def revision_id(number: int) -> str:
    """Return the id of the revision that makes the schema of a number."""
    return f"{PREFIX}{number:04}"


def number_of(revision: str) -> int | None:
    """Return the schema number of a revision of this release, None for another one's."""
    return {revision_id(number): number for number in range(1, SCHEMA_NUMBER + 1)}.get(revision)


@cache
def by_number() -> Mapping[int, Revision]:
    """Return what each revision of this release did, by schema number."""
    found: dict[int, Revision] = {}
    oldest_code_number = 1
    for number, revision in enumerate(revisions(), 1):
        module = script_directory().get_revision(revision).module
        oldest_code_number = getattr(module, "oldest_code_number", oldest_code_number)
        added = getattr(module, "added", _ADDED_BY_0002 if number == 2 else ())
        found[number] = Revision(oldest_code_number, frozenset(Thing(*thing) for thing in added))
    return found


def added_after(number: int) -> frozenset[Thing]:
    """Return everything that revisions after that of the schema number have added."""
    if number >= SCHEMA_NUMBER:  # so that a comparison with the newest revision does not load Alembic
        return frozenset()
    return frozenset().union(*(revision.added for later, revision in by_number().items() if later > number))
