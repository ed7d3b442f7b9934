"""A process that is forked while a store is in use: its connections stay the parent's, and both processes can go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fine_tuning_store import FineTuningStore
from tests.support.databases import ASYNC_DRIVERS, SYNC_DRIVERS, Database, with_driver

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.parametrize("database", ["postgresql", "mariadb", "sqlite"], indirect=True),
]

#: Forks at several moments, and prints what each process could do: the number of jobs that it saw, or its error.
PROGRAM = """
import asyncio, inspect, json, os, sys, warnings
from sqlalchemy import text
from fine_tuning_store import AsyncFineTuningStore, FineTuningStore, Timeouts

warnings.simplefilter("error")
kind, url, session = sys.argv[1:]

async def result(value):
    return await value if inspect.isawaitable(value) else value

async def count(store):
    return len((await result(store.jobs.list())).data)

async def create(store):
    await result(store.jobs.create(organization_id="org-1", model="m", training_file="f"))

async def session_of(store):
    if not session:
        return None
    if kind == "sync":
        with store.engine.connect() as connection:
            return connection.scalar(text(session))
    async with store.engine.connect() as connection:
        return await connection.scalar(text(session))

def in_child(run, *steps):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = run(steps)
        except BaseException as error:
            answer = [type(error).__name__, str(error)]
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(child, 0)
    return answer

def run_in_new_loop(steps):
    async def main():
        return [await step() for step in steps]
    asyncio.set_event_loop(None)
    return asyncio.Runner().run(main())

def open_store():
    options = {"timeouts": Timeouts(lock=2, pool=2), "engine_options": {"pool_size": 1, "max_overflow": 1}}
    return (FineTuningStore if kind == "sync" else AsyncFineTuningStore).from_url(url, **options)

async def close(store):
    await result(store.close())

made = {}
store, runner = open_store(), asyncio.Runner()
use = lambda: (lambda: count(store), lambda: create(store), lambda: count(store), lambda: close(store))
made["before the first use"] = in_child(run_in_new_loop, *use())
made["parent at first"] = runner.run(count(store))
runner.run(create(store))
before = runner.run(session_of(store))
made["after use"] = in_child(run_in_new_loop, *use())
made["parent then"] = runner.run(count(store))
made["same session"] = runner.run(session_of(store)) == before

async def inside():
    if kind == "sync":
        with store.begin() as unit:
            unit.jobs.create(organization_id="org-1", model="m", training_file="f")
            made["unit of the parent"] = in_child(run_in_new_loop, lambda: result(unit.jobs.count()))
            return in_child(run_in_new_loop, lambda: close(store))
    async with store.begin() as unit:
        await unit.jobs.create(organization_id="org-1", model="m", training_file="f")
        made["unit of the parent"] = in_child(forget_loop, lambda: result(unit.jobs.count()))
        return in_child(forget_loop, lambda: close(store))

def forget_loop(steps):
    asyncio._set_running_loop(None)
    return run_in_new_loop(steps)

made["inside a unit"] = runner.run(inside())
made["parent after the unit"] = runner.run(count(store))
made["same session after all"] = runner.run(session_of(store)) == before
runner.run(close(store))
made["after close"] = in_child(run_in_new_loop, *use())
made["parent at last"] = runner.run(count(store))
runner.run(close(store))
print(json.dumps(made))
"""

SESSIONS = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()", "sqlite": ""}


def forks(database: Database, url: str, driver: str | None, folder: Path) -> dict[str, Any]:
    (folder / "program.py").write_text(PROGRAM)
    kind = "async" if driver in ASYNC_DRIVERS[database.name] else "sync"
    named = url if driver is None else with_driver(url, driver)
    command = [sys.executable, str(folder / "program.py"), kind, named, SESSIONS[database.name]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def test_parent_and_child_use_connections_of_their_own_or_sqlite_is_refused(database: Database, altered_url: str, tmp_path: Path) -> None:
    for driver in (None, *SYNC_DRIVERS[database.name], *ASYNC_DRIVERS[database.name]):
        made = forks(database, altered_url, driver, tmp_path)

        assert made["before the first use"] == [0, None, 1, None], driver
        assert made["same session"], driver
        assert made["same session after all"], driver
        if database.name == "sqlite":
            error, message = made["after use"]
            assert error == "EngineConfigurationError"
            assert "close the store before the fork" in message
            assert (made["parent then"], made["parent after the unit"], made["after close"][2], made["parent at last"]) == (2, 3, 4, 4)
        else:
            assert made["after use"][2] == 3, driver
            assert (made["parent then"], made["parent after the unit"], made["after close"][2], made["parent at last"]) == (3, 4, 5, 5)
        assert made["inside a unit"] == [None], driver
        error, message = made["unit of the parent"]
        assert (error, "from which this one was forked" in message) == ("UnitEndedError", True), driver
        with FineTuningStore.from_url(altered_url) as store, store.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM fine_tuning_jobs")
