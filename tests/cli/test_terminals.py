"""What people see: tables on terminals of several widths, live views, colours, and values that terminals would act on."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from fine_tuning_store import FineTuningStore, JobError
from fine_tuning_store.cli.app import run
from tests.cli.helpers import printed, url_of
from tests.cli.test_one_job import trained
from tests.support.factories import created
from tests.support.programs import fine_tuning_store
from tests.support.terminals import in_terminal, process_in_terminal, without_styles

#: What a terminal would act on: colours, its title, a cleared screen, a C1 sequence, a return, and text from right to left.
HOSTILE = "\x1b[31mred\x1b]0;title\x07\x1b[2J\x9b2K\rline\nnext\u202efdp"
ACTED_ON = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


def lines_of(shown: str, columns: int) -> list[str]:
    """Return the lines of a terminal, none of which was wrapped by it."""
    lines = without_styles(shown).splitlines()
    assert max(map(cell_len, lines)) <= columns, lines
    return lines


@pytest.mark.parametrize(("columns", "last"), [(80, "AGE"), (200, "METADATA")])
def test_a_list_fits_the_terminal(sqlite_store: FineTuningStore, columns: int, last: str) -> None:
    id = trained(sqlite_store)
    created(sqlite_store, organization_id="a-very-long-organization-" * 4, model="a-very-long-model-" * 4, suffix="日本語モデル")
    code, shown = process_in_terminal("jobs", "list", url=url_of(sqlite_store), columns=columns)
    header, *lines = lines_of(shown, columns)

    assert (code, header.split()[0], header.split()[-1]) == (0, "ID", last)
    assert [line.split()[0] for line in lines][1] == id
    assert ("failed" in lines[1], "…" in lines[0]) == (True, True)
    assert "\x1b[31mfailed" in shown


@pytest.mark.parametrize("columns", [80, 200])
def test_a_job_is_shown_with_the_curve_of_its_losses(sqlite_store: FineTuningStore, columns: int) -> None:
    id = trained(sqlite_store)
    code, shown = process_in_terminal("jobs", "show", id, url=url_of(sqlite_store), columns=columns)
    lines = lines_of(shown, columns)

    assert code == 0
    assert any(re.fullmatch(rf"│ id +│ {id} +│", line) for line in lines)
    assert any(line.endswith("the node drains") or "operator" in line for line in lines)
    curve = lines[lines.index("Losses by step") :]
    assert max(map(len, curve)) == min(columns, 120)
    assert sum(bool(re.search("[\u2801-\u28ff]", line)) for line in curve) > 5


@pytest.mark.parametrize("columns", [40, 80, 100, 300])
def test_no_command_is_wider_than_the_terminal(sqlite_store: FineTuningStore, columns: int) -> None:
    id = trained(sqlite_store)
    for arguments in (
        ("jobs", "list"),
        ("jobs", "show", id),
        ("stats", "durations", "--by", "model"),
        ("stats", "error-codes"),
        ("stats", "queue"),
    ):
        code, shown = in_terminal(*arguments, url=url_of(sqlite_store), columns=columns)
        assert code == 0
        if columns > 60:  # ids are not cut off
            lines_of(shown.partition("Events")[0], columns)


def test_values_cannot_control_the_terminal(sqlite_store: FineTuningStore) -> None:
    url = url_of(sqlite_store)
    names = dict.fromkeys(("id", "model", "suffix", "training_file", "organization_id"), HOSTILE)
    id = created(sqlite_store, **names, metadata={HOSTILE: HOSTILE}).id
    sqlite_store.jobs.start(id, actor=HOSTILE, reason=HOSTILE)
    sqlite_store.events.append(id, HOSTILE, level=HOSTILE)
    sqlite_store.checkpoints.create(id, step_number=1, fine_tuned_model_checkpoint=HOSTILE, metrics={HOSTILE: 1})
    for arguments in (
        ("jobs", "list"),
        ("jobs", "list", "--csv"),
        ("jobs", "list", "--json"),
        ("jobs", "list", "--limit", "1", "--after", HOSTILE),
        ("jobs", "show", id),
        ("jobs", "show", id, "--json"),
        ("jobs", "events", id),
        ("jobs", "stuck"),
        ("jobs", "stuck", "--json"),
        ("jobs", "requeue", id),
        ("jobs", "resume", id),
        ("jobs", "list", "--organization", HOSTILE, "--status", HOSTILE),
        ("jobs", "watch", "--count", "1", "--interval", "0.1"),
        ("stats", "counts", "--by", "model", "--by", f"metadata.{HOSTILE}"),
        ("stats", "error-codes"),
    ):
        done = fine_tuning_store(*arguments, url=url)
        assert not ACTED_ON.search(done.stdout + done.stderr), (arguments, done)
        code, shown = in_terminal(*arguments, url=url, columns=1000)
        assert code == (3 if arguments[1] in {"resume", "requeue"} else done.returncode)
        assert not ACTED_ON.search(without_styles(re.sub(r"\r\n|\x1b\[\?[0-9]+[hl]|\x1b\[H", "\n", shown))), (arguments, shown)
    sqlite_store.jobs.fail(id, JobError(code=HOSTILE, message=HOSTILE))
    assert not ACTED_ON.search(printed("stats", "error-codes", url=url))


def test_colours_are_off_with_no_color_and_in_pipes(sqlite_store: FineTuningStore) -> None:
    url = url_of(sqlite_store)
    id = trained(sqlite_store)
    for arguments in (("jobs", "list"), ("jobs", "show", id), ("stats", "counts"), ("jobs", "show", "nope")):
        in_color, without = in_terminal(*arguments, url=url)[1], in_terminal(*arguments, url=url, NO_COLOR="1")[1]
        in_pipe = fine_tuning_store(*arguments, url=url)

        assert re.search(r"\x1b\[(3[1-9]|[0-9;]*38;5)", in_color), arguments
        assert not re.search(r"\x1b\[([0-9]+;)*(3[0-9]|4[0-9]|9[0-7])", without), arguments
        assert "\x1b" not in in_pipe.stdout + in_pipe.stderr


def test_a_live_view_is_drawn_until_it_is_interrupted(sqlite_store: FineTuningStore) -> None:
    id = created(sqlite_store).id
    sqlite_store.jobs.enqueue(id)
    code, shown = process_in_terminal(
        "jobs", "watch", "--interval", "0.1", url=url_of(sqlite_store), columns=80, after="Ended lately", keys="\x03"
    )

    assert code == 130
    assert shown.startswith("\x1b[?1049h")
    assert "\x1b[?1049l" in shown  # the terminal has its screen back
    assert (id in shown, "1 queued" in without_styles(shown), "Traceback" in shown) == (True, True, False)


def test_an_error_of_a_live_view_is_shown_after_its_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "jobs.db"
    with FineTuningStore.from_url(f"sqlite:///{file}") as store:
        store.schema.upgrade()
    monkeypatch.setattr(time, "sleep", lambda _: file.unlink(missing_ok=True))
    code, shown = in_terminal("jobs", "watch", url=f"sqlite:///{file}")

    assert code == 3
    assert "error: " in shown.rpartition("\x1b[?1049l")[2]


def test_output_that_is_closed_is_no_failure(sqlite_store: FineTuningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    id = trained(sqlite_store)
    for arguments in (("jobs", "list"), ("jobs", "list", "--csv"), ("jobs", "show", id), ("jobs", "events", id), ("stats", "queue")):
        monkeypatch.setattr(sys, "stdout", None)
        monkeypatch.setenv("FINE_TUNING_STORE_URL", url_of(sqlite_store))
        assert run(list(arguments)) == 0


def test_any_losses_are_drawn(sqlite_store: FineTuningStore) -> None:
    job = created(sqlite_store)
    for values in ([1, 1, 1], [0.0, -1e299, 1e299], [1e-12, 2e-12], [5]):
        data = [{"step": step, "train_loss": value} for step, value in enumerate(values)]
        odd: list[Any] = [None, "x", {"step": 2**62, "train_loss": 1}, {"step": True, "train_loss": 1}, {"step": 3, "train_loss": [1]}]
        sqlite_store.events.append_many(job.id, [{"message": "m", "type": "metrics", "data": each} for each in (*data, *odd)])
        for columns in (20, 40, 100):
            assert in_terminal("jobs", "show", job.id, url=url_of(sqlite_store), columns=columns)[0] == 0


def test_outside_of_a_terminal_the_view_is_one_line_per_interval(store: FineTuningStore, url: str) -> None:
    store.jobs.enqueue(created(store).id)
    watch = ("jobs", "watch", "--interval", "0.1", "--count", "2")
    lines = printed(*watch, url=url).splitlines()

    assert len(lines) == 2
    assert re.fullmatch(r"\S+Z queued=1 oldest_queued_seconds=\d running=0 longest_running_seconds=0 paused=0", lines[0])
    figures = [json.loads(line) for line in printed(*watch, "--json", "--organization", "org-9", url=url).splitlines()]
    assert [each["queued"] for each in figures] == [0, 0]
