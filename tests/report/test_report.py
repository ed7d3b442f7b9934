"""The HTML report: its figures, its independence of everything else, and what it refuses."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from fine_tuning_store import FineTuningStore, InvalidValueError, JobError, JobNotFoundError, MissingExtraError
from fine_tuning_store.losses import read_losses
from fine_tuning_store.report import html_report
from fine_tuning_store.report.sections import MAX_BUCKETS
from tests.support.factories import created, stored

DAY = 86_400
JANUARY = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())


class Page(HTMLParser):
    """The parts of a report: the rows of each table by the title of its section, the charts, and everything that could load something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.charts: dict[str, list[str]] = {}  # the labels of the marks
        self.loads: list[str] = []
        self.tags: list[str] = []
        self._title: list[str] = []
        self._in = ""
        self.feed(html)

    @property
    def title(self) -> str:
        return "".join(self._title)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action", "data")]
        self.loads += [name for name in given if name.startswith("on")]
        if tag == "h2":
            self._title = []
        if tag == "svg":
            self.charts[self.title] = []
        if tag == "tr":
            self.tables.setdefault(self.title, []).append([])
        if tag in ("td", "th"):
            self.tables[self.title][-1].append("")
        if "aria-label" in given and self.charts.get(self.title) is not None and tag != "div":
            self.charts[self.title].append(given["aria-label"] or "")
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "h2":
            self._title.append(data)
        elif self._in in ("td", "th"):
            self.tables[self.title][-1][-1] += data


def report(store: FineTuningStore, **arguments: Any) -> Page:
    return Page(html_report(store, **arguments))


@pytest.fixture
def history(store: FineTuningStore) -> FineTuningStore:
    """Two days of jobs of two organizations."""
    ended: dict[str, Any] = {"status": "succeeded", "fine_tuned_model": "ft:m", "queued_seconds": 60, "running_seconds": 600}
    for number in range(3):
        stored(store, created_at=JANUARY + number, finished_at=JANUARY + 700, trained_tokens=1000, **ended)
    error = JobError(code="loss_diverged", message="It diverged.")
    stored(store, created_at=JANUARY + DAY, finished_at=JANUARY + DAY, status="failed", error=error, model="gpt-4o")
    stored(store, created_at=JANUARY + DAY, status="failed", error=error, organization_id="org-2")
    stored(store, created_at=JANUARY + DAY + 5, status="queued", organization_id="org-2")
    return store


def test_each_part_shows_the_figures_of_the_store(history: FineTuningStore) -> None:
    page = report(history, bucket="day")

    assert page.tables["Jobs over time"][1:] == [["2026-01-01", "3", "3", "0", "0", "0"], ["2026-01-02", "3", "0", "2", "0", "1"]]
    assert page.tables["Success rate by model"][1:] == [["gpt-4o-mini", "5", "3", "1", "75.0%"], ["gpt-4o", "1", "0", "1", "0.0%"]]
    assert page.tables["Tokens by organization"][1:] == [["org-1", "4", "3,000"], ["org-2", "2", "0"]]
    assert page.tables["Waiting times"][1:] == [["2026-01-01", "3", "1.0", "1.0", "1.0"]]
    assert page.tables["Running times"][1:] == [["2026-01-01", "3", "10.0", "10.0", "10.0"]]
    [code] = page.tables["Error codes"][1:]
    assert code[:2] == ["loss_diverged", "2"]
    assert list(page.charts) == list(page.tables)
    assert any("succeeded" in label and "3" in label for label in page.charts["Jobs over time"])


def test_the_filters_and_the_organization_of_a_store_restrict_it(history: FineTuningStore) -> None:
    assert [row[0] for row in report(history.for_organization("org-2")).tables["Tokens by organization"][1:]] == ["org-2"]
    page = report(history, created_since=JANUARY + DAY, model="gpt-4o")
    assert page.tables["Jobs over time"][1:] == [["2026-01-02 00:00", "1", "0", "1", "0", "0"]]
    assert "model: gpt-4o" in html_report(history, model="gpt-4o", created_since=datetime(2026, 1, 1, tzinfo=UTC))


