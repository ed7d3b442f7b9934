"""The code of releases before this one, taken out of the history."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import NoReturn

import pytest

from fine_tuning_store.schema import migrations_path

ROOT = Path(__file__).parents[2]
#: Every revision but the first: code of before it is at work while it runs, and after.
LATER_REVISIONS = sorted(path.name for path in (migrations_path() / "versions").glob("*.py"))[1:]


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def code_before(revision: str, folder: Path) -> Path:
    """A folder with the last code of before a revision landed. Without the history, as in an sdist, the test is skipped."""
    try:
        if git("rev-parse", "--is-shallow-repository").strip() != b"false":
            _no_history("this clone is shallow: fetch the whole history")
        landed = git("log", "--diff-filter=A", "--format=%H", "--", f"migrations/versions/{revision}").split()
    except (OSError, subprocess.CalledProcessError):
        _no_history("this is no git checkout")
    archive = git("archive", f"{landed[-1].decode()}^" if landed else "HEAD")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def _no_history(reason: str) -> NoReturn:
    pytest.skip(f"the code of earlier releases is not at hand: {reason}")
