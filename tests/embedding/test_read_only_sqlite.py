"""Read-only stores on SQLite files: of another process, in a folder that this one may not write to, and where there is none."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine

from fine_tuning_store import AsyncFineTuningStore, DatabaseUnreachableError, FineTuningStore, UnsupportedDatabaseError
from tests.support.factories import created

ROOT = Path(__file__).parents[2]

#: What prints how many jobs there are in each file, or the error: by a sync store, then by an async one.
COUNT = """
import asyncio, sys
from fine_tuning_store import AsyncFineTuningStore, FineTuningStore, FineTuningStoreError

async def count(url):
    async with AsyncFineTuningStore.from_url(url, read_only=True) as store:
        return len([job async for job in store.jobs.iterate()])

def count_sync(url):
    with FineTuningStore.from_url(url, read_only=True) as store:
        return len(list(store.jobs.iterate()))

for path in sys.argv[1:]:
    for function in (count_sync, lambda url: asyncio.run(count(url))):
        try:
            print(function(f"sqlite:///{path}"))
        except FineTuningStoreError as error:
            print(type(error).__name__, error)
"""

#: What prints the result of each call on each database, or the error: by sync stores, then by async ones.
CALL = """
import asyncio, sys
from fine_tuning_store import AsyncFineTuningStore, FineTuningStore, FineTuningStoreError

CALLS = {
    "list": lambda store: store.jobs.list(),
    "state": lambda store: store.schema.state(),
    "upgrade": lambda store: store.schema.upgrade(),
    "create": lambda store: store.jobs.create(organization_id="org-1", model="m", training_file="f"),
}

async def call(url, name):
    try:
        async with AsyncFineTuningStore.from_url(url) as store:
            await CALLS[name](store)
    finally:
        await asyncio.sleep(0.05)  # the thread of aiosqlite outlives its loop if it cannot open its file

def call_sync(url, name):
    with FineTuningStore.from_url(url) as store:
        CALLS[name](store)

for url in sys.argv[1:]:
    for function in (call_sync, lambda *arguments: asyncio.run(call(*arguments))):
        for name in CALLS:
            try:
                function(url, name)
                print(name, "ok")
            except FineTuningStoreError as error:
                print(name, type(error).__name__, error)
"""

WRITE = """
import sys
from fine_tuning_store import FineTuningStore
with FineTuningStore.from_url(sys.argv[1]) as store:
    for _ in range(100):
        store.jobs.create(organization_id="org-1", model="m", training_file="f")
