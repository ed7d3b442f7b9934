"""A MariaDB of the tests' own, which may be killed and started again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import OperationalError

from tests.support.databases import missing
from tests.support.servers import free_port
from tests.support.standby import scalar


class OwnMariaDB:
    """A server with its own data directory and port.

    Attributes:
        url: The URL of its user root.
    """

    def __init__(self, folder: Path, settings: dict[str, str], parameters: dict[str, str]) -> None:
        path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
        programs = [shutil.which(name, path=path) for name in ("mariadb-install-db", "mariadbd")]
        if None in programs:
            missing("no MariaDB: install it, for example with apt-get install mariadb-server")
        install, server = map(str, programs)
        base = ["--no-defaults", *(["--user=mysql"] if os.geteuid() == 0 else []), f"--datadir={folder / 'data'}"]
        subprocess.run([install, *base, "--auth-root-authentication-method=normal", "--skip-test-db"], check=True, capture_output=True)
        port = free_port()
        options = {"port": port, "bind-address": "127.0.0.1", "socket": folder / "socket", "pid-file": folder / "pid", **settings}
        self._command = [server, *base, *(f"--{name}={value}" for name, value in options.items())]
        self.url = URL.create(
            "mariadb+pymysql", "root", host="127.0.0.1", port=port, database="information_schema", query={"ssl_disabled": "true"}
        )
        if parameters:
            self.url = self.url.set(query=parameters)
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                scalar(self.url, "SELECT 1")
            except OperationalError:
                assert self._process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            else:
                return

    def kill(self) -> None:
        """End the server as a crash would."""
        self._process.kill()
        self._process.wait()


@contextmanager
def own_mariadb(settings: dict[str, str] | None = None, parameters: dict[str, str] | None = None) -> Iterator[OwnMariaDB]:
    """Yield a running server with settings of its own, whose URL has these parameters, and end it after the block."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() == 0:  # as whom no server runs
            shutil.chown(folder, "mysql")
        server = OwnMariaDB(folder, settings or {}, parameters or {})
        try:
            yield server
        finally:
            server.kill()
