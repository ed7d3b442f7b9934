"""A temporary Galera cluster: three writable nodes on this machine. It starts in about 12 seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import DBAPIError

from tests.support.databases import missing
from tests.support.servers import free_port

NODES = 3
PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
#: The server, the program that initializes a data directory, and the one that copies the first node's data to the others.
PROGRAMS = ("mariadbd", "mariadb-install-db", "rsync")


@contextmanager
def cluster() -> Iterator[list[URL]]:
    """Start the cluster, yield the URLs of its nodes, and stop it at the end of the block."""
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
    programs = {name: where for name in PROGRAMS if (where := shutil.which(name, path=path))}
    if len(programs) < len(PROGRAMS) or not PROVIDER.exists():
        missing("no Galera: install it, for example with apt-get install mariadb-server galera-4 rsync")
    user = ["--user=mysql"] if os.geteuid() == 0 else []
    ports = [[free_port() for _ in ("SQL", "group", "increments", "snapshots")] for _ in range(NODES)]
    members = "gcomm://" + ",".join(f"127.0.0.1:{group}" for _, group, _, _ in ports)
    with ExitStack() as nodes:
        folder = Path(nodes.enter_context(tempfile.TemporaryDirectory()))  # the user mysql cannot read pytest's folders
        folder.chmod(0o755)
        urls = []
        for number, (port, group, increments, snapshots) in enumerate(ports):
            home = folder / str(number)
            home.mkdir()
            if user:
                shutil.chown(home, "mysql")
            base = ["--no-defaults", *user, f"--datadir={home / 'data'}"]
            install = [programs["mariadb-install-db"], *base, "--auth-root-authentication-method=normal", "--skip-test-db"]
            subprocess.run(install, check=True, capture_output=True)
            options = {
                "port": port,
                "bind-address": "127.0.0.1",
                "socket": home / "socket",
                "pid-file": home / "pid",
                "log-error": home / "log.err",
                "binlog-format": "ROW",
                "innodb-autoinc-lock-mode": 2,
                "innodb-flush-log-at-trx-commit": 0,
                "wsrep-on": "ON",
                "wsrep-provider": PROVIDER,
                "wsrep-cluster-name": "fine_tuning_store",
                "wsrep-cluster-address": members,
                "wsrep-node-name": f"node{number}",
                "wsrep-node-address": f"127.0.0.1:{group}",
                "wsrep-sst-method": "rsync",
                "wsrep-sst-receive-address": f"127.0.0.1:{snapshots}",
                "wsrep-provider-options": (
                    f"gmcast.listen_addr=tcp://127.0.0.1:{group};ist.recv_addr=127.0.0.1:{increments};gcache.size=32M"
                ),
            }
            begin = ["--wsrep-new-cluster"] if number == 0 else []
            server = [programs["mariadbd"], *base, *(f"--{name}={value}" for name, value in options.items()), *begin]
            nodes.enter_context(_killed_at_end(subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)))
            url = URL.create("mariadb+pymysql", "root", host="127.0.0.1", port=port)
            _wait_for(url, home / "log.err")
            urls.append(url)
        yield urls


@contextmanager
def _killed_at_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()  # the data is not needed any more
        process.wait()


def _wait_for(url: URL, log: Path) -> None:
    deadline = time.monotonic() + 60
    while not _is_synced(url):
        assert time.monotonic() < deadline, log.read_text()[-2000:] if log.exists() else "no log was written"
        time.sleep(0.1)


def _is_synced(url: URL) -> bool:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return tuple(connection.execute(text("SHOW STATUS LIKE 'wsrep_local_state_comment'")).one())[1:] == ("Synced",)
    except DBAPIError:
        return False
    finally:
        engine.dispose()
