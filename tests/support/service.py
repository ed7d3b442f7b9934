"""The example service as a real process, and clients for it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Organizations by API key: enough for each test to use its own.
KEYS = {f"key-{number}": f"org-{number}" for number in range(1, 300)}
SECONDS = 60


@dataclass(frozen=True)
class Service:
    """A service that listens on a port of this machine."""

    port: int
    url: str
    """The URL of its database."""
    pid: int = 0
    """The id of its process."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def client(self, key: str = "key-1") -> OpenAI:
        """Return the official client without retries, so that no error is hidden. It reads no certificates, which takes 60 ms."""
        http_client = DefaultHttpxClient(verify=False)
        return OpenAI(api_key=key, base_url=self.base_url, max_retries=0, timeout=SECONDS, http_client=http_client)

    def async_client(self, key: str = "key-1") -> AsyncOpenAI:
        http_client = DefaultAsyncHttpxClient(verify=False)
        return AsyncOpenAI(api_key=key, base_url=self.base_url, max_retries=0, timeout=SECONDS, http_client=http_client)

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Response:
        """Send a raw HTTP request on a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, {"Authorization": "Bearer key-1", **(headers or {})})
            response = connection.getresponse()
            return Response(response.status, response.headers.get_content_type(), response.read(), dict(response.headers))
        finally:
            connection.close()


@dataclass(frozen=True)
class Response:
    """The response to a raw request."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str]


@contextmanager
def running(url: str, *, files: Path | None = None, demo_worker: bool = False, services: int = 1) -> Iterator[list[Service]]:
    """Start services at the same moment on one database, each on its own port, by default with a temporary folder of files."""
    if files is None:
        with (
            tempfile.TemporaryDirectory() as folder,
            running(url, files=Path(folder), demo_worker=demo_worker, services=services) as started,
        ):
            yield started
        return
    environment = os.environ | {
        "FINE_TUNING_STORE_URL": url,
        "FINE_TUNING_API_KEYS": ",".join(f"{key}={organization}" for key, organization in KEYS.items()),
        "FINE_TUNING_DEMO_WORKER": str(int(demo_worker)),
        "FINE_TUNING_FILES": str(files),
    }
    command = [sys.executable, "-m", "uvicorn", "openai_service:app", "--app-dir", str(EXAMPLES), "--log-level", "warning"]
    started = [Service(port, url) for port in _free_ports(services)]
    with tempfile.TemporaryFile() as log:
        processes = [
            subprocess.Popen([*command, "--port", str(service.port)], env=environment, stdout=log, stderr=subprocess.STDOUT)
            for service in started
        ]
        try:
            for service, process in zip(started, processes, strict=True):
                if not _is_ready(service, process):
                    log.seek(0)
                    raise RuntimeError(f"the service did not start:\n{log.read().decode()}")
            yield [replace(service, pid=process.pid) for service, process in zip(started, processes, strict=True)]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(SECONDS)
        log.seek(0)
        output = log.read().decode()
        if output:
            raise RuntimeError(f"the service wrote to its log:\n{output}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _is_ready(service: Service, process: subprocess.Popen[bytes]) -> bool:
    """Wait until a service responds. Returns False if its process ended or the wait timed out."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return service.request("GET", "/v1/fine_tuning/jobs").status == 200
        except ConnectionError:
            time.sleep(0.05)
    return False
