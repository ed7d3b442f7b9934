"""Run every Python block of the documentation, page by page, in an empty folder, and the SQL and the outputs of one page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, make_url, select, text, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from fine_tuning_store import FineTuningJobRepository, FineTuningStore, JobError, JobStatus, SchemaVersionError, job_from_wire
from fine_tuning_store.models import JobRow
from tests.support.databases import ASYNC_DRIVERS, Database, new_name, with_driver
from tests.support.factories import created
from tests.support.pages import ONLY, blocks_of, outputs_of, run_session, without_times
from tests.support.service import running

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EMBEDDING = ROOT / "docs" / "embedding.md"
MIGRATING = ROOT / "docs" / "migrating.md"
QUERYING = ROOT / "docs" / "querying.md"
COMMAND_LINE = ROOT / "docs" / "command-line.md"
COPYING = ROOT / "docs" / "copying.md"
OPERATING = ROOT / "docs" / "operating.md"
#: The present time in Unix seconds, as the page about operating writes it.
NOW = {
    "postgresql": "EXTRACT(EPOCH FROM now())",
    "mariadb": "UNIX_TIMESTAMP()",
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER)",
}


def blocks(page: Path, language: str = "python") -> str:
    """Return the Python blocks of a page, or those of another language, as one program with unchanged line numbers."""
    lines, inside = [], False
    for line in page.read_text().splitlines():
        fence = line.startswith("```")
        lines.append(line if inside and not fence else "")
        if fence:
            inside = line == f"```{language}"
    return "\n".join(lines)


def run(page: Path) -> dict[str, Any]:
    """Run a page and return its namespace."""
    namespace: dict[str, Any] = {"__name__": page.stem}
    exec(compile(blocks(page), str(page), "exec", dont_inherit=True), namespace)
    return namespace


def close(namespace: dict[str, Any]) -> None:
    """Close the stores and engines that a page left open."""
    for value in namespace.values():
        if isinstance(value, FineTuningStore):
            value.engine.dispose()
        elif isinstance(value, Engine):
            value.dispose()


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page not in (EMBEDDING, QUERYING, COMMAND_LINE, COPYING)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    close(run(page))


def test_the_page_about_queries_shows_what_its_python_and_its_sql_print(
    database: Database, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page, namespace = QUERYING.read_text(), dict[str, Any]()
    assert page.count("sqlite:///fine_tuning.db") == 1
    try:
        outputs = list(outputs_of(page.replace("sqlite:///fine_tuning.db", empty_url), QUERYING, database.name, namespace))
    finally:
        close(namespace)

    assert len(outputs) > 20
    assert [(output.line, output.printed) for output in outputs] == [(output.line, output.shown) for output in outputs]


def test_the_page_about_the_command_line_shows_real_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGNAME", "alice")
    assert run_sessions(COMMAND_LINE) > 5


def run_sessions(page: Path) -> int:
    """Run the Python and the sessions of a page, assert that it shows what they print, and return the number of sessions."""
    namespace, urls, sessions = dict[str, Any](), dict[str, str](), 0
    try:
        for block in blocks_of(page.read_text()):
            if block.language == "python":
                exec(compile("\n" * block.line + block.text, str(page), "exec", dont_inherit=True), namespace)
            elif block.language == "console":
                sessions += 1
                assert without_times(run_session(block.text, urls)) == without_times(block.text), block.line
    finally:
        close(namespace)
    return sessions


def test_the_page_about_copying_shows_real_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example service is the provider."""
    url, files = f"sqlite:///{tmp_path}/provider.db", tmp_path / "provider_files"
    with running(url, files=files) as [service], service.client() as client, FineTuningStore.from_url(url) as provider:
        file = client.files.create(file=("train.jsonl", b"{}"), purpose="fine-tune").id
        for number, (day, training_file) in enumerate(((4, file), (3, "file-gone"), (2, file)), 1):
            wire = {"id": f"ftjob-{number}", "created_at": int(time.time()) - day * 86_400, "status": "queued"}
            request = {"model": "gpt-4o-mini", "training_file": training_file, "organization_id": "org-1"}
            provider.jobs.add(job_from_wire(wire | request))
        provider.jobs.start("ftjob-1", message="Started")
        provider.checkpoints.create("ftjob-1", step_number=10, fine_tuned_model_checkpoint="ft:gpt-4o-mini:acme::1:ckpt-step-10")
        provider.jobs.succeed("ftjob-1", fine_tuned_model="ft:gpt-4o-mini:acme::1", message="Succeeded")
        provider.events.append_many("ftjob-1", [{"message": f"Step {step}"} for step in range(3)])
        error = JobError(code="invalid_training_file", message="The file has no examples.")
        provider.jobs.fail("ftjob-2", error, message="Failed")
        provider.events.append("ftjob-3", "Queued")

        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OPENAI_BASE_URL", service.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "key-1")
        assert run_sessions(COPYING) == 2


