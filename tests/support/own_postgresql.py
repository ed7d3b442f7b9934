"""A PostgreSQL of the tests' own, which may be killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from tests.support import standby
from tests.support.servers import free_port


class OwnPostgreSQL:
    """A server with its own data directory and port.

    Attributes:
        url: The URL of its superuser.
    """

    def __init__(self, folder: Path) -> None:
        self._programs = standby.programs()
        self._folder = folder
        self._options: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:  # as whom no server runs
            self._options |= {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
            shutil.chown(folder, "nobody")
        initdb = ["--pgdata=data", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run([self._programs / "initdb", *initdb], check=True, capture_output=True, **self._options)
        self._port = free_port()
        self.url = URL.create("postgresql+psycopg", "postgres", host="127.0.0.1", port=self._port, database="postgres")
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        settings = [f"--{name}={value}" for name, value in {**standby.SETTINGS, "port": self._port}.items()]
        log = self._folder / "log"
        with log.open("ab") as output:
            command = [str(self._programs / "postgres"), "-D", "data", *settings]
            self._process: subprocess.Popen[bytes] = subprocess.Popen(command, stdout=output, stderr=output, **self._options)
        standby.wait_for(self.url, self._process, log)

    def kill(self) -> None:
        """End the server as a crash would: without a checkpoint, and with all of its connections at once."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()


@contextmanager
def own_postgresql() -> Iterator[OwnPostgreSQL]:
    """Yield a running server, and end it after the block."""
    with tempfile.TemporaryDirectory() as name:
        server = OwnPostgreSQL(Path(name))
        try:
            yield server
        finally:
            server.kill()
