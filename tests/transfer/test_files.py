"""Exports and imports of the job history: what goes out comes back in, on every database, however often and interrupted it is."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fine_tuning_store import (
    FineTuningJob,
    FineTuningStore,
    Hyperparameters,
    InvalidValueError,
    JobError,
    job_from_wire,
    job_to_wire,
)
from fine_tuning_store.transfer import ImportReport, imports
from fine_tuning_store.transfer import export_jobs as export
from fine_tuning_store.transfer import import_jobs as import_
from tests.support.databases import Database
from tests.support.factories import a_job, created, stored

FIXTURES = sorted((Path(__file__).parents[1] / "fixtures" / "jobs").glob("*.json"))
#: Recorded jobs, each with an id of its own.
PAYLOADS = [{**json.loads(path.read_text())["payload"], "id": f"ftjob-{path.stem}"} for path in FIXTURES]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[FineTuningStore]:
    """Another database, of SQLite."""
    with FineTuningStore.from_url(f"sqlite:///{tmp_path}/other.db") as store:
        store.schema.upgrade()
        yield store


@pytest.fixture
def history(store: FineTuningStore) -> FineTuningStore:
    """A store with jobs of every kind, and with everything that a job can have."""
    store.jobs.add_many(job_from_wire(payload, "org-1") for payload in PAYLOADS)
    store.jobs.add(job_from_wire(job_to_wire(a_job(status="running")) | {"status": "training"}, statuses={"training": "running"}))
    full = created(store, metadata={"z": "1", "a": "\U0001f600"}, suffix="mine", model="full")
    store.jobs.enqueue(full.id, actor="user", reason="because")
    lease = store.leases.claim("worker-1", models=["full"])
    assert lease is not None
    lease.append_event("Step 1", type="metrics", data={"step": 1, "train_loss": 1.25e-05, "nested": [None, {"a": 1.0}]})
    lease.append_event("\u2028 a line break to some")
    lease.add_checkpoint(step_number=2, fine_tuned_model_checkpoint="ft:m:2", metrics={"step": 2.0})
    lease.add_checkpoint(step_number=1, fine_tuned_model_checkpoint="ft:m:1")
    lease.succeed(fine_tuned_model="ft:m", trained_tokens=7, result_files=["file-b", "file-a"])
    store.checkpoint_permissions.create("ft:m", ["proj-2", "proj-1"])
    store.jobs.fail(store.jobs.enqueue(created(store, organization_id="org-2").id).id, JobError(code="c", message="m"))
    return store


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_an_export_that_is_imported_elsewhere_is_exported_equal(history: FineTuningStore, empty: FineTuningStore, tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("1.jsonl", "2.jsonl", "3.jsonl"))
    jobs = export(history, first)

    assert import_(empty, first) == ImportReport(read=jobs, added=jobs)
    assert export(empty, second) == jobs
    assert second.read_bytes() == first.read_bytes()
    assert import_(history, second).rejected == 0
    assert import_(empty, first) == ImportReport(read=jobs, unchanged=jobs)
    assert export(empty, third) == jobs
    assert third.read_bytes() == first.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if "jsonl" in path.name) == ["1.jsonl", "2.jsonl", "3.jsonl"]


def test_an_export_of_another_database_is_imported_into_this_one(history: FineTuningStore, database: Database, tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    export(history, first)
    with database.empty() as url, FineTuningStore.from_url(url) as other:
        other.schema.upgrade()
        assert import_(other, first).rejected == 0
        export(other, second)
        full = next(line for line in lines(second) if line["permissions"])
        assert other.jobs.list(metadata={"a": "\U0001f600"}).data[0].id == full["job"]["id"]
        assert [each.project_id for each in other.checkpoint_permissions.list("ft:m", organization_id="org-1")] == ["proj-1", "proj-2"]
        appended = other.events.append(full["job"]["id"], "later")
        assert appended.position == len(full["events"]) + 1
    assert second.read_bytes() == first.read_bytes()


def test_a_line_has_the_job_of_the_api_and_what_only_the_store_knows(history: FineTuningStore, tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    export(history, path, model="full", status="succeeded", created_since=datetime(2026, 1, 1, tzinfo=UTC))
    [line] = lines(path)

    job = history.jobs.get(line["job"]["id"])
    assert list(line) == ["job", "store", "events", "checkpoints", "permissions", "transitions"]
    assert line["job"] == job_to_wire(job)
    assert (line["store"]["attempt"], line["store"]["queued_seconds"]) == (1, job.queued_seconds)
    assert not {"worker_id", "lease_expires_at"} & line["store"].keys()
    assert [each["step_number"] for each in line["checkpoints"]] == [1, 2]
    assert [each["transition"] for each in line["transitions"]] == ["enqueue", "start", "succeed"]
    assert line["transitions"][0]["actor"] == "user"
    assert "worker-1" in json.dumps(line["transitions"])


def test_a_running_job_is_exported_without_its_lease(store: FineTuningStore, empty: FineTuningStore, tmp_path: Path) -> None:
    store.jobs.enqueue(created(store).id)
    lease = store.leases.claim("worker-1")
    assert lease is not None
    export(store, tmp_path / "jobs.jsonl")
    import_(empty, tmp_path / "jobs.jsonl")

    copy = empty.jobs.get(lease.job.id)
    assert copy == replace(lease.job, worker_id=None, lease_expires_at=None)
    assert empty.leases.rescue() == ()


def test_jobs_of_the_api_alone_are_imported_too(empty: FineTuningStore, tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text("".join(json.dumps(payload) + "\n\n" for payload in PAYLOADS))

    report = import_(empty, path, organization_id="org-9")

    assert (report.added, report.rejected) == (len(PAYLOADS), 0)
    assert empty.jobs.count(organization_id="org-9") == len(PAYLOADS)


def test_a_changed_line_replaces_the_job_and_adds_what_is_new(history: FineTuningStore, empty: FineTuningStore, tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    export(history, path)
    import_(empty, path)
    changed = lines(path)
    full = next(line for line in changed if line["permissions"])
    full["job"]["trained_tokens"] = 8
    full["events"].append({**full["events"][0], "id": "ftevent-new", "message": "new"})
    path.write_text("".join(json.dumps(line) + "\n" for line in changed))

    report = import_(empty, path)

    assert (report.merged, report.unchanged, report.rejected) == (1, len(changed) - 1, 0)
    id = full["job"]["id"]
    assert empty.jobs.get(id).trained_tokens == 8
    assert empty.events.list(id).data[0].message == "new"
    assert len(empty.transitions.list(id).data) == 3


def test_refused_lines_are_written_down_with_number_and_reason(empty: FineTuningStore, tmp_path: Path) -> None:
    good, other = job_to_wire(a_job()), job_to_wire(a_job())
    started = created(empty)
    empty.jobs.start(started.id)
    mine = empty.jobs.create(organization_id="org-7", model="m", training_file="f")
    event = {"id": "e", "created_at": 1, "message": "m"}
    given: list[Any] = [
        good,
        "no object",
        {**good, "id": "ftjob-new", "status": "training"},
        {**job_to_wire(started), "trained_tokens": 1},
        {**job_to_wire(mine), "organization_id": "org-1"},
        {"job": {**good, "id": "ftjob-twice"}, "events": [event, {**event, "message": "another"}]},
        {"job": {**good, "id": "ftjob-store"}, "store": {"worker_id": "w"}},
        {"job": {**good, "id": "ftjob-event"}, "events": [{"id": "e"}]},
        {"job": {**good, "id": "ftjob-part"}, "files": []},
        other,
    ]
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in given) + b'{"id": \xff}\n{"cut off": ')

    report = import_(empty, path)

    assert report == ImportReport(read=12, added=2, rejected=10)
    rejects = lines(tmp_path / "jobs.jsonl.rejects.jsonl")
    reasons = {reject["line"]: reject["reason"] for reject in rejects}
    assert sorted(reasons) == [2, 3, 4, 5, 6, 7, 8, 9, 11, 12]
    for number, words in (
        (2, "object"),
        (3, "status"),
        (4, "replace"),
        (5, mine.id),
        (6, "events[1].id"),
        (7, "store.worker_id"),
        (8, "events[0].created_at"),
        (9, "files"),
        (11, "JSON"),
        (12, "JSON"),
    ):
        assert words in reasons[number], (number, reasons[number])
    assert json.loads(next(reject["text"] for reject in rejects if reject["line"] == 9)) == given[8]
    assert {job.id for job in empty.jobs.iterate()} == {good["id"], other["id"], started.id, mine.id}


class StopError(Exception):
    pass


def test_an_interrupted_export_goes_on(sqlite_store: FineTuningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite_store.jobs.add_many(a_job() for _ in range(350))
    for suffix in (".jsonl", ".csv"):
        whole, path = tmp_path / f"whole{suffix}", tmp_path / f"jobs{suffix}"
        export(sqlite_store, whole)

        def stop(jobs: int) -> None:
            if jobs >= 200:
                raise StopError

        with pytest.raises(StopError):
            export(sqlite_store, path, progress=stop)
        with path.with_name(f"{path.name}.part").open("a") as part:
            part.write('{"half of a line')
        assert not path.exists()
        with pytest.raises(InvalidValueError, match="other filters"):
            export(sqlite_store, path, model="gpt-4o-mini")

        seen: list[int] = []
        assert export(sqlite_store, path, progress=seen.append) == 350
        assert seen[0] == 300
        assert path.read_bytes() == whole.read_bytes()
        assert [each for each in tmp_path.iterdir() if ".part" in each.name] == []


def test_an_interrupted_import_goes_on(
    history: FineTuningStore, empty: FineTuningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.jobs.add_many(a_job() for _ in range(250))
    path, copy = tmp_path / "jobs.jsonl", tmp_path / "copy.jsonl"
    jobs = export(history, path)

    def stop(_: ImportReport) -> None:
        raise StopError

    monkeypatch.setattr(imports, "BATCH_LINES", 100)
    with suppress(StopError):
        import_(empty, path, progress=stop)
    assert empty.jobs.count() == 100
    report = import_(empty, path)
    assert (report.unchanged, report.added, report.rejected) == (100, jobs - 100, 0)
    export(empty, copy)
    assert copy.read_bytes() == path.read_bytes()


def test_a_store_of_one_organization_exports_and_imports_its_own_jobs(
    history: FineTuningStore, empty: FineTuningStore, tmp_path: Path
) -> None:
    export(history, tmp_path / "all.jsonl")
    assert export(history.for_organization("org-2"), tmp_path / "theirs.jsonl") == 1

    report = import_(empty.for_organization("org-2"), tmp_path / "all.jsonl")

    assert (report.added, report.rejected) == (1, report.read - 1)
    assert [job.organization_id for job in empty.jobs.iterate()] == ["org-2"]


def test_csv_has_a_row_for_each_job_and_no_formula(sqlite_store: FineTuningStore, tmp_path: Path) -> None:
    job: FineTuningJob = stored(
        sqlite_store,
        created_at=1_700_000_000,
        suffix="=cmd()",
        metadata={"a": "line\nbreak, and comma"},
        result_files=("f1", "f2"),
        hyperparameters=Hyperparameters(n_epochs="auto", learning_rate_multiplier=0.5),
    )
    assert export(sqlite_store, tmp_path / "jobs.csv") == 1
    with (tmp_path / "jobs.csv").open(newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)

    assert (row["id"], row["created_at"], row["finished_at"]) == (job.id, "2023-11-14T22:13:20Z", "")
    assert (row["suffix"], row["result_files"], json.loads(row["metadata"])) == ("'=cmd()", "f1 f2", job.metadata)
    assert (row["n_epochs"], row["learning_rate_multiplier"]) == ("auto", "0.5")


def test_parquet_has_typed_columns(sqlite_store: FineTuningStore, tmp_path: Path) -> None:
    from pyarrow import parquet

    sqlite_store.jobs.add_many(a_job(created_at=1_700_000_000 + number, trained_tokens=number) for number in range(150))
    assert export(sqlite_store, tmp_path / "jobs.parquet") == 150

    table = parquet.read_table(tmp_path / "jobs.parquet")
    assert table.num_rows == 150
    first = table.slice(0, 1).to_pylist()[0]
    assert (first["created_at"], first["trained_tokens"], first["status"]) == (
        datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        0,
        "validating_files",
    )


def test_a_file_whose_format_is_unknown_is_refused(sqlite_store: FineTuningStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"\.jsonl"):
        export(sqlite_store, tmp_path / "jobs.xlsx")
    with pytest.raises(InvalidValueError, match="format"):
        export(sqlite_store, tmp_path / "jobs", format="xlsx")  # type: ignore[arg-type]
    assert export(sqlite_store, tmp_path / "jobs", format="csv") == 0
    with pytest.raises(FileNotFoundError):
        import_(sqlite_store, tmp_path / "none.jsonl")


def test_a_job_may_have_more_events_than_one_call_imports(sqlite_store: FineTuningStore, empty: FineTuningStore, tmp_path: Path) -> None:
    job = created(sqlite_store)
    for _ in range(2):
        sqlite_store.events.append_many(job.id, [{"message": str(number)} for number in range(6000)])
    path = tmp_path / "jobs.jsonl"
    export(sqlite_store, path)
    empty.jobs.add(replace(job, model="older"))

    assert import_(empty, path).merged == 1

    assert empty.events.list(job.id, limit=1).data[0].position == 12_000
    export(empty, tmp_path / "copy.jsonl")
    (first,), (second,) = lines(path), lines(tmp_path / "copy.jsonl")
    assert second["events"] == first["events"]