"""


def migrated(path: Path, *, jobs: int = 1, wal: bool = True) -> Path:
    """A file with jobs, which no process has open."""
    path.parent.mkdir(exist_ok=True)
    with FineTuningStore.from_url(f"sqlite:///{path}") as store:
        store.schema.upgrade()
        for _ in range(jobs):
            created(store)
    if not wal:
        engine = create_engine(f"sqlite:///{path}")
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
        engine.dispose()
    return path


def count(*paths: Path) -> list[list[str]]:
    """What a process finds that may write to no folder of mode 555: for each file, sync and async."""
    lines = restricted(COUNT, *map(str, paths))
    return [lines[place : place + 2] for place in range(0, len(lines), 2)]


def restricted(program: str, *arguments: str) -> list[str]:
    """Run a program that may write to no folder of mode 555, also as root. Returns the lines that it prints."""
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may write everywhere, and there is no setpriv to lose that")
        command = [setpriv, "--bounding-set", "-dac_override,-dac_read_search", *command]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


def test_a_file_in_a_folder_that_may_not_be_written_to_is_read_or_refused_with_what_to_do(tmp_path: Path) -> None:
    closed = migrated(tmp_path / "closed" / "jobs.db")
    opened = migrated(tmp_path / "opened" / "jobs.db", jobs=2)
    plain = migrated(tmp_path / "plain" / "jobs.db", jobs=3, wal=False)
    secret = migrated(tmp_path / "secret" / "jobs.db")
    secret.chmod(0)
    folders = [path.parent for path in (closed, opened, plain, secret)]
    with FineTuningStore.from_url(f"sqlite:///{opened}") as writer:
        created(writer)
        before = [sorted(folder.iterdir()) for folder in folders]
        for folder in folders:
            folder.chmod(0o555)
        try:
            in_closed, in_opened, in_plain, in_secret = count(closed, opened, plain, secret)
        finally:
            for folder in folders:
                folder.chmod(0o755)
        assert [sorted(folder.iterdir()) for folder in folders] == before

    assert in_opened == ["3", "3"]
    assert in_plain == ["3", "3"]
    assert in_closed[0] == in_closed[1]
    assert in_closed[0].startswith(f"DatabaseUnreachableError cannot read '{closed}': the file is in WAL mode")
    assert "Allow the process to write to the folder" in in_closed[0]
    assert in_secret[0] == in_secret[1]
    assert "this process may not read it" in in_secret[0]


def test_a_store_that_may_not_write_to_the_folder_of_its_file_gets_an_error_that_names_it(tmp_path: Path) -> None:
    path = migrated(tmp_path / "wal" / "jobs.db")
    plain = migrated(tmp_path / "plain" / "jobs.db", wal=False)
    new = tmp_path / "new" / "jobs.db"
    new.parent.mkdir()
    urls = [f"sqlite:///{path}", f"sqlite:///file:{path}?mode=ro&uri=true", f"sqlite:///{new}", f"sqlite:///{tmp_path}/none/jobs.db"]
    for folder in (path.parent, plain.parent, new.parent):
        folder.chmod(0o555)
    try:
        lines = restricted(CALL, *urls)
        of_plain = restricted(CALL, f"sqlite:///{plain}")
    finally:
        for folder in (path.parent, plain.parent, new.parent):
            folder.chmod(0o755)

    names = [name for name in (path, path, new, tmp_path / "none" / "jobs.db") for _ in range(8)]
    for line, name in zip(lines, names, strict=True):
        assert f"DatabaseUnreachableError cannot open '{name}': its folder must exist and be writable" in line
    for ok, line in zip(["list ok", "state ok", "upgrade ok"] * 2, of_plain[:3] + of_plain[4:7], strict=True):
        assert line == ok
    for line in (of_plain[3], of_plain[7]):
        assert line.startswith("create ReadOnlyStoreError this store cannot write: its database, user or file is read-only")


def test_a_file_that_the_url_does_not_create_is_named(tmp_path: Path) -> None:
    with FineTuningStore.from_url(f"sqlite:///file:{tmp_path}/jobs.db?mode=rw&uri=true") as store:
        for call in (store.jobs.list, store.schema.state, store.schema.upgrade):
            with pytest.raises(DatabaseUnreachableError, match=rf"cannot open '{tmp_path}/jobs.db': there is no such file"):
                call()


def test_a_file_that_does_not_exist_is_refused_and_not_created(tmp_path: Path) -> None:
    async def read(url: str) -> None:
        async with AsyncFineTuningStore.from_url(url, read_only=True) as store:
            await store.jobs.list()

    for name in ("missing.db", "missing/jobs.db", ""):
        url = f"sqlite:///{tmp_path}/{name}"
        with FineTuningStore.from_url(url, read_only=True) as store:
            for call in (store.jobs.list, store.schema.state, store.engine.connect):
                with pytest.raises(DatabaseUnreachableError, match="there is no such file"):
                    call()
        with pytest.raises(DatabaseUnreachableError, match="there is no such file"):
            asyncio.run(read(url))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true"])
def test_a_database_in_memory_cannot_be_read_only(url: str) -> None:
    for kind in (FineTuningStore, AsyncFineTuningStore):
        with pytest.raises(UnsupportedDatabaseError, match="in memory cannot be read_only"):
            kind.from_url(url, read_only=True)


def test_a_name_of_any_characters_is_found_and_so_is_a_relative_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a b?c#d%20é.db", "./file:jobs.db"):
        url = URL.create("sqlite", database=name)
        with FineTuningStore.from_url(url) as store:
            store.schema.upgrade()
            job = created(store)
        with FineTuningStore.from_url(url, read_only=True) as reader:
            assert reader.jobs.get(job.id) == job


def test_a_uri_keeps_its_options_and_cannot_ask_for_more(tmp_path: Path) -> None:
    path = migrated(tmp_path / "jobs.db")
    for options in ("uri=true", "mode=rwc&uri=true", "cache=private&mode=ro&uri=true"):
        with FineTuningStore.from_url(f"sqlite:///file:{path}?{options}", read_only=True) as reader:
            assert len(reader.jobs.list()) == 1
            assert reader.schema.state().is_read_only
    with FineTuningStore.from_url(f"sqlite:///file:{tmp_path}/missing.db?mode=rwc&uri=true", read_only=True) as reader:
        with pytest.raises(DatabaseUnreachableError):
            reader.jobs.list()


def test_a_writer_that_was_killed_in_another_journal_mode_has_to_be_undone_first(tmp_path: Path) -> None:
    path = migrated(tmp_path / "jobs.db", wal=False)
    copy = tmp_path / "copy.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA cache_size=1")
        connection.exec_driver_sql("CREATE TABLE notes (words TEXT)")
        connection.exec_driver_sql("INSERT INTO notes SELECT randomblob(100000) FROM fine_tuning_jobs")
        for suffix in ("", "-journal"):  # as a killed process would leave them
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    engine.dispose()

    with FineTuningStore.from_url(f"sqlite:///{copy}", read_only=True) as reader:
        with pytest.raises(DatabaseUnreachableError, match="Open the file once without read_only=True"):
            reader.jobs.list()
        with FineTuningStore.from_url(f"sqlite:///{copy}") as store:
            assert len(store.jobs.list()) == 1
        assert len(reader.jobs.list()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("wal", [True, False])
def test_a_file_is_read_while_another_process_writes(tmp_path: Path, wal: bool) -> None:
    path = migrated(tmp_path / "jobs.db", wal=wal)
    seen = []
    with FineTuningStore.from_url(f"sqlite:///{path}", read_only=True) as reader:
        assert len(list(reader.jobs.iterate())) == 1
        writer = subprocess.Popen([sys.executable, "-c", WRITE, f"sqlite:///{path}"], cwd=ROOT)
        while writer.poll() is None:
            seen.append(len(list(reader.jobs.iterate())))
        seen.append(len(list(reader.jobs.iterate())))

    assert writer.wait() == 0
    assert (seen, seen[-1]) == (sorted(seen), 101)
