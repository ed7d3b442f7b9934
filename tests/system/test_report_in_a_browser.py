"""The report in a real browser: it fits on a phone and on a desk, in light and in dark, and its parts are reached with the keyboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fine_tuning_store import FineTuningStore
from fine_tuning_store.report import html_report
from tests.support.databases import missing
from tests.support.factories import stored

#: Writes what the browser has made of the page into its title.
PROBE = """<script>
const style = getComputedStyle(document.body), text = document.querySelector("svg text");
document.title = JSON.stringify({
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  width: innerWidth,
  charts: [...document.querySelectorAll("svg")].map((svg) => svg.getBoundingClientRect().width),
  colors: [style.color, style.backgroundColor, getComputedStyle(text).fill],
  focusable: [...document.querySelectorAll("a, summary, [tabindex='0']")].length,
  unnamed: [...document.querySelectorAll("[role=region]")].filter((each) => !each.getAttribute("aria-label")).length,
});
</script></body>"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        missing("no Chromium: install it, for example with apt-get install chromium")
    return found


@pytest.fixture
def page(tmp_path: Path, sqlite_store: FineTuningStore) -> Path:
    for number in range(30):
        ended: dict[str, Any] = {"status": "succeeded", "queued_seconds": number, "running_seconds": number * 60, "trained_tokens": 10**9}
        stored(sqlite_store, created_at=1_767_225_600 + number * 86_400, organization_id=f"org-{number}-{'x' * 60}", **ended)
    path = tmp_path / "report.html"
    path.write_text(html_report(sqlite_store).replace("</body>", PROBE), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [500, 1400])  # Chromium makes no narrower windows
def test_it_fits_and_is_readable(browser: str, page: Path, width: int, scheme: str) -> None:
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}", "--dump-dom"]
    preferred = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    size = f"--window-size={width},900"
    done = subprocess.run([*command, preferred, size, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)

    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title is not None
    found = json.loads(title[1])
    assert found["width"] == width
    assert found["overflow"] <= 0
    assert len(found["charts"]) == 5
    assert all(400 < chart <= width for chart in found["charts"])
    text, background, chart_text = (sum(map(int, re.findall(r"\d+", color)[:3])) for color in found["colors"])
    assert text == chart_text
    assert abs(text - background) > 500
    assert (text > background) is (scheme == "dark")
    assert found["focusable"] >= 6 + 5 * 3
    assert found["unnamed"] == 0
