"""The commands that export and import jobs, copy those of a provider, and write the report."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fine_tuning_store import FineTuningStore, job_to_wire
from tests.cli.helpers import json_of, printed, refusal, url_of
from tests.support.factories import a_job, created
from tests.support.programs import COMMAND, fine_tuning_store
from tests.support.service import Service, running


@pytest.fixture
def other(tmp_path: Path) -> str:
    """The URL of another database, of SQLite."""
    url = f"sqlite:///{tmp_path}/other.db"
    with FineTuningStore.from_url(url) as store:
        store.schema.upgrade()
    return url


def test_jobs_are_exported_and_imported_elsewhere(store: FineTuningStore, other: str, tmp_path: Path) -> None:
    for number in range(3):
        created(store, metadata={"number": str(number)})
    file = str(tmp_path / "jobs.jsonl")

    assert printed("jobs", "export", file, url=url_of(store)) == f"3 jobs in {file}\n"
    assert json_of("jobs", "export", file, "--metadata", "number=1", url=url_of(store)) == {"file": file, "jobs": 1}
    printed("jobs", "export", file, url=url_of(store))
    assert printed("jobs", "import", file, url=other) == "3 jobs added, 0 brought up to date, 0 unchanged\n"
    report = {"read": 3, "added": 0, "merged": 0, "unchanged": 3, "rejected": 0}
    assert json_of("jobs", "import", file, url=other) == report


def test_refused_lines_are_counted_and_the_exit_code_says_so(sqlite_store: FineTuningStore, tmp_path: Path) -> None:
    file, rejects = tmp_path / "jobs.jsonl", tmp_path / "refused"
    file.write_text('{"id": 1}\n')

    output = printed("jobs", "import", str(file), "--rejects", str(rejects), url=url_of(sqlite_store), code=1)

    assert output == f"0 jobs added, 0 brought up to date, 0 unchanged, 1 refused: the lines are in {rejects}\n"
    assert json.loads(rejects.read_text())["line"] == 1


def test_an_import_may_name_the_organization(sqlite_store: FineTuningStore, other: str, tmp_path: Path) -> None:
    sqlite_store.jobs.add(a_job())
    file = str(tmp_path / "jobs.jsonl")
    printed("jobs", "export", file, url=url_of(sqlite_store))
    printed("jobs", "import", file, "--organization", "org-9", url=other)
    assert [job["organization_id"] for job in json_of("jobs", "list", url=other)["data"]] == ["org-9"]
    assert "1 refused" in printed("jobs", "import", file, url=other, code=1)  # it is of another organization there


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("provider")
    with running(f"sqlite:///{folder}/jobs.db", files=folder / "files") as [service]:
        with FineTuningStore.from_url(service.url) as store:
            for _ in range(2):
                created(store)
        yield service


def test_the_history_of_a_provider_is_copied(
    service: Service, store: FineTuningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-1")
    monkeypatch.setenv("OPENAI_BASE_URL", service.base_url)
    folder = str(tmp_path / "files")

    assert printed("jobs", "import", "--from-openai", "--files", folder, url=url_of(store)).splitlines() == [
        "2 jobs added, 0 brought up to date, 0 unchanged",
        f"0 events, 0 checkpoints and 0 permissions were read; 0 files are in {folder}",
        "the provider did not give: files (1)",
    ]
    assert json_of("jobs", "import", "--from-openai", url=url_of(store))["merged"] == 0
    with FineTuningStore.from_url(service.url) as provider:
        assert {job.id for job in store.jobs.iterate()} == {job.id for job in provider.jobs.iterate()}


def test_what_is_wrong_with_a_provider_is_said_in_a_line(
    service: Service, sqlite_store: FineTuningStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    url = url_of(sqlite_store)
    assert "OPENAI_API_KEY" in refusal("jobs", "import", "--from-openai", url=url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "key")
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    assert "AZURE_OPENAI_ENDPOINT" in refusal("jobs", "import", "--from-azure", url=url)
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    monkeypatch.setenv("OPENAI_BASE_URL", service.base_url)
    assert "Incorrect API key" in refusal("jobs", "import", "--from-openai", url=url)


def test_wrong_use_is_refused(sqlite_store: FineTuningStore, tmp_path: Path) -> None:
    url, file = url_of(sqlite_store), str(tmp_path / "jobs.jsonl")
    assert "give one of FILE" in refusal("jobs", "import", url=url, code=2)
    assert "give one of FILE" in refusal("jobs", "import", file, "--from-openai", url=url, code=2)
    assert "cannot be combined" in refusal("jobs", "import", file, "--again", url=url, code=2)
    assert "cannot be combined" in refusal("jobs", "import", "--from-openai", "--rejects", file, url=url, code=2)
    assert refusal("jobs", "import", file, url=url) == f"{file}: No such file or directory"
    assert "must end with .jsonl" in refusal("jobs", "export", str(tmp_path / "jobs.xls"), url=url, code=2)
    assert refusal("jobs", "export", str(tmp_path / "none" / "jobs.csv"), url=url).endswith("No such file or directory")
    assert refusal("report", "--html", str(tmp_path / "none" / "r.html"), url=url).endswith("No such file or directory")
    assert "ftjob-unknown" in refusal("report", "--html", str(tmp_path / "r.html"), "--job", "ftjob-unknown", url=url)
    assert list(tmp_path.glob("*.html")) == []


def test_the_report_is_written(store: FineTuningStore, tmp_path: Path) -> None:
    job = created(store)
    file = tmp_path / "report.html"

    assert printed("report", "--html", str(file), "--job", job.id, "--since", "7d", url=url_of(store)) == f"the report is in {file}\n"

    page = file.read_text(encoding="utf-8")
    assert "Jobs over time" in page
    assert job.id in page
    assert json_of("report", "--html", str(file), url=url_of(store))["bytes"] == file.stat().st_size


def test_help_has_examples(sqlite_store: FineTuningStore) -> None:
    for command in (("jobs", "export"), ("jobs", "import"), ("report",)):
        done = fine_tuning_store(*command, "--help", url=url_of(sqlite_store))
        assert f"fine-tuning-store {' '.join(command)} " in done.stdout.partition("Examples:")[2]


def test_a_pipe_is_imported(sqlite_store: FineTuningStore, tmp_path: Path) -> None:
    lines = json.dumps(job_to_wire(a_job())) + "\n"
    command = [*COMMAND, "jobs", "import", "/dev/stdin", "--rejects", str(tmp_path / "rejects")]
    environment = {**os.environ, "FINE_TUNING_STORE_URL": url_of(sqlite_store)}

    done = subprocess.run(command, input=lines, env=environment, capture_output=True, text=True, check=False)

    assert done.stdout == "1 jobs added, 0 brought up to date, 0 unchanged\n", done
