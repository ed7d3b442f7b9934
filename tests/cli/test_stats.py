"""`stats`: the figures of the store, in each form."""

from __future__ import annotations

from fine_tuning_store import FineTuningStore, JobError, JobStatus
from tests.cli.helpers import csv_of, json_of, printed, refusal, url_of
from tests.support.factories import stored
from tests.support.programs import fine_tuning_store
from tests.support.terminals import in_terminal, without_styles

JANUARY, FEBRUARY = 1_767_225_600, 1_769_904_000


def history(store: FineTuningStore) -> None:
    times = {"created_at": JANUARY, "finished_at": FEBRUARY}
    ended = {**times, "queued_seconds": 60, "running_seconds": 7200}
    stored(store, **ended, status=JobStatus.SUCCEEDED, trained_tokens=1000, metadata={"team": "=x"})
    stored(store, **times, id="f", status=JobStatus.FAILED, error=JobError(code="=oom"), queued_seconds=120, running_seconds=600)
    stored(store, created_at=FEBRUARY, model="gpt-4o", status=JobStatus.QUEUED)


def test_counts_have_one_row_for_each_group(store: FineTuningStore, url: str) -> None:
    history(store)
    rows = [row.as_dict() for row in store.statistics.counts(by=("model", "metadata.team"), bucket="month", at="finished")]
    options = ("--by", "model", "--by", "metadata.team", "--bucket", "month", "--at", "finished")

    assert json_of("stats", "counts", *options, url=url) == {"data": rows}
    assert [list(row.values())[:4] for row in csv_of("stats", "counts", *options, url=url)] == [
        ["2026-02-01T00:00:00Z", "gpt-4o-mini", "'=x", "1"],
        ["2026-02-01T00:00:00Z", "gpt-4o-mini", "", "1"],
    ]
    header, *lines = printed("stats", "counts", "--by", "model", url=url).splitlines()
    assert header.split() == ["MODEL", "TOTAL", "SUCCEEDED", "FAILED", "CANCELLED", "OPEN", "SUCCESS", "TOKENS"]
    assert [line.split() for line in lines] == [
        ["gpt-4o", "1", "0", "0", "0", "1", "-", "0"],
        ["gpt-4o-mini", "2", "1", "1", "0", "0", "50%", "1,000"],
    ]


def test_figures_are_filtered_as_lists_are(sqlite_store: FineTuningStore) -> None:
    store, url = sqlite_store, url_of(sqlite_store)
    history(store)

    assert json_of("stats", "counts", "--model", "gpt-4o", url=url)["data"][0]["total"] == 1
    assert json_of("stats", "durations", "--status", "failed", url=url)["data"][0]["running_median"] == 600
    assert json_of("stats", "error-codes", "--since", "2026-02-01", url=url)["data"] == []
    assert json_of("stats", "queue", "--model", "gpt-4o-mini", url=url)["queued"] == 0


def test_durations_error_codes_and_the_queue_are_shown(store: FineTuningStore, url: str) -> None:
    history(store)

    assert printed("stats", "durations", url=url).splitlines()[1].split()[-6:] == ["1h", "5m", "1h", "49m", "1h", "58m"]
    assert csv_of("stats", "durations", url=url)[0]["queued_median"] == "90.0"
    assert printed("stats", "error-codes", url=url).splitlines()[1].split() == ["=oom", "1", "2026-02-01", "00:00:00", "f"]
    assert csv_of("stats", "error-codes", url=url) == [
        {"code": "'=oom", "jobs": "1", "last_job_id": "f", "last_at": "2026-02-01T00:00:00Z"}
    ]
    assert json_of("stats", "queue", url=url) == store.statistics.queue().as_dict()
    assert csv_of("stats", "queue", url=url)[0] == {"status": "queued", "jobs": "1", "since": "2026-02-01T00:00:00Z"}
    assert printed("stats", "queue", url=url).splitlines()[1].split()[:2] == ["queued", "1"]


def test_an_empty_store_has_figures(sqlite_store: FineTuningStore) -> None:
    url = url_of(sqlite_store)
    for command in ("counts", "durations", "queue"):
        assert printed("stats", command, url=url)
        assert in_terminal("stats", command, url=url)[0] == 0
    assert fine_tuning_store("stats", "error-codes", url=url).stderr == "no failed jobs\n"


def test_bars_differ_without_colours_too(sqlite_store: FineTuningStore) -> None:
    history(sqlite_store)
    for columns in (60, 80, 200):
        code, shown = in_terminal("stats", "counts", "--by", "model", url=url_of(sqlite_store), columns=columns, NO_COLOR="1")
        lines = without_styles(shown).splitlines()

        assert code == 0
        assert max(map(len, lines)) <= columns
        assert (set("█▓") <= set(lines[2]), "░" in lines[1], lines[-1]) == (True, True, "█ succeeded  ▓ failed  ▒ cancelled  ░ open")
        assert "\x1b[3" not in shown


def test_wrong_groups_are_refused(sqlite_store: FineTuningStore) -> None:
    url = url_of(sqlite_store)

    assert "must be one of organization_id, model" in refusal("stats", "counts", "--by", "foo", url=url, code=2)
    assert "year" in refusal("stats", "counts", "--bucket", "year", url=url, code=2)
    assert "now" in refusal("stats", "durations", "--at", "now", url=url, code=2)
    assert "--limit" in refusal("stats", "error-codes", "--limit", "0", url=url, code=2)
    done = fine_tuning_store("stats", "counts", "--json", "--csv", url=url)
    assert (done.returncode, "--json" in done.stdout) == (2, True)
