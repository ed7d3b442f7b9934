"""While a service is deployed, code of two releases works on one database: the schema goes first, the code follows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from fine_tuning_store import FineTuningStore, SchemaVersionError
from fine_tuning_store.schema import SCHEMA_NUMBER
from tests.support.databases import Database
from tests.support.factories import created
from tests.support.future_release import ROOT, alembic, release_to_come
from tests.support.past_release import LATER_REVISIONS, code_before

pytestmark = pytest.mark.timeout(600)

#: What earlier code does all day, in names that it knows. It stops when it is told to, and prints how often it did it.
DAY = """
import sys
from threading import Event, Thread
from fine_tuning_store import FineTuningStore, JobError

stop = Event()
open_store = getattr(FineTuningStore, "from_url", None) or FineTuningStore.connect  # before 0.1 was released, names changed
Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
rounds = 0
with open_store(sys.argv[1]) as store:
    jobs = store.jobs
    requeue = getattr(jobs, "requeue", None) or jobs.give_back
    while rounds < 2 or not stop.is_set():
        of_this_round = {"round": str(rounds)}
        one, other, third = (
            jobs.create(organization_id="org-old", model="m", training_file="f", metadata=of_this_round).id for _ in range(3)
        )
        for move in (jobs.enqueue, jobs.start, jobs.pause, jobs.resume, jobs.start, requeue, jobs.start):
            move(one)
        assert jobs.succeed(one, fine_tuned_model="ft:m", result_files=["file-r"]).status == "succeeded"
        jobs.start(other)
        assert jobs.fail(other, JobError(code="c", message="It broke.")).error.code == "c"
        assert jobs.cancel(third).status == "cancelled"
        assert [job.id for job in jobs.list(metadata=of_this_round, limit=3)] == [third, other, one]
        assert [job.id for job in jobs.list(metadata=of_this_round, status="failed", organization_id="org-old")] == [other]
        assert jobs.get(one).result_files == ("file-r",)
        for ended in (one, other, third):
            jobs.delete(ended)
        rounds += 1
        if rounds == 1:
            print("at work", flush=True)
print(rounds)
"""

#: Has the contract of earlier code meet tables that today's code has made.
BY_TODAY = """
import os, subprocess, sys
try:
    from tests.support import databases
except ImportError:  # a release of before tests had folders
    from tests import databases

UPGRADE = "import sys, fine_tuning_store as today; today.FineTuningStore.from_url(sys.argv[1]).schema.upgrade()"
today = os.environ["TODAY"]
environment = {**os.environ, "PYTHONPATH": today}
assert databases._migrate
databases._migrate = lambda url: subprocess.run([sys.executable, "-c", UPGRADE, url], check=True, cwd=today, env=environment)
"""
CONTRACT = [
    f"tests/{folder}test_{name}.py"
    for folder in ("", "contract/")
    for name in ("jobs", "moves", "transitions", "lists", "units", "tenancy")
]


@pytest.fixture(params=LATER_REVISIONS)
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The last code of before each revision."""
    (tmp_path / "earlier").mkdir()
    return code_before(request.param, tmp_path / "earlier")


@contextmanager
def at_work(code: Path, url: str) -> Iterator[None]:
    """Other code that works on the database throughout the block, and never fails."""
    process = subprocess.Popen(
        [sys.executable, "-c", DAY, url],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        begun = process.stdout.readline()
        try:
            yield
        finally:
            rounds, complaints = process.communicate(timeout=120)
    assert (begun, process.returncode) == ("at work\n", 0), complaints
    assert int(rounds) >= 2


def revision_before(earlier: Path) -> str:
    """The revision that earlier code is of."""
    return f"fine_tuning_store_{max((earlier / 'migrations' / 'versions').glob('*.py')).name[:4]}"


def test_earlier_code_works_while_the_schema_is_upgraded_under_it_and_after(database: Database, earlier: Path) -> None:
    with database.empty() as url, FineTuningStore.from_url(url) as store:
        store.schema.upgrade(revision_before(earlier))
        with at_work(earlier, url):
            store.schema.upgrade()
            job = created(store)
        with at_work(earlier, url):
            store.jobs.start(job.id, message="started")
            store.events.append(job.id, "beside it")

        assert store.schema.check() == ()
        assert [event.position for event in store.events.list(job.id)] == [2, 1]
        assert [found.id for found in store.jobs.list()] == [job.id]


def test_the_contract_of_earlier_code_holds_on_todays_schema(database: Database, earlier: Path) -> None:
    (earlier / "by_today.py").write_text(BY_TODAY)
    files = [name for name in CONTRACT if (earlier / name).exists()]
    contract = [sys.executable, "-m", "pytest", "-q", "-p", "by_today", "-p", "no:cacheprovider", "-k", database.name, *files]
    environment = {**os.environ, "PYTHONPATH": str(earlier), "TODAY": str(ROOT), "PGOPTIONS": "-c synchronous_commit=off"}
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


def future(folder: Path, oldest: int) -> Path:
    """The migrations of the next release, which code of this number and later may use."""
    number = SCHEMA_NUMBER + 1
    revision = folder / f"{number:04}_later.py"
    revision.write_text(FUTURE.format(number=number, before=SCHEMA_NUMBER, oldest=oldest))
    (folder / "release").mkdir()
    return release_to_come(folder / "release", revision)


def test_todays_code_works_on_a_later_schema_that_allows_it(empty_url: str, tmp_path: Path) -> None:
    release = future(tmp_path, oldest=SCHEMA_NUMBER)
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
        with at_work(ROOT, empty_url):
            alembic(release, empty_url, "upgrade", "head")
        with FineTuningStore.from_url(empty_url) as opened_later, at_work(ROOT, empty_url):
            opened_later.schema.require_usable()
            opened_later.schema.upgrade()  # what each start of a service does, also after a rollback of its code
            assert opened_later.schema.current() == f"fine_tuning_store_{SCHEMA_NUMBER + 1:04}"
            job = created(opened_later, metadata={"team": "nlp"})
            assert opened_later.jobs.start(job.id, message="started").status == "running"
            assert [found.id for found in opened_later.jobs.list(metadata={"team": "nlp"})] == [job.id]
        alembic(release, empty_url, "downgrade", store.schema.head())

        assert store.schema.check() == ()
        assert store.jobs.get(job.id).status == "running"


def test_todays_code_refuses_a_later_schema_that_does_not_allow_it_and_says_both_numbers(empty_url: str, tmp_path: Path) -> None:
    alembic(future(tmp_path, oldest=SCHEMA_NUMBER + 1), empty_url, "upgrade", "head")
    with FineTuningStore.from_url(empty_url) as store:
        for refused in (store.schema.require_usable, store.schema.upgrade, store.jobs.list):
            with pytest.raises(SchemaVersionError, match=rf"{SCHEMA_NUMBER + 1}.*{SCHEMA_NUMBER}"):
                refused()


def test_todays_code_refuses_an_earlier_schema_and_says_both_numbers(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade("fine_tuning_store_0001")
        with pytest.raises(SchemaVersionError, match=rf"1.*{SCHEMA_NUMBER}"):
            store.jobs.list()
        with store.engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM fine_tuning_jobs")) == 0
