"""The revisions: where their files are, their order, and how Alembic is told of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from alembic.config import Config

#: What the name of each revision begins with; its number follows.
PREFIX: Final = "fine_tuning_store_"


def migrations_path() -> Path:
    """The folder of the migrations: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for path in (package / "migrations", package.parent / "migrations"):
        if (path / "env.py").is_file():
            return path
    raise FileNotFoundError(f"the migrations are missing beside {package}: install fine-tuning-store again")


def config(*, url: str | None = None, output: TextIO | None = None, **attributes: Any) -> Config:
    """Alembic's configuration. It reads no file; `url` is what `-x url=` is on the command line, `output` takes SQL."""
    from argparse import Namespace

    from alembic.config import Config

    made = Config(cmd_opts=None if url is None else Namespace(x=[f"url={url}"]), output_buffer=output)
    made.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes.update(attributes)
    return made


@cache
def revisions() -> tuple[str, ...]:
    """The names of the revisions of this release, the oldest first. Alembic runs their files to know them."""
    from alembic.script import ScriptDirectory

    return tuple(script.revision for script in ScriptDirectory.from_config(config()).walk_revisions())[::-1]


def revision_of(number: int) -> str:
    """The name of the revision that makes a schema of this number."""
    return f"{PREFIX}{number:04}"
