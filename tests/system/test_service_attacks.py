"""The example service while one of its users holds it up, or sends it the most expensive requests that it accepts."""

from __future__ import annotations

import json
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from sqlalchemy import text

from fine_tuning_store import FineTuningStore, Timeouts
from tests.support.databases import Database
from tests.support.service import Service, running

CLIENTS = 45
HELD_SECONDS = 12
REQUEST = {"model": "gpt-4o-mini", "training_file": "file-abc"}
JOBS = "/v1/fine_tuning/jobs"


@pytest.fixture
def service(database: Database) -> Iterator[Service]:
    with database.empty() as url, running(url) as [service]:
        yield service


def create(service: Service, key: str, **members: Any) -> str:
    response = service.request("POST", JOBS, json.dumps({**REQUEST, **members}).encode(), {"Authorization": f"Bearer {key}"})
    assert response.status == 200, response.body
    id: str = json.loads(response.body)["id"]
    return id


def seconds(call: Callable[[], Any]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_45_cancels_of_a_locked_job_delay_no_other_organization(service: Service, database: Database) -> None:
    id, theirs = create(service, "key-1"), create(service, "key-2")
    authorization = {"Authorization": "Bearer key-2"}
    calls: dict[str, Callable[[], Any]] = {
        "get": lambda: service.request("GET", f"{JOBS}/{theirs}", headers=authorization),
        "list": lambda: service.request("GET", JOBS, headers=authorization),
    }
    if database.name != "sqlite":  # where one writer at a time may write to the file
        calls["create"] = lambda: create(service, "key-2")
    usual = {name: statistics.median(seconds(call) for _ in range(5)) for name, call in calls.items()}
    statuses: Counter[int] = Counter()
    longest: list[float] = []
    released = threading.Event()

    def cancel_again_and_again() -> None:
        while not released.is_set():
            longest.append(seconds(lambda: statuses.update([service.request("POST", f"{JOBS}/{id}/cancel").status])))

    clients = [threading.Thread(target=cancel_again_and_again) for _ in range(CLIENTS)]
    with FineTuningStore.from_url(service.url, timeouts=Timeouts(lock=60)) as holder:
        with holder.engine.begin() as connection:
            connection.execute(text("UPDATE fine_tuning_jobs SET seed = 1 WHERE id = :id"), {"id": id})
            for client in clients:
                client.start()
            end = time.monotonic() + HELD_SECONDS
            slowest = dict.fromkeys(calls, 0.0)
            while time.monotonic() < end:
                for name, call in calls.items():
                    slowest[name] = max(slowest[name], seconds(call))
            while not longest:  # the first one has waited for its whole time
                time.sleep(0.1)
            busy = dict(statuses)
            released.set()
    for client in clients:
        client.join()

    print(f"{database.name}: usual {usual}, slowest {slowest}, longest cancel {max(longest):.2f} s, {busy}")  # noqa: T201
    assert set(busy) == {503}
    assert max(longest) < Timeouts().lock + 2.0
    for name in calls:
        assert slowest[name] < usual[name] + 1, name
    assert service.request("POST", f"{JOBS}/{id}/cancel").status == 200
    assert json.loads(service.request("GET", f"{JOBS}/{id}").body)["status"] == "cancelled"
    assert all(service.request("GET", JOBS).status == 200 for _ in range(20))


def grader(**members: Any) -> dict[str, Any]:
    method = {"type": "reinforcement", "reinforcement": {"grader": {"type": "python", "name": "g", "source": "x", **members}}}
    return {"method": method}


#: Values as large as the service takes.
LARGE: dict[str, Callable[[], dict[str, Any]]] = {
    "lists": lambda: grader(graders=[[] for _ in range(10_000)]),
    "a long key over a long list": lambda: grader(**{"k" * 100_000: list(range(10_000))}),
    "refused at its end": lambda: grader(**{"k" * 100_000: [*([1] * 9_000), "\ud800"]}),
    "too many elements": lambda: grader(graders=[1] * 90_000),
    "messages under a long key": lambda: grader(
        type="multi",
        calculate_output="",
        graders={
            "k" * 100_000: {"type": "score_model", "name": "g", "model": "m", "input": [{"role": "user", "content": "x"}] * 3_000 + [1]}
        },
    ),
    "keys": lambda: grader(**{f"k{number}": number for number in range(9_000)}),
    "text": lambda: grader(source="x" * 280_000),
    "wide text": lambda: grader(source="x" * 280_000 + "\U0001f600"),
    "metadata": lambda: {"metadata": {"k": "x" * 280_000}},
    "unknown member": lambda: {"x": [[[]]] * 30_000},
}


def test_a_client_that_leaves_before_the_end_of_its_body_causes_no_error_in_the_log(tmp_path: Path) -> None:
    head = f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer key-1\r\n"
    with running(f"sqlite:///{tmp_path}/jobs.db") as [service]:  # raises if the service wrote to its log
        for rest in ("Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"):
            with socket.create_connection(("127.0.0.1", service.port)) as client:
                client.sendall(f"{head}{rest}".encode())
        assert service.request("GET", JOBS).status == 200


def test_the_most_expensive_requests_cost_little_time_and_memory(tmp_path: Path) -> None:
    with running(f"sqlite:///{tmp_path}/jobs.db") as [service]:
        process = psutil.Process(service.pid)
        create(service, "key-1")
        for number, (name, make) in enumerate(LARGE.items(), 2):
            body = json.dumps({**REQUEST, **make()}, ensure_ascii=name != "wide text").encode(errors="surrogatepass")
            assert len(body) <= 300_000, name
            headers = {"Authorization": f"Bearer key-{number}"}
            before = sum(process.cpu_times()[:2])
            status = service.request("POST", JOBS, body, headers).status
            cpu = sum(process.cpu_times()[:2]) - before
            assert cpu < 0.5, (name, cpu)
            assert status in (200, 400), name
            if status == 200:
                for _ in range(19):
                    assert service.request("POST", JOBS, body, headers).status == 200
            memory = process.memory_info().rss
            Path(f"/proc/{service.pid}/clear_refs").write_text("5")  # resets the peak
            page = service.request("GET", f"{JOBS}?limit=1000", headers=headers)
            assert page.status == 200
            peak = next(int(line.split()[1]) for line in Path(f"/proc/{service.pid}/status").read_text().splitlines() if "VmHWM" in line)
            print(f"{name}: {status}, {cpu:.2f} s, page of {len(page.body) / 1e6:.1f} MB, {peak / 1024 - memory / 2**20:.0f} MB more")  # noqa: T201
            assert peak * 1024 - memory < 100 * 2**20, name