def test_the_metrics_of_the_page_about_operating_are_the_same_in_python_and_in_sql(
    database: Database, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page, namespace = OPERATING.read_text(), run(OPERATING)
    assert all(page.count(f"`{now}`") == 1 for now in NOW.values())
    close(namespace)
    with FineTuningStore.from_url(empty_url, clock=lambda: time.time() - 100) as store:
        store.schema.upgrade()
        queued, running, succeeded, failed, _ = (created(store).id for _ in range(5))
        store.jobs.enqueue(queued)
        for id in (running, succeeded, failed):
            store.jobs.start(id)
        store.jobs.succeed(succeeded, fine_tuned_model="ft:m")
        store.jobs.fail(failed, JobError(code="out_of_memory", message="The GPU has 24 GiB."))
        figures = namespace["metrics"](store)
        with store.engine.begin() as connection:
            connection.execute(update(JobRow).where(JobRow.id == queued).values(lost_leases=2))
            found: dict[str, list[Any]] = {}
            for block in blocks_of(page):
                if block.language == "sql" and not block.text.startswith(tuple({*ONLY.values()} - {ONLY[database.name]})):
                    result = connection.execute(text(block.text.replace(NOW["postgresql"], NOW[database.name])))
                    names, rows = list(result.keys()), result.all()
                    assert rows, block
                    found |= {name.lower(): [row[index] for row in rows] for index, name in enumerate(names)}

    expected = {name: value for name, value in figures.items() if name != "paused_jobs"} | {"lost_leases": 2}
    for name, value in expected.items():
        assert float(found[name][0]) == pytest.approx(value, abs=2 if "seconds" in name else 1e-9), name
    assert (expected["queued_jobs"], expected["stuck_jobs"], expected["ended_last_hour"], expected["failure_rate"]) == (1, 1, 2, 0.5)
    assert (found["code"], found["failed"]) == (["out_of_memory"], [1])
    assert dict(zip(found["status"], found["total"], strict=True))["validating_files"] == 1


@pytest.fixture
def embedding(database: Database, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Run the page about embedding on a migrated database, and return its namespace."""
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
    monkeypatch.setenv("DATABASE_URL", empty_url)
    monkeypatch.setenv("ASYNC_DATABASE_URL", with_driver(empty_url, ASYNC_DRIVERS[database.name][0]))
    monkeypatch.chdir(tmp_path)
    namespace = run(EMBEDDING)
    yield namespace
    close(namespace)


@pytest.mark.parametrize("app", ["app", "async_app"])
def test_the_services_of_the_page_show_each_organization_its_own_jobs(embedding: dict[str, Any], app: str) -> None:
    service: FastAPI = embedding[app]
    request = {"model": "gpt-4o-mini", "training_file": "file-abc"}
    before = len(embedding["store"].for_organization("org-1").jobs.list().data)
    with TestClient(service, headers={"Authorization": "Bearer key-1"}) as client:
        made = client.post("/v1/fine_tuning/jobs", json=request).json()
        assert made["organization_id"] == "org-1"
        assert client.post("/v1/fine_tuning/jobs", json=request | {"model": ""}).json()["error"]["param"] == "model"
        assert client.post("/v1/fine_tuning/jobs", json=request, headers={"Authorization": "Bearer none"}).status_code == 401
        other = {"Authorization": "Bearer key-2"}
        if app == "app":
            assert client.get(f"/v1/fine_tuning/jobs/{made['id']}").json() == made
            assert client.get(f"/v1/fine_tuning/jobs/{made['id']}", headers=other).status_code == 404
        else:
            lines = client.get("/v1/fine_tuning/jobs/export").text.splitlines()
            assert json.loads(lines[0]) == made
            assert len(lines) == before + 1
            assert made["id"] not in client.get("/v1/fine_tuning/jobs/export", headers=other).text

    assert [event.message for event in embedding["store"].events.list(made["id"]).data] == ["Created"]


def test_a_service_of_the_page_does_not_start_on_a_database_that_is_not_migrated(embedding: dict[str, Any]) -> None:
    embedding["Base"].metadata.drop_all(embedding["engine"])
    embedding["store"].schema.downgrade("base", allow_data_loss=True)

    for app in (embedding["app"], embedding["async_app"]):
        with pytest.raises(SchemaVersionError), TestClient(app):
            pass


def test_several_workers_of_the_page_train_each_job_once(embedding: dict[str, Any]) -> None:
    store: FineTuningStore = embedding["store"]
    ids = [created(store).id for _ in range(8)]
    for id in ids:
        store.jobs.enqueue(id)
    stop = threading.Event()
    workers = [threading.Thread(target=embedding["work"], args=(store, stop)) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        deadline = time.monotonic() + 60
        while any(not job.status.is_ended for job in store.jobs.get_many(ids)) and time.monotonic() < deadline:
            stop.wait(0.05)
    finally:
        stop.set()
        for worker in workers:
            worker.join()

    messages = ["Step 1/3", "Step 2/3", "Step 3/3", "The job has succeeded"]
    for job in store.jobs.get_many(ids):
        assert (job.status, [event.message for event in store.events.tail(job.id).data]) == (JobStatus.SUCCEEDED, messages)


def test_a_worker_of_the_page_requeues_its_job_when_it_stops_and_ends_when_the_user_cancels(embedding: dict[str, Any]) -> None:
    store: FineTuningStore = embedding["store"]
    train, stop = embedding["train"], threading.Event()
    for _ in range(2):
        store.jobs.enqueue(created(store).id)
    cancelled, requeued = store.leases.claim_many("worker-1", limit=2)

    store.jobs.cancel(cancelled.job.id)
    assert cancelled.heartbeat() == "cancelled"
    train(cancelled, stop)
    stop.set()
    train(requeued, stop)

    assert [job.status for job in store.jobs.get_many([requeued.job.id, cancelled.job.id])] == [JobStatus.QUEUED, JobStatus.CANCELLED]


def test_a_worker_of_the_page_records_an_error_of_its_training(embedding: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    store: FineTuningStore = embedding["store"]
    store.jobs.enqueue(created(store).id)
    (lease,) = store.leases.claim_many("worker-1", limit=1)
    monkeypatch.setitem(embedding, "train", lambda *_: 1 / 0)

    embedding["train_and_record"](lease, threading.Event())

    assert store.jobs.get(lease.job.id).error == JobError(code="ZeroDivisionError", message="division by zero")


def test_a_worker_process_of_the_page_exits_on_sigterm(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/jobs.db"
    (tmp_path / "page.py").write_text(blocks(EMBEDDING))
    environment = {**os.environ, "DATABASE_URL": database, "ASYNC_DATABASE_URL": with_driver(database, "aiosqlite")}
    with FineTuningStore.from_url(database) as store:
        store.schema.upgrade()
        job = created(store)
        store.jobs.enqueue(job.id)
        worker = subprocess.Popen([sys.executable, "-c", "import page; page.main()"], cwd=tmp_path, env=environment)
        try:
            deadline = time.monotonic() + 60
            while not store.jobs.get(job.id).status.is_ended and worker.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            worker.terminate()

            assert worker.wait(30) == 0
        finally:
            worker.kill()

        assert store.jobs.get(job.id).status is JobStatus.SUCCEEDED


def test_jobs_and_the_applications_rows_of_the_page_are_committed_together(embedding: dict[str, Any]) -> None:
    store, charge = embedding["store"], embedding["Charge"]
    with Session(embedding["engine"]) as session:
        charged = session.scalars(select(charge.job_id)).all()
        assert len(charged) == 2
        jobs = FineTuningJobRepository(session)
        lost = jobs.create(organization_id="org-1", model="m", training_file="f")
        session.add(charge(job_id=lost.id, cents=1))
        jobs.cancel(charged[0])
        with session.begin_nested() as savepoint:
            jobs.cancel(charged[1])
            savepoint.rollback()
        assert [job.status for job in jobs.get_many(charged)] == [JobStatus.CANCELLED, JobStatus.VALIDATING_FILES]
        session.rollback()
        assert session.scalars(select(charge.job_id)).all() == charged
        assert {job.status for job in jobs.get_many(charged)} == {JobStatus.VALIDATING_FILES}
        jobs.cancel(charged[0])
        jobs.delete(charged[0])
        session.commit()

    assert [job.id for job in store.jobs.iterate() if job.id in charged] == charged[1:]


def test_the_tests_that_the_page_shows_pass(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/page.db"
    with FineTuningStore.from_url(database) as store:
        store.schema.upgrade()
    uses_repository = "\n\ndef test_a_repository(job_repository):\n    assert job_repository.list().data\n"
    (tmp_path / "test_page.py").write_text(blocks(EMBEDDING) + uses_repository)
    environment = {**os.environ, "DATABASE_URL": database, "ASYNC_DATABASE_URL": with_driver(database, "aiosqlite")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"]
    completed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert "2 passed" in completed.stdout, completed.stdout + completed.stderr


@pytest.mark.slow
def test_the_commands_of_the_page_about_migrating_run(tmp_path: Path) -> None:
    """Run the commands in a shell, in order, then the command of the init container."""
    command = tmp_path / "bin" / "fine-tuning-store"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m fine_tuning_store.cli "$@"\n')
    command.chmod(0o755)
    (in_yaml,) = re.findall(r"command: (\[.*\])", blocks(MIGRATING, "yaml"))
    script = f"{blocks(MIGRATING, 'sh')}\n{' '.join(json.loads(in_yaml))}\n"
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    completed = subprocess.run(
        ["/bin/sh", "-eu", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )

    assert (completed.returncode, completed.stderr) == (0, ""), completed
    assert "status: current" in completed.stdout
    assert "no differences" in completed.stdout
    assert "CREATE TABLE" in (tmp_path / "all.sql").read_text()
    assert "CREATE" in (tmp_path / "upgrade.sql").read_text()
    assert "DROP" in (tmp_path / "downgrade.sql").read_text()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_runtime_role_of_the_page_uses_the_tables_and_may_not_change_them(empty_url: str) -> None:
    role = new_name()
    with FineTuningStore.from_url(empty_url) as owner:
        owner.schema.upgrade()
        with owner.engine.begin() as connection:
            for statement in blocks(MIGRATING, "sql").replace("fine_tuning_app", role).split(";"):
                if statement.strip():
                    connection.execute(text(statement))
        try:
            with FineTuningStore.from_url(make_url(empty_url).set(username=role)) as store:
                store.schema.upgrade()
                assert store.schema.state().is_usable
                assert store.schema.check() == ()
                job = created(store)
                assert store.jobs.get(job.id) == job
                for table in ("fine_tuning_store_compatibility", "fine_tuning_store_version"):
                    with pytest.raises(ProgrammingError, match="permission denied"), store.engine.begin() as connection:
                        connection.execute(text(f"DELETE FROM {table}"))
                with pytest.raises(ProgrammingError, match="permission denied"):
                    store.schema.downgrade("base", allow_data_loss=True)
        finally:
            with owner.engine.begin() as connection:
                connection.execute(text(f"DROP OWNED BY {role}"))
                connection.execute(text(f"DROP ROLE {role}"))


def test_the_first_two_commands_of_the_readme_run_the_example_and_the_tests() -> None:
    """Assert that they are the commands that .ci/run executes."""
    first, second = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[:2]

    assert "examples/quickstart.py" in first
    assert "-m pytest" in second


def test_links_of_the_documentation_have_targets() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
