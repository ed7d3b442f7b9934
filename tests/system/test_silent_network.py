"""A network that loses every packet, from one moment on: calls end, and the pool recovers. Made of network namespaces, so it needs root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from fine_tuning_store import FineTuningStore
from tests.support.databases import ASYNC_DRIVERS, SYNC_DRIVERS, Database, with_driver
from tests.support.servers import LINUX

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        not LINUX or os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and the program ip"
    ),
]

HOST, GUEST = "10.213.77.1", "10.213.77.2"
NETWORK_SECONDS = 3

#: Forwards a port of this machine's end of the network to the server.
FORWARDER = """
import socket, sys, threading
host, target = sys.argv[1], sys.argv[2]
def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
with socket.create_server((host, 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        one, _ = server.accept()
        other = socket.create_connection(("127.0.0.1", int(target)))
        for pair in ((one, other), (other, one)):
            threading.Thread(target=pump, args=pair, daemon=True).start()
"""

#: Uses a store in the namespace, and prints the seconds of each call and its error.
CLIENT = """
import asyncio, inspect, json, sys, time
from sqlalchemy.exc import DBAPIError
from fine_tuning_store import AsyncFineTuningStore, FineTuningStore, OutcomeUnknownError, Timeouts

timeouts = Timeouts(lock=2, pool=2, connect=2, network=int(sys.argv[2]))

def report(*what):
    print(json.dumps(what), flush=True)

async def result(value):
    return await value if inspect.isawaitable(value) else value

async def use(store):
    create = lambda: store.jobs.create(organization_id="org-1", model="m", training_file="f")
    for call in (store.jobs.list, create):
        await result(call())
    report("ready", 0)
    input()
    for call in (create, store.jobs.list):
        started = time.monotonic()
        try:
            await result(call())
            error = None
        except (DBAPIError, OutcomeUnknownError) as caught:
            error = type(caught).__name__
        report(error, time.monotonic() - started)
    input()
    report(len((await result(store.jobs.list())).data), store.engine.pool.checkedout())
    await result(store.close())

kind = AsyncFineTuningStore if sys.argv[3] == "async" else FineTuningStore
asyncio.run(use(kind.from_url(sys.argv[1], timeouts=timeouts)))
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace that reaches this machine at HOST, by a cable that can be pulled."""
    name = f"fts{os.getpid()}"
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine allows no network namespaces: {error.stderr.decode()}")
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("address", "add", f"{HOST}/24", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "address", "add", f"{GUEST}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
        ip("netns", "delete", name)


def test_each_driver_ends_its_calls_when_the_network_goes_silent_and_recovers(
    namespace: str, empty_url: str, database: Database, tmp_path: Path
) -> None:
    url = make_url(empty_url)
    if database.name == "sqlite" or url.host != "127.0.0.1":
        pytest.skip("needs a server on 127.0.0.1")
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
    (tmp_path / "client.py").write_text(CLIENT)
    drivers = [url.get_driver_name(), *SYNC_DRIVERS[database.name], *ASYNC_DRIVERS[database.name]]
    with subprocess.Popen([sys.executable, "-c", FORWARDER, HOST, str(url.port or 0)], stdout=subprocess.PIPE, text=True) as forwarder:
        assert forwarder.stdout is not None
        port = int(forwarder.stdout.readline())
        try:
            for driver in drivers:
                there = make_url(with_driver(empty_url, driver)).set(host=HOST, port=port).render_as_string(hide_password=False)
                made = _calls(namespace, tmp_path / "client.py", there, "async" if driver in ASYNC_DRIVERS[database.name] else "sync")
                print(database.name, driver, made)  # noqa: T201
                with FineTuningStore.from_url(empty_url) as store:
                    assert made["recovered"] == [len(store.jobs.list().data), 0]
                of_create = (
                    "OutcomeUnknownError" if database.name == "postgresql" else "OperationalError"
                )  # one statement may have stored it
                assert [error for error, _ in made["silent"]] == [of_create, "OperationalError"]
                for _, seconds in made["silent"]:
                    assert seconds < NETWORK_SECONDS + 2 * 2 + 4, driver  # a read connects once more, within 2 seconds
        finally:
            forwarder.kill()


def _calls(namespace: str, program: Path, url: str, mode: str) -> dict[str, Any]:
    command = ["ip", "netns", "exec", namespace, sys.executable, str(program), url, str(NETWORK_SECONDS), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert json.loads(client.stdout.readline()) == ["ready", 0]
        ip("link", "set", namespace, "down")
        client.stdin.write("\n")
        client.stdin.flush()
        silent = [json.loads(client.stdout.readline()) for _ in range(2)]
        ip("link", "set", namespace, "up")
        client.stdin.write("\n")
        client.stdin.flush()
        recovered = json.loads(client.stdout.readline())
    return {"silent": silent, "recovered": recovered}
