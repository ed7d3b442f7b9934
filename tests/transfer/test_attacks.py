"""What an attacker, a careless command or a broken provider could do with exports, imports and copies, and what happens instead."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from fine_tuning_store import FineTuningStore, InvalidValueError, job_to_wire
from fine_tuning_store.transfer import appending_histories, export_jobs, import_jobs
from fine_tuning_store.transfer.provider import import_from_provider
from tests.support.factories import a_job, created, stored


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def line_of(id: str, **parts: Any) -> dict[str, Any]:
    return {"job": job_to_wire(a_job(id=id)), **parts}


CHECKPOINT = {"id": "c", "created_at": 1, "fine_tuned_model_checkpoint": "evil", "metrics": {}, "step_number": 9}


def test_no_line_writes_to_another_job(store: FineTuningStore, tmp_path: Path) -> None:
    victim = stored(store, organization_id="org-victim")
    path = write(tmp_path / "jobs.jsonl", line_of("ftjob-evil", checkpoints=[{**CHECKPOINT, "fine_tuning_job_id": victim.id}]))

    for importer in (store, store.for_organization("org-1")):
        assert import_jobs(importer, path).rejected == 1
        assert store.checkpoints.list(victim.id).data == ()
    assert store.jobs.count() == 1


def test_a_refused_line_changes_nothing_about_the_others(store: FineTuningStore, tmp_path: Path) -> None:
    event = {"id": "e", "created_at": 1, "message": "m"}
    good = line_of("ftjob-good", store={"updated_at": 1_700_000_005, "attempt": 1})
    path = write(tmp_path / "jobs.jsonl", good, good, line_of("ftjob-bad", events=[event, {**event, "message": "n"}]))

    report = import_jobs(store, path)

    assert (report.added, report.unchanged + report.merged, report.rejected) == (1, 1, 1)
    assert store.jobs.get("ftjob-good").attempt == 1
    assert import_jobs(store, write(tmp_path / "good.jsonl", good)).unchanged == 1


def test_files_that_are_read_the_database_and_devices_are_not_overwritten(tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    with FineTuningStore.from_url(f"sqlite:///{database}") as store:
        store.schema.upgrade()
        created(store)
        source = write(tmp_path / "jobs.jsonl", {"id": 1})
        (tmp_path / "link").symlink_to(database)
        os.mkfifo(tmp_path / "pipe")  # a device of the system is not for tests that root runs
        for refused in (
            lambda: import_jobs(store, source, rejects=source),
            lambda: import_jobs(store, source, rejects=database),
            lambda: export_jobs(store, database, format="jsonl"),
            lambda: export_jobs(store, tmp_path / "link", format="csv"),
            lambda: export_jobs(store, f"{database}-wal", format="csv"),
            lambda: export_jobs(store, tmp_path / "pipe", format="csv"),
            lambda: import_jobs(store, source, rejects=tmp_path / "pipe"),
            lambda: export_jobs(store, tmp_path, format="csv"),
            lambda: appending_histories(store, database).__enter__(),
        ):
            with pytest.raises(InvalidValueError, match="must"):
                refused()
        assert store.jobs.count() == 1
        assert source.read_text() == '{"id": 1}\n'
        assert store.schema.damage() == ()
        (tmp_path / "copy.jsonl").symlink_to(tmp_path / "real.jsonl")
        assert export_jobs(store, tmp_path / "copy.jsonl") == 1
        assert (tmp_path / "real.jsonl").is_file()
        assert (tmp_path / "copy.jsonl").is_symlink()


class StopError(Exception):
    pass


def stop(_: object) -> None:
    raise StopError


def test_one_export_at_a_time_writes_a_file_and_only_of_its_own_database(sqlite_store: FineTuningStore, tmp_path: Path) -> None:
    sqlite_store.jobs.add_many(a_job() for _ in range(150))
    path = tmp_path / "jobs.jsonl"

    def export_again(jobs: int) -> None:
        if jobs == 100:
            with pytest.raises(InvalidValueError, match="another export"):
                export_jobs(sqlite_store, path)

    assert export_jobs(sqlite_store, path, progress=export_again) == 150
    assert len(path.read_text().splitlines()) == 150

    with pytest.raises(StopError):
        export_jobs(sqlite_store, path, created_since=5, words=["--since 7d"], progress=stop)
    with FineTuningStore.from_url(f"sqlite:///{tmp_path}/other.db") as other:
        other.schema.upgrade()
        with pytest.raises(InvalidValueError, match="another database"):
            export_jobs(other, path, words=["--since 7d"])
    assert export_jobs(sqlite_store, path, created_since=6, words=["--since 7d"]) == 150

    with pytest.raises(StopError):
        export_jobs(sqlite_store, path, progress=stop)
    for damaged in ("[]", '{"of": {}}', "{", '{"of": 1, "size": "x", "jobs": 1, "after": null}'):
        path.with_name("jobs.jsonl.part.json").write_text(damaged)
        assert export_jobs(sqlite_store, path) == 150


def test_an_exported_line_is_of_one_moment(store: FineTuningStore, tmp_path: Path) -> None:
    ended = threading.Event()

    def use() -> None:
        with FineTuningStore.from_url(store.engine.url.render_as_string(hide_password=False)) as other:
            while not ended.is_set():
                job = created(other)
                other.jobs.enqueue(job.id, message="queued")
                other.jobs.start(job.id, message="started")
                other.jobs.succeed(job.id, fine_tuned_model="ft:m", message="succeeded")

    user = threading.Thread(target=use)
    user.start()
    try:
        for number in range(15):
            path = tmp_path / f"{number}.jsonl"
            export_jobs(store, path)
            for line in map(json.loads, path.read_text().splitlines()):
                log = [each["to_status"] for each in line["transitions"]]
                assert line["job"]["status"] == (log or ["validating_files"])[-1]
                assert len(line["events"]) == len(log)
    finally:
        ended.set()
        user.join()


def provider_of(*jobs: dict[str, Any], **parts: Any) -> OpenAI:
    """The client of a provider that sends these jobs, and `parts` (`events`, `checkpoints`) of the second of them."""

    def respond(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/v1/fine_tuning/jobs")
        if not path:
            return httpx2.Response(200, json={"object": "list", "data": list(jobs), "has_more": False})
        _, id, part = path.split("/")
        rows = parts.get(part, []) if id == jobs[1]["id"] else []
        return httpx2.Response(200, json={"object": "list", "data": rows, "has_more": False})

    transport = httpx2.MockTransport(respond)
    return OpenAI(api_key="k", base_url="http://provider/v1", http_client=httpx2.Client(transport=transport), max_retries=0)


@pytest.mark.parametrize(
    "parts",
    [
        {"events": [{"id": "e", "created_at": 1, "message": "a\0b"}]},
        {"events": [None]},
        {"checkpoints": [{**CHECKPOINT, "step_number": "x"}]},
        {"checkpoints": [None]},
    ],
)
def test_a_job_that_a_provider_sends_in_pieces_is_refused_and_the_others_are_copied(
    sqlite_store: FineTuningStore, parts: dict[str, Any]
) -> None:
    jobs = [job_to_wire(a_job()) for _ in range(3)]
    with provider_of(*jobs, **parts) as client:
        report = import_from_provider(sqlite_store, client)

    assert (report.added, list(report.reasons)) == (2, [jobs[1]["id"]])
    assert {job.id for job in sqlite_store.jobs.iterate()} == {jobs[0]["id"], jobs[2]["id"]}


@pytest.mark.parametrize("content", ["<html>", "[]", '{"data": 1}', "[" * 5000])
def test_a_server_that_is_no_provider_is_recognised(sqlite_store: FineTuningStore, content: str) -> None:
    from openai import OpenAIError

    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, text=content))
    with OpenAI(api_key="k", base_url="http://h", http_client=httpx2.Client(transport=transport)) as client:
        with pytest.raises(OpenAIError, match="/v1"):
            import_from_provider(sqlite_store, client)


def test_pages_that_go_round_in_a_circle_end(sqlite_store: FineTuningStore) -> None:
    first, second = (job_to_wire(a_job()) for _ in range(2))

    def respond(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.count("/") > 3:
            return httpx2.Response(200, json={"data": [], "has_more": False})
        job = second if request.url.params.get("after") == first["id"] else first
        return httpx2.Response(200, json={"data": [job], "has_more": True})

    with OpenAI(api_key="k", base_url="http://h/v1", http_client=httpx2.Client(transport=httpx2.MockTransport(respond))) as client:
        assert import_from_provider(sqlite_store, client).added == 2


def test_file_ids_of_any_kind_stay_in_the_folder(sqlite_store: FineTuningStore, tmp_path: Path) -> None:
    ids = ["..", ".", "../evil", "x" * 300, "é" * 100, "a/b"]
    jobs = [job_to_wire(replace(a_job(), training_file=id)) for id in ids]

    def respond(request: httpx2.Request) -> httpx2.Response:
        if "/files/" in request.url.path:
            content = request.url.path.endswith("/content")
            return httpx2.Response(200, content=b"12345") if content else httpx2.Response(200, json={"id": "f", "bytes": 5})
        data = jobs if request.url.path.endswith("/jobs") else []
        return httpx2.Response(200, json={"data": data, "has_more": False})

    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "manifest.jsonl").write_bytes(b'[]\n{"x": 1}\n{"id": "f", "sha256": "x"}\n\xff\n{"cut')
    with OpenAI(api_key="k", base_url="http://h/v1", http_client=httpx2.Client(transport=httpx2.MockTransport(respond))) as client:
        report = import_from_provider(sqlite_store, client, files=folder)

    assert report.added == len(ids)
    assert report.files + report.gone["files"] == len(ids)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    assert len(list(folder.iterdir())) == report.files + 1
