"""Change the models and create a revision as CONTRIBUTING.md describes, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.databases import Database
from tests.support.revision_rules import broken_rules

ROOT = Path(__file__).parents[2]
MODELS = "fine_tuning_store/sql/models.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The path of a copy of the tracked files."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a git checkout")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(checkout: Path, url: str, *arguments: str) -> str:
    """Run a Python module in the copy, and return its output."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "FINE_TUNING_STORE_URL": url}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def edit(checkout: Path, before: str, new: str) -> None:
    """Insert lines into the models, before the first occurrence of a text."""
    path = checkout / MODELS
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, new + before, 1))


def add_column(checkout: Path) -> None:
    edit(checkout, "    suffix: Mapped[", "    region: Mapped[Word | None]\n")


def add_columns_of_every_type(checkout: Path) -> None:
    columns = ("a: Mapped[Name | None]", "b: Mapped[LongText | None]", "c: Mapped[JsonValue | None]", "d: Mapped[Integer | None]")
    edit(checkout, "    suffix: Mapped[", "".join(f"    {column}\n" for column in (*columns, "e: Mapped[bool | None]")))


def add_index(checkout: Path) -> None:
    edit(checkout, '        index("ix_fine_tuning_jobs_status"', '        index("ix_fine_tuning_jobs_file", "training_file", "seed"),\n')


def add_table(checkout: Path) -> None:
    table = '''class NoteRow(Base):
    """A note on a job."""

    __tablename__ = "fine_tuning_job_notes"
    __table_args__ = (index("ix_fine_tuning_job_notes_author", "author", "job_id"), index("ix_fine_tuning_job_notes_model", "model"))

    job_id: Mapped[JobId] = mapped_column(primary_key=True)
    position: Mapped[Integer] = mapped_column(primary_key=True, autoincrement=False)
    author: Mapped[Word]
    model: Mapped[Name]
    note: Mapped[LongText]


'''
    edit(checkout, "class JobErrorRow(Base)", table)


@pytest.mark.parametrize("change", [add_column, add_columns_of_every_type, add_index, add_table])
def test_a_change_of_the_models_becomes_a_revision_without_manual_edits(
    database: Database, checkout: Path, change: Callable[[Path], None]
) -> None:
    message = change.__name__.replace("_", " ")
    versions = checkout / "migrations" / "versions"
    number = len(list(versions.glob("*.py"))) + 1
    with database.empty() as url:
        run(checkout, url, "alembic", "upgrade", "head")
        change(checkout)

        run(checkout, url, "alembic", "revision", "--autogenerate", "-m", message)

        path = versions / f"{number:04}_{change.__name__}.py"
        source = path.read_text()
        assert re.search(rf"^revision = .fine_tuning_store_{number:04}.$", source, re.MULTILINE)
        assert "import fine_tuning_store" not in source
        assert list(broken_rules(source)) == []
        run(checkout, url, "alembic", "upgrade", "head")
        assert "No new upgrade operations" in run(checkout, url, "alembic", "check")
        assert run(checkout, url, "fine_tuning_store.cli", "db", "check") == "no differences\n"
        assert f"schema of the database: {number}" in run(checkout, url, "fine_tuning_store.cli", "db", "state")

        run(checkout, url, "alembic", "downgrade", "-1")
        run(checkout, url, "alembic", "upgrade", "head")  # fails if the downgrade was incomplete
        assert run(checkout, url, "fine_tuning_store.cli", "db", "check") == "no differences\n"
    scripts = run(checkout, url, "alembic", "upgrade", "head", "--sql")
    assert f"schema_number={number}" in scripts.replace(" ", "")
