"""Every Python block of the documentation runs, file by file, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> str:
    """The Python of a page as one program, each line where it stands on the page."""
    lines, inside = [], False
    for line in page.read_text().splitlines():
        fence = line.startswith("```")
        lines.append(line if inside and not fence else "")
        if fence:
            inside = line == "```python"
    return "\n".join(lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}

    exec(compile(blocks(page), str(page), "exec", dont_inherit=True), namespace)

    for value in namespace.values():
        close = getattr(value, "close", None)
        if type(value).__name__ == "FineTuningStore" and close is not None:
            close()


def test_the_first_two_commands_of_the_readme_run_the_example_and_the_tests() -> None:
    """They are executed as they stand by .ci/run."""
    first, second = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[:2]

    assert "examples/quickstart.py" in first
    assert "-m pytest" in second


def test_links_of_the_documentation_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
