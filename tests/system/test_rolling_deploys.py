"""During a rolling deployment, code of two releases works on one database: the schema is upgraded first, then the code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from fine_tuning_store import FineTuningStore, JobStatus, SchemaVersionError, StaleLeaseError, job_from_wire, job_to_wire
from fine_tuning_store.schema import SCHEMA_NUMBER
from tests.support.databases import Database
from tests.support.factories import created
from tests.support.future_release import ROOT, alembic, release_to_come
from tests.support.past_release import LATER_REVISIONS, code_before

pytestmark = pytest.mark.timeout(600)

#: A program for earlier code, with the names it knows. It runs until its stdin is closed, and prints the number of rounds.
WORK = """
import sys
from threading import Event, Thread
from fine_tuning_store import FineTuningStore, JobError

stop = Event()
open_store = getattr(FineTuningStore, "from_url", None) or FineTuningStore.connect  # renamed before the release of 0.1
Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
rounds = 0
with open_store(sys.argv[1]) as store:
    jobs = store.jobs
    requeue = getattr(jobs, "requeue", None) or jobs.give_back
    while rounds < 2 or not stop.is_set():
        metadata = {"round": str(rounds)}
        one, other, third = (
            jobs.create(organization_id="org-old", model="m", training_file="f", metadata=metadata).id for _ in range(3)
        )
        for transition in (jobs.enqueue, jobs.start, jobs.pause, jobs.resume, jobs.start, requeue, jobs.start):
            transition(one)
        assert jobs.succeed(one, fine_tuned_model="ft:m", result_files=["file-r"]).status == "succeeded"
        jobs.start(other)
        assert jobs.fail(other, JobError(code="c", message="It broke.")).error.code == "c"
        assert jobs.cancel(third).status == "cancelled"
        assert [job.id for job in jobs.list(metadata=metadata, limit=3)] == [third, other, one]
        assert [job.id for job in jobs.list(metadata=metadata, status="failed", organization_id="org-old")] == [other]
        assert jobs.get(one).result_files == ("file-r",)
        for ended in (one, other, third):
            jobs.delete(ended)
        rounds += 1
        if rounds == 1:
            print("at work", flush=True)
print(rounds)
"""

#: A pytest plugin for the contract tests of earlier code: current code creates the tables.
CURRENT_SCHEMA_PLUGIN = """
import os, subprocess, sys
try:
    from tests.support import databases
except ImportError:  # a release in which tests had no folders
    from tests import databases

UPGRADE = "import sys, fine_tuning_store as current; current.FineTuningStore.from_url(sys.argv[1]).schema.upgrade()"
current = os.environ["CURRENT_CODE"]
environment = {**os.environ, "PYTHONPATH": current}
assert databases._migrate
databases._migrate = lambda url: subprocess.run([sys.executable, "-c", UPGRADE, url], check=True, cwd=current, env=environment)
"""
CONTRACT = [
    f"tests/{folder}test_{name}.py"
    for folder in ("", "contract/")
    for name in ("jobs", "moves", "transitions", "lists", "units", "tenancy")
]


@pytest.fixture(params=LATER_REVISIONS)
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The path of the last code before each revision."""
    (tmp_path / "earlier").mkdir()
    return code_before(request.param, tmp_path / "earlier")


@contextmanager
def working(code: Path, url: str) -> Iterator[None]:
    """Run other code on the database during the block, and assert that it never fails."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, url],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        first_line = process.stdout.readline()
        try:
            yield
        finally:
            rounds, errors = process.communicate(timeout=120)
    assert (first_line, process.returncode) == ("at work\n", 0), errors
    assert int(rounds) >= 2


def revision_before(earlier: Path) -> str:
    """Return the head revision of earlier code."""
    return f"fine_tuning_store_{max((earlier / 'migrations' / 'versions').glob('*.py')).name[:4]}"


def test_earlier_code_works_during_an_upgrade_of_the_schema_and_afterwards(database: Database, earlier: Path) -> None:
    with database.empty() as url, FineTuningStore.from_url(url) as store:
        store.schema.upgrade(revision_before(earlier))
        with working(earlier, url):
            store.schema.upgrade()
            job = created(store)
        with working(earlier, url):
            store.jobs.start(job.id, message="started")
            store.events.append(job.id, "concurrently")

        assert store.schema.check() == ()
        assert [event.position for event in store.events.list(job.id)] == [2, 1]
        assert [found.id for found in store.jobs.list()] == [job.id]


CALL = """
import sys
from fine_tuning_store import FineTuningStore
with FineTuningStore.from_url(sys.argv[1]) as store:
    for verb in sys.argv[3:]:
        getattr(store.jobs, verb)(sys.argv[2])
