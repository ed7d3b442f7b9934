"""A future release: the store's migrations, followed by revisions that only tests run."""

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
    """Fill a folder with alembic.ini, the store's migrations, and the given revisions (default: all of tests/fixtures/revisions).

    The first of them follows the head: its file says HEAD for the number.
    """
    shutil.copy(ROOT / "alembic.ini", folder)
    shutil.copytree(migrations_path(), folder / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    for revision in revisions or sorted(REVISIONS.glob("*.py")):
        copy = folder / "migrations" / "versions" / revision.name
        copy.write_text(revision.read_text().replace("store_HEAD", f"store_{SCHEMA_NUMBER:04}").replace("= HEAD", f"= {SCHEMA_NUMBER}"))
    return folder


def started(release: Path, url: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the command line of Alembic as a process."""
    command = [sys.executable, "-m", "alembic", "-c", str(release / "alembic.ini"), "-x", f"url={url}", "-x", "allow_data_loss", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def alembic(release: Path, url: str, *arguments: str) -> str:
    """Run the command line of Alembic as a process and return its output. Threads of this process are not slowed down."""
    with started(release, url, *arguments) as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


def alembic_here(release: Path, url: str, *arguments: str) -> str:
    """Run the command line of Alembic in this process, which is faster, and return its output."""
    done = programs.alembic("-c", str(release / "alembic.ini"), "-x", f"url={url}", "-x", "allow_data_loss", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
