"""Everything that can be wrong about a command line: each mistake is one line, and its exit code says its kind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from typing import Any

import pytest
from typer.main import get_command

from fine_tuning_store import FineTuningStore, Timeouts
from fine_tuning_store.cli.app import app_for
from fine_tuning_store.sql import engine
from tests.cli.helpers import printed, refusal, url_of
from tests.schema.test_cli import unreachable
from tests.support.databases import ASYNC_DRIVERS, Database, with_driver
from tests.support.factories import created
from tests.support.programs import COMMAND, fine_tuning_store


def test_values_that_are_not_possible_are_usage_errors(sqlite_store: FineTuningStore) -> None:
    url = url_of(sqlite_store)
    for options, words in (
        (("--since", "yesterday"), "'yesterday' is not a time: use 7d"),
        (("--since", "7 d"), "is not a time"),
        (("--finished-until", "20260131"), "is not a time"),
        (("--updated-since", "2026"), "is not a time"),
        (("--created-until", "2026-02-30"), "is not a time"),
        (("--since", "-1d"), "is not a time"),
        (("--since", "٣d"), "is not a time"),
        (("--since", "2026-02-02", "--until", "2026-02-01"), "created_since: must not be after created_until"),
        (("--status", "done"), "'done' is not one of"),
        (("--method", "rlhf"), "rlhf"),
        (("--metadata", "team"), "'team' is not a pair"),
        (("--hyperparameter-at-least", "n_epochs=auto"), "is not a number"),
        (("--hyperparameter-at-least", "n_epochs=nan"), "n_epochs"),
        (("--hyperparameter-at-most", "seed=1"), "'seed' cannot be compared"),
        (("--attempt", "-1"), "--attempt"),
        (("--attempt", "9" * 30), "attempt"),
        (("--limit", "1001"), "--limit"),
        (("--limit", "few"), "--limit"),
        (("--order", "random"), "random"),
        (("--order-by", "id"), "--order-by"),
        (("--organization", ""), "organization_id"),
        (("--model", "m\x00"), "model"),
        (("--nonsense",), "--nonsense"),
        (("--csv",), "cannot be combined"),
    ):
        done = fine_tuning_store("jobs", "list", *options, "--json", url=url)
        assert (done.returncode, done.stderr, words in json.loads(done.stdout)["message"]) == (2, "", True), (options, done)
        if options != ("--csv",):
            assert words in refusal("jobs", "list", *options, url=url, code=2)
    assert "names no row" in refusal("jobs", "list", "--after", "nope", url=url)
    assert "ID" in refusal("jobs", "show", url=url, code=2)
    assert "FINE_TUNING_STORE_URL" in refusal("jobs", "list", url="", code=2)
    assert "nonsense" in refusal("jobs", "nonsense", url=url, code=2)


def test_a_database_without_tables_names_the_next_command(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        store.engine.connect().close()  # SQLite creates the file
    for arguments in (("jobs", "list"), ("jobs", "cancel", "x"), ("stats", "queue")):
        assert "fine-tuning-store db upgrade" in refusal(*arguments, url=empty_url)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_database_that_cannot_be_reached_is_one_line_without_the_password(database: Database, url: str, kind: str) -> None:
    wrong = unreachable(database, url)
    named = wrong if kind == "sync" else with_driver(wrong, ASYNC_DRIVERS[database.name][0])
    for arguments in (("jobs", "list"), ("jobs", "cancel", "x")):
        line = refusal(*arguments, url=named)

        assert line.startswith("cannot ")
        assert "top-secret" not in line


def test_a_wrong_url_is_one_line() -> None:
    for url, words in (
        ("nonsense", "use one like sqlite:///fine_tuning.db"),
        ("oracle://someone:top-secret@127.0.0.1/none", "not supported"),
        ("sqlite://", "name a file"),
        ("postgresql://someone@127.0.0.1:1/none", "cannot connect to "),
    ):
        assert words in refusal("jobs", "list", url=url)


def test_waiting_too_long_for_a_lock_has_an_exit_code_of_its_own(sqlite_store: FineTuningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "Timeouts", lambda: Timeouts(lock=0.1))
    id = created(sqlite_store).id
    with contextlib.closing(sqlite3.connect(sqlite_store.engine.url.database or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        assert "another transaction holds a lock" in refusal("jobs", "cancel", id, url=url_of(sqlite_store), code=4)
        assert printed("jobs", "show", id, url=url_of(sqlite_store))


def test_a_closed_pipe_ends_a_command_without_a_traceback(sqlite_store: FineTuningStore) -> None:
    created(sqlite_store)
    for arguments in (("jobs", "list"), ("jobs", "list", "--csv"), ("jobs", "watch", "--interval", "0.1"), ("stats", "queue", "--json")):
        read, output = os.pipe()
        os.close(read)
        with os.fdopen(output, "w") as stdout:
            done = fine_tuning_store(*arguments, url=url_of(sqlite_store), stdout=stdout)

        assert (done.returncode, done.stderr) == (3, "error: the output could not be written: Broken pipe\n")


@pytest.mark.parametrize(("database", "driver"), [("sqlite", None), ("postgresql", "asyncpg")], indirect=["database"])
def test_an_interrupted_command_exits_with_130_without_a_traceback(database: Database, url: str, driver: str | None) -> None:
    with FineTuningStore.from_url(url) as store:
        job = created(store)
        store.events.append(job.id, "first")
    command = [*COMMAND, "jobs", "events", job.id, "--follow", "--url", with_driver(url, driver) if driver else url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith("first\n")
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)

    assert (process.returncode, out, errors) == (130, "", "")


def commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of all commands and groups."""
    below = [each for name, child in getattr(command, "commands", {}).items() for each in commands(child, (*path, name))]
    return [path, *below]


def test_every_help_has_examples_that_are_commands_and_exit_codes() -> None:
    paths = commands(get_command(app_for([])))
    assert len(paths) > 20
    for path in paths:
        shown = printed(*path, "--help", url="")
        assert "Examples:\n" in shown, path
        assert not path or "130  interrupted by Ctrl-C" in shown
        for example in re.findall(r"fine-tuning-store ((?:[a-z][a-z-]* ?)+)", shown.partition("Examples:")[2]):
            words = tuple(example.split())
            assert any(words[: len(each)] == each for each in paths if each), example


def test_each_command_is_found_alone() -> None:
    """Only the modules of commands that are named are imported."""
    for path in commands(get_command(app_for([]))):
        assert path in commands(get_command(app_for([*path]))), path


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"fine-tuning-store \d+\.\d+\.\d+\n", printed("--version", url=""))


def test_a_shell_completes_commands_and_statuses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "fine-tuning-store" in printed("--show-completion", "bash", url="")
    for words, completed in (("jobs ca", "cancel"), ("stats err", "error-codes"), ("jobs list --status pau", "paused")):
        monkeypatch.setenv("_FINE_TUNING_STORE_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", f"fine-tuning-store {words}")
        monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
        assert printed(url="").split() == [completed]


def test_a_command_imports_what_it_needs_alone(sqlite_store: FineTuningStore) -> None:
    """A list takes a third of a second more than its packages. Drawing and migrating would add to that."""
    program = """
import sys
from fine_tuning_store.cli.app import run
run(["jobs", "list"])
needless = {"plotext", "alembic", "rich.live", *(f"fine_tuning_store.cli.{name}" for name in ("stats", "db", "watch", "job_changes"))}
print(*sorted(needless & set(sys.modules)))
"""
    environment = {**os.environ, "FINE_TUNING_STORE_URL": url_of(sqlite_store)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "\n"