"""


def call_earlier(code: Path, url: str, id: str, *verbs: str) -> None:
    """Let earlier code make transitions of a job."""
    environment = {**os.environ, "PYTHONPATH": str(code)}
    subprocess.run([sys.executable, "-c", CALL, url, id, *verbs], cwd=code, env=environment, check=True)


def test_a_word_of_another_server_is_not_written_after_a_transition_of_earlier_code(url: str, tmp_path: Path) -> None:
    """That code leaves `wire_status` as it is."""
    earlier = code_before("0009_add_wire_status.py", tmp_path)
    with FineTuningStore.from_url(url) as store:
        payload = job_to_wire(created(store)) | {"id": "ftjob-other", "status": "training"}
        store.jobs.add(job_from_wire(payload, statuses={"training": "running"}))

        call_earlier(earlier, url, "ftjob-other", "pause")

        paused = store.jobs.get("ftjob-other")
        assert paused.wire_status == "running:training"
        assert job_to_wire(paused)["status"] == "paused"


def test_a_lease_notices_what_earlier_code_does_with_its_job(url: str, tmp_path: Path) -> None:
    """That code knows no leases: it leaves their columns as they are."""
    earlier = code_before("0010_add_leases.py", tmp_path)
    with FineTuningStore.from_url(url) as store:
        job = store.jobs.enqueue(created(store).id)
        lease = store.leases.claim("worker")
        assert lease is not None

        call_earlier(earlier, url, job.id, "pause")
        assert lease.heartbeat() is JobStatus.PAUSED
        lease.append_event("until here")
        call_earlier(earlier, url, job.id, "resume", "start")
        with pytest.raises(StaleLeaseError):
            lease.heartbeat()
        with pytest.raises(StaleLeaseError):
            lease.succeed(fine_tuned_model="ft:m")
        assert store.jobs.get(job.id).status is JobStatus.RUNNING
        call_earlier(earlier, url, job.id, "requeue")

        later = store.jobs.enqueue(created(store).id)
        fresh = created(store)
        call_earlier(earlier, url, fresh.id, "enqueue")
        claimed = [store.leases.claim("worker") for _ in range(3)]
        assert [each.job.id for each in claimed if each] == [fresh.id, job.id, later.id]
        assert [each.attempt for each in claimed if each] == [1, 3, 1]
        call_earlier(earlier, url, job.id, "cancel")
        assert claimed[1] is not None
        assert claimed[1].heartbeat() is JobStatus.CANCELLED
        assert store.leases.rescue() == ()


def test_the_contract_tests_of_earlier_code_pass_on_the_current_schema(database: Database, earlier: Path) -> None:
    (earlier / "current_schema.py").write_text(CURRENT_SCHEMA_PLUGIN)
    files = [name for name in CONTRACT if (earlier / name).exists()]
    contract = [sys.executable, "-m", "pytest", "-q", "-p", "current_schema", "-p", "no:cacheprovider", "-k", database.name, *files]
    environment = {**os.environ, "PYTHONPATH": str(earlier), "CURRENT_CODE": str(ROOT), "PGOPTIONS": "-c synchronous_commit=off"}
    done = subprocess.run(contract, cwd=earlier, env=environment, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


FUTURE = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "fine_tuning_store_{number:04}", "fine_tuning_store_{before:04}", None, None


def upgrade():
    op.add_column("fine_tuning_jobs", sa.Column("later", sa.String(10)))
    op.execute("UPDATE fine_tuning_store_compatibility SET schema_number = {number}, oldest_code_number = {oldest}")


def downgrade():
    op.execute("UPDATE fine_tuning_store_compatibility SET schema_number = {before}, oldest_code_number = 1")
    op.drop_column("fine_tuning_jobs", "later")
"""


def next_release(folder: Path, oldest: int) -> Path:
    """Write the migrations of the next release, whose schema allows code with the number `oldest` or later."""
    number = SCHEMA_NUMBER + 1
    revision = folder / f"{number:04}_later.py"
    revision.write_text(FUTURE.format(number=number, before=SCHEMA_NUMBER, oldest=oldest))
    (folder / "release").mkdir()
    return release_to_come(folder / "release", revision)


def test_current_code_works_on_a_later_schema_that_allows_it(empty_url: str, tmp_path: Path) -> None:
    release = next_release(tmp_path, oldest=SCHEMA_NUMBER)
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
        with working(ROOT, empty_url):
            alembic(release, empty_url, "upgrade", "head")
        with FineTuningStore.from_url(empty_url) as opened_later, working(ROOT, empty_url):
            opened_later.schema.require_usable()
            opened_later.schema.upgrade()  # as every start of a service does, even after its code was rolled back
            assert opened_later.schema.current() == f"fine_tuning_store_{SCHEMA_NUMBER + 1:04}"
            job = created(opened_later, metadata={"team": "nlp"})
            assert opened_later.jobs.start(job.id, message="started").status == "running"
            assert [found.id for found in opened_later.jobs.list(metadata={"team": "nlp"})] == [job.id]
        alembic(release, empty_url, "downgrade", store.schema.head())

        assert store.schema.check() == ()
        assert store.jobs.get(job.id).status == "running"


def test_current_code_refuses_a_later_schema_that_does_not_allow_it_and_names_both_numbers(empty_url: str, tmp_path: Path) -> None:
    alembic(next_release(tmp_path, oldest=SCHEMA_NUMBER + 1), empty_url, "upgrade", "head")
    with FineTuningStore.from_url(empty_url) as store:
        for refused in (store.schema.require_usable, store.schema.upgrade, store.jobs.list):
            with pytest.raises(SchemaVersionError, match=rf"{SCHEMA_NUMBER + 1}.*{SCHEMA_NUMBER}"):
                refused()


def test_current_code_refuses_an_earlier_schema_and_names_both_numbers(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade("fine_tuning_store_0001")
        with pytest.raises(SchemaVersionError, match=rf"1.*{SCHEMA_NUMBER}"):
            store.jobs.list()
        with store.engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM fine_tuning_jobs")) == 0
