"""A release to come: our migrations and further ones behind them, which only tests run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from fine_tuning_store.schema import SCHEMA_NUMBER, migrations_path
from tests.support import programs

ROOT = Path(__file__).parents[2]
REVISIONS = Path(__file__).parents[1] / "fixtures" / "revisions"


def release_to_come(folder: Path, *revisions: Path) -> Path:
    """A folder with an alembic.ini, the migrations and these revisions, by default those of tests/fixtures/revisions.

    The first of them follows the head: its file says HEAD for the number.
    """
    shutil.copy(ROOT / "alembic.ini", folder)
    shutil.copytree(migrations_path(), folder / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    for revision in revisions or sorted(REVISIONS.glob("*.py")):
        copy = folder / "migrations" / "versions" / revision.name
        copy.write_text(revision.read_text().replace("store_HEAD", f"store_{SCHEMA_NUMBER:04}").replace("= HEAD", f"= {SCHEMA_NUMBER}"))
    return folder


def started(release: Path, url: str, *arguments: str) -> subprocess.Popen[str]:
    """Alembic's command line, at work."""
    command = [sys.executable, "-m", "alembic", "-c", str(release / "alembic.ini"), "-x", f"url={url}", "-x", "allow_data_loss", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def alembic(release: Path, url: str, *arguments: str) -> str:
    """What Alembic's command line printed, as a process: what others do meanwhile in this one is not slowed by it."""
    with started(release, url, *arguments) as process:
        printed, complaints = process.communicate(timeout=120)
    assert process.returncode == 0, complaints
    return printed


def alembic_here(release: Path, url: str, *arguments: str) -> str:
    """The same in this process, which takes less time."""
    done = programs.alembic("-c", str(release / "alembic.ini"), "-x", f"url={url}", "-x", "allow_data_loss", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
