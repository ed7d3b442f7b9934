"""`jobs list`: which jobs it lists, and in which forms."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from fine_tuning_store import FineTuningJob, FineTuningStore, Hyperparameters, JobError, JobFilters, JobStatus, Method, job_from_wire
from fine_tuning_store.cli.filters import Filters
from tests.cli.helpers import csv_of, json_of, printed, url_of
from tests.support.databases import ASYNC_DRIVERS, Database, with_driver
from tests.support.factories import stored
from tests.support.programs import fine_tuning_store

#: Options of `jobs list`, and the filters of the store that they stand for.
FILTERS: dict[tuple[str, ...], dict[str, Any]] = {
    ("--organization", "org-2"): {"organization_id": "org-2"},
    ("--status", "failed"): {"status": "failed"},
    ("--status", "failed", "--status", "queued"): {"status": ["failed", "queued"]},
    ("--model", "gpt-4o"): {"model": "gpt-4o"},
    ("--fine-tuned-model", "ft:b"): {"fine_tuned_model": "ft:b"},
    ("--method", "dpo"): {"method": "dpo"},
    ("--training-file", "file-b"): {"training_file": "file-b"},
    ("--validation-file", "file-v"): {"validation_file": "file-v"},
    ("--result-file", "file-r2"): {"result_file": "file-r2"},
    ("--suffix", "bot"): {"suffix": "bot"},
    ("--metadata", "team=nlp"): {"metadata": {"team": "nlp"}},
    ("--metadata", "team=nlp", "--metadata", "formula=a=b"): {"metadata": {"team": "nlp", "formula": "a=b"}},
    ("--has-metadata",): {"has_metadata": True},
    ("--no-metadata",): {"has_metadata": False},
    ("--error-code", "worker_lost"): {"error_code": "worker_lost"},
    ("--hyperparameter-at-least", "n_epochs=3"): {"hyperparameters_at_least": Hyperparameters(n_epochs=3)},
    ("--hyperparameter-at-most", "learning_rate_multiplier=0.5"): {
        "hyperparameters_at_most": Hyperparameters(learning_rate_multiplier=0.5)
    },
    ("--attempt", "2"): {"attempt": 2},
    ("--created-since", "2026-01-02"): {"created_since": 1_767_312_000},
    ("--since", "2026-01-02", "--until", "2026-01-03"): {"created_since": 1_767_312_000, "created_until": 1_767_398_400},
    ("--finished-since", "2026-01-03T01:00+01:00"): {"finished_since": 1_767_398_400},
    ("--finished-until", "1767398400"): {"finished_until": 1_767_398_400},
    ("--updated-since", "2026-01-03T00:00:00Z"): {"updated_since": 1_767_398_400},
    ("--updated-until", "2026-01-03"): {"updated_until": 1_767_398_400},
}
DAY = 86_400
START = 1_767_225_600  # 2026-01-01


def history(store: FineTuningStore) -> list[FineTuningJob]:
    return [
        stored(store, created_at=START, id="a", metadata={"team": "nlp", "formula": "a=b"}, suffix="bot", attempt=2),
        stored(
            store,
            created_at=START + DAY,
            finished_at=START + 2 * DAY - 1,
            updated_at=START + 2 * DAY - 1,
            id="b",
            status=JobStatus.SUCCEEDED,
            organization_id="org-2",
            training_file="file-b",
            validation_file="file-v",
            fine_tuned_model="ft:b",
            result_files=("file-r1", "file-r2"),
            hyperparameters=Hyperparameters(n_epochs=3, learning_rate_multiplier=0.5),
        ),
        stored(
            store,
            created_at=START + 2 * DAY,
            finished_at=START + 2 * DAY,
            updated_at=START + 2 * DAY,
            id="c",
            status=JobStatus.FAILED,
            model="gpt-4o",
            metadata={"team": "nlp"},
            method=Method(type="dpo"),
            error=JobError(code="worker_lost", message="The worker\ndid not respond."),
            hyperparameters=Hyperparameters(n_epochs=4, learning_rate_multiplier=2.0),
        ),
        stored(store, created_at=START + 3 * DAY, id="d", status=JobStatus.QUEUED),
    ]


def ids(*arguments: str, url: str) -> list[str]:
    return [job["id"] for job in json_of("jobs", "list", *arguments, url=url)["data"]]


def test_each_option_filters_as_the_store_does(sqlite_store: FineTuningStore) -> None:
    store, url = sqlite_store, url_of(sqlite_store)
    jobs = history(store)

    assert ids(url=url) == ["d", "c", "b", "a"]
    for options, filters in FILTERS.items():
        expected = [job.id for job in store.jobs.list(**filters)]
        assert 0 < len(expected) < len(jobs), options
        assert ids(*options, url=url) == expected, options


def test_every_filter_of_the_store_is_an_option() -> None:
    assert list(Filters().of_jobs()) == list(JobFilters.__annotations__)


def test_times_are_dates_unix_seconds_or_some_time_ago(sqlite_store: FineTuningStore) -> None:
    url = url_of(sqlite_store)
    for number, seconds in enumerate((10, 50 * 60, 20 * 3600, 6 * DAY, 13 * DAY)):
        stored(sqlite_store, id=f"{number}", created_at=int(time.time()) - seconds)

    assert [len(ids("--since", since, url=url)) for since in ("40s", "51m", "21h", "7d", "2w", " 2w ")] == [1, 2, 3, 4, 5, 5]
    assert ids("--since", "999999999w", "--until", "1m", url=url) == ["1", "2", "3", "4"]


def test_pages_follow_each_other_in_either_order(store: FineTuningStore, url: str) -> None:
    history(store)
    first = json_of("jobs", "list", "--limit", "3", "--order", "asc", url=url)
    second = json_of("jobs", "list", "--order", "asc", "--after", first["last_id"], url=url)

    assert (first["first_id"], first["last_id"], first["has_more"], second["has_more"]) == ("a", "c", True, False)
    assert [job["id"] for job in second["data"]] == ["d"]
    assert ids("--order-by", "finished_at", url=url) == ["c", "b"]
    as_text = fine_tuning_store("jobs", "list", "--limit", "3", url=url)
    assert (as_text.returncode, as_text.stderr) == (0, "more: --after b\n")


def test_json_has_the_object_of_the_api_and_the_members_of_the_store(store: FineTuningStore, url: str) -> None:
    history(store)
    (found,) = json_of("jobs", "list", "--attempt", "2", url=url)["data"]
    members = found.pop("store")

    assert job_from_wire(found).metadata == {"team": "nlp", "formula": "a=b"}
    assert (members["attempt"], members["queued_seconds"], members["worker_id"]) == (2, None, None)


def test_csv_has_readable_times_and_no_formulas(sqlite_store: FineTuningStore) -> None:
    store, url = sqlite_store, url_of(sqlite_store)
    history(store)
    evil_job = {"id": "=cmd|' /C calc'!A0", "model": '+"quoted",\tmodel', "suffix": "-1", "error": JobError(message="@x\x1b[")}
    stored(store, **evil_job, created_at=START + 9 * DAY)
    evil, _, failed, succeeded, _ = csv_of("jobs", "list", url=url)

    assert (evil["id"], evil["model"], evil["suffix"]) == ("'=cmd|' /C calc'!A0", '\'+"quoted", model', "'-1")
    assert evil["error_message"] == "'@x\N{REPLACEMENT CHARACTER}["
    assert (failed["created_at"], failed["error_code"], failed["n_epochs"]) == ("2026-01-03T00:00:00Z", "worker_lost", "4")
    assert json.loads(failed["metadata"]) == {"team": "nlp"}
    assert (succeeded["result_files"], succeeded["queued_at"], succeeded["status"]) == ("file-r1 file-r2", "", "succeeded")


def test_in_a_pipe_the_table_has_every_column_and_no_styles(sqlite_store: FineTuningStore) -> None:
    store, url = sqlite_store, url_of(sqlite_store)
    history(store)
    header, *lines = printed("jobs", "list", url=url).splitlines()

    assert header.split()[:5] == ["ID", "STATUS", "MODEL", "AGE", "CREATED"]
    assert [line.split()[0] for line in lines] == ["d", "c", "b", "a"]
    assert "worker_lost: The worker did not respond." in lines[1]
    assert "\x1b" not in header + "".join(lines)


def test_a_list_without_jobs_has_no_lines(sqlite_store: FineTuningStore) -> None:
    url = url_of(sqlite_store)
    as_text = fine_tuning_store("jobs", "list", url=url)

    assert (as_text.returncode, as_text.stdout, as_text.stderr) == (0, "", "no jobs\n")
    assert json_of("jobs", "list", url=url)["data"] == []
    assert csv_of("jobs", "list", url=url) == []


def test_a_url_of_an_async_driver_works_as_well(store: FineTuningStore, database: Database, url: str) -> None:
    history(store)
    for driver in ASYNC_DRIVERS[database.name]:
        named = with_driver(url, driver)

        assert ids("--status", "queued", url=named) == ["d"]
        assert printed("jobs", "pause", "d", url=named) == "d is paused\n"
        assert printed("jobs", "resume", "d", url=named) == "d is queued\n"
        assert json_of("stats", "queue", url=named)["queued"] == 1


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_tables_may_be_in_a_schema(empty_url: str) -> None:
    printed("db", "upgrade", "--schema", "fine_tuning", "--create-schema", url=empty_url)
    with FineTuningStore.from_url(empty_url, schema="fine_tuning") as store:
        stored(store, id="a")

    assert ids("--schema", "fine_tuning", url=empty_url) == ["a"]


def test_a_sqlite_file_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    for arguments in (("jobs", "list"), ("jobs", "stuck"), ("jobs", "watch", "--count", "1"), ("stats", "counts")):
        done = fine_tuning_store(*arguments, url=f"sqlite:///{tmp_path}/none.db")

        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("error: cannot read ")
        assert list(tmp_path.iterdir()) == []
