"""The code of earlier releases, extracted from the Git history."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import NoReturn

import pytest

from fine_tuning_store.schema import migrations_path

ROOT = Path(__file__).parents[2]
#: Every revision except the first: earlier code must keep working while it runs and afterwards.
LATER_REVISIONS = sorted(path.name for path in (migrations_path() / "versions").glob("*.py"))[1:]


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def code_before(revision: str, folder: Path) -> Path:
    """Extract the last commit before a revision was added. Skips the test if there is no history, as in an sdist."""
    try:
        if git("rev-parse", "--is-shallow-repository").strip() != b"false":
            _no_history("this clone is shallow: fetch the whole history")
        added_in = git("log", "--diff-filter=A", "--format=%H", "--", f"migrations/versions/{revision}").split()
    except (OSError, subprocess.CalledProcessError):
        _no_history("this is not a git checkout")
    archive = git("archive", f"{added_in[-1].decode()}^" if added_in else "HEAD")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def _no_history(reason: str) -> NoReturn:
    pytest.skip(f"the code of earlier releases is not available: {reason}")