def test_the_losses_of_chosen_jobs_are_drawn_from_events_and_checkpoints(store: FineTuningStore) -> None:
    job = created(store)
    store.jobs.start(job.id)
    for step in (1, 2, 3):
        store.events.append(job.id, "step", type="metrics", data={"step": step, "train_loss": 3 / step, "valid_loss": "none"})
    store.checkpoints.create(job.id, step_number=3, fine_tuned_model_checkpoint="ft:c", metrics={"valid_loss": 1.5})

    assert read_losses(store, job.id) == {"train_loss": [(1, 3), (2, 1.5), (3, 1)], "valid_loss": [(3, 1.5)]}
    page = report(store, jobs=[job.id])
    assert page.tables[f"Job {job.id}"] == [["step", "train_loss", "valid_loss"], ["1", "3", ""], ["2", "1.5", ""], ["3", "1", "1.5"]]
    assert page.charts[f"Job {job.id}"]


def test_it_loads_nothing_and_runs_nothing_whatever_the_data_is(sqlite_store: FineTuningStore) -> None:
    hostile = "</svg><script src=//x>alert('1')</script><img onerror=a>&amp;"
    stored(sqlite_store, organization_id=hostile, model=hostile, status="failed", error=JobError(code=hostile, message="m"))

    page = report(sqlite_store, metadata=None, model=hostile)

    assert "script" not in page.tags
    assert "img" not in page.tags
    assert all(value.startswith("#") for value in page.loads)
    assert page.tables["Tokens by organization"][1][0] == hostile


def test_an_empty_store_has_a_report_too(sqlite_store: FineTuningStore) -> None:
    page = report(sqlite_store)
    assert (page.charts, page.tables) == ({}, {})
    assert page.tags.count("section") == 6


def test_the_longest_one_is_well_under_a_megabyte(sqlite_store: FineTuningStore) -> None:
    jobs = [
        stored(sqlite_store, created_at=JANUARY + day * DAY, organization_id=f"org-{day}", model=f"m-{day}") for day in range(MAX_BUCKETS)
    ]
    sqlite_store.jobs.start(jobs[0].id)
    data = [{"step": step, "train_loss": 1 / (step + 1)} for step in range(3000)]
    sqlite_store.events.append_many(jobs[0].id, [{"message": "m", "type": "metrics", "data": each} for each in data])

    html = html_report(sqlite_store, bucket="day", jobs=[jobs[0].id])

    assert len(html) < 800_000
    assert len(Page(html).tables[f"Job {jobs[0].id}"]) <= 501
    assert "2500 more rows are left out" in html


def test_wrong_arguments_are_named(sqlite_store: FineTuningStore) -> None:
    for day in (0, MAX_BUCKETS + 1):
        stored(sqlite_store, created_at=JANUARY + day * DAY)
    with pytest.raises(InvalidValueError, match=r"bucket.*longer"):
        html_report(sqlite_store, bucket="day")
    with pytest.raises(InvalidValueError, match="bucket"):
        html_report(sqlite_store, bucket="year")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=r"jobs.*12"):
        html_report(sqlite_store, jobs=["ftjob"] * 13)
    with pytest.raises(JobNotFoundError):
        html_report(sqlite_store, jobs=["ftjob-unknown"])
    with pytest.raises(TypeError, match="no filter 'sufix'"):
        html_report(sqlite_store, sufix="a")  # type: ignore[call-arg]
    assert "each week" in html_report(sqlite_store)


def test_without_its_packages_it_says_what_to_install(sqlite_store: FineTuningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fine_tuning_store.report.page", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"fine-tuning-store\[report\]"):
        html_report(sqlite_store)


def test_characters_that_xml_does_not_have_and_times_that_python_does_not_have_are_replaced(sqlite_store: FineTuningStore) -> None:
    """The renderer of the charts would abort the process."""
    odd = "m\x1b\x01\ufffe\uffff"
    error = JobError(code=odd, message="m")
    stored(sqlite_store, model=odd, organization_id=odd, status="failed", error=error, created_at=1_700_000_000_000)
    stored(sqlite_store, created_at=-(2**62))

    page = report(sqlite_store, created_until=9_999_999_999_999)

    assert "m\ufffd" in " ".join(page.charts["Error codes"])
    assert "1700000000000" in " ".join(page.tables["Error codes"][1])
