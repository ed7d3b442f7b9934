"""A temporary PgBouncer in transaction pooling mode."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from tests.support.databases import missing
from tests.support.servers import free_port

#: The number of server connections that all clients share.
SERVERS = 2


@contextmanager
def pooled(server: URL, folder: Path) -> Iterator[URL]:
    """Start a pooler in front of a server, yield its URL, and stop it at the end of the block."""
    program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if program is None:
        missing("no PgBouncer: install the program pgbouncer, for example with apt-get install pgbouncer")
    port = free_port()
    host = server.host or server.query["host"]
    login = f"user={server.username or 'postgres'}" + (f" password={server.password}" if server.password else "")
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"""
[databases]
* = host={host} port={server.port or 5432} {login}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {SERVERS}
max_client_conn = 500
"""
    )
    drop_root = ["-u", "nobody"] if os.geteuid() == 0 else []  # PgBouncer refuses to run as root
    log = (folder / "log").open("wb")
    process = subprocess.Popen([program, *drop_root, str(configuration)], stdout=log, stderr=log)
    try:
        _wait_for(port, process, folder / "log")
        yield server.set(host="127.0.0.1", port=port, query={})
    finally:
        process.terminate()
        process.wait()
        log.close()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
