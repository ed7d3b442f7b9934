"""The order of the package: dialects are asked in one place, nothing is awaited outside aio, modules stay small.

That imports run one way is declared in pyproject.toml, for import-linter.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import fine_tuning_store
from fine_tuning_store.domain import lifecycle

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fine_tuning_store"
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_the_domain_and_the_wire_know_no_sql() -> None:
    for path in MODULES:
        if part_of(path) in ("errors", "domain", "wire"):
            assert "sqlalchemy" not in path.read_text(), path


def test_only_the_dialects_ask_for_a_dialects_name() -> None:
    for path in MODULES:
        if path.parent.name != "dialects":
            assert not re.search(r"dialect(\.name|_name)\s*(==|!=|in\b)", path.read_text()), path


def test_nothing_is_awaited_outside_aio() -> None:
    for path in MODULES:
        if part_of(path) != "aio":
            assert not any(isinstance(node, (ast.Await, ast.AsyncFunctionDef)) for node in ast.walk(ast.parse(path.read_text()))), path


def test_modules_stay_small() -> None:
    for path in MODULES:
        assert len(path.read_text().splitlines()) <= 300, path


def test_every_public_name_is_exported_sorted_and_documented() -> None:
    sync = [name for name in fine_tuning_store.__all__ if not name.startswith("Async")]
    assert fine_tuning_store.__all__ == [*sorted(sync), *sorted(set(fine_tuning_store.__all__) - {*sync})]
    for name in fine_tuning_store.__all__:
        assert getattr(fine_tuning_store, name).__doc__, name


def test_the_docs_show_the_transitions_as_the_code_has_them() -> None:
    assert f"```mermaid\n{lifecycle.as_mermaid()}\n```" in (ROOT / "docs" / "lifecycle.md").read_text()


def test_repositories_run_their_statements_through_the_transaction() -> None:
    """It restricts them to an organization and a schema."""
    for path in MODULES:
        if part_of(path) == "repositories":
            assert not re.search(r"connection\.(execute|scalar|exec_driver)", path.read_text()), path
