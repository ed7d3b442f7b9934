"""What the tests of commands share: runs that succeed, that print JSON, and that are refused."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from fine_tuning_store import FineTuningStore
from tests.support.programs import fine_tuning_store


def printed(*arguments: str, url: str, code: int = 0) -> str:
    """Run a command that must succeed, without anything on standard error, and return what it prints."""
    done = fine_tuning_store(*arguments, url=url)
    assert (done.returncode, done.stderr) == (code, ""), done
    return done.stdout


def json_of(*arguments: str, url: str, code: int = 0) -> Any:
    """Run a command with --json, and return its one object."""
    (line,) = printed(*arguments, "--json", url=url, code=code).splitlines()
    return json.loads(line)


def csv_of(*arguments: str, url: str) -> list[dict[str, str]]:
    """Run a command with --csv, and return its rows."""
    return list(csv.DictReader(io.StringIO(printed(*arguments, "--csv", url=url), newline="")))


def refusal(*arguments: str, url: str, code: int = 3) -> str:
    """Run a command that must fail, and return the last line that it prints, which is on standard error. JSON says the same."""
    done = fine_tuning_store(*arguments, url=url)
    assert (done.returncode, done.stdout) == (code, ""), done
    assert "Traceback" not in done.stderr
    message = done.stderr.rstrip().splitlines()[-1].removeprefix("error: ").removeprefix("Error: ")
    as_json = fine_tuning_store(*arguments, "--json", url=url)
    assert (as_json.returncode, as_json.stderr) == (code, ""), as_json
    assert json.loads(as_json.stdout)["message"].splitlines()[-1] == message
    return message


def url_of(store: FineTuningStore) -> str:
    """Return the URL of a store."""
    return store.engine.url.render_as_string(hide_password=False)
