"""Revisions follow the rules of docs/decisions/0007, except those merged before the rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from fine_tuning_store.schema import migrations_path
from tests.support.future_release import REVISIONS
from tests.support.revision_rules import broken_rules

#: 0001 creates every table; 0002 adds a column with a constant default and more tables. Both were merged before the rules.
EXEMPT = {"0001_create_fine_tuning_tables.py", "0002_create_events_and_checkpoints.py"}
FILES = [path for path in sorted((migrations_path() / "versions").glob("*.py")) if path.name not in EXEMPT]
FILES += sorted(REVISIONS.glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_revision_follows_the_rules(path: Path) -> None:
    assert list(broken_rules(path.read_text())) == []


def test_exempt_revisions_exist() -> None:
    assert {path.name for path in (migrations_path() / "versions").glob("*.py")} >= EXEMPT


@pytest.mark.parametrize(
    ("upgrade", "rule"),
    [
        ('op.create_index("ix", "fine_tuning_jobs", ["seed"])', "use operations"),
        ('op.create_check_constraint("ck", "fine_tuning_jobs", "seed > 0")', "use operations"),
        ('op.execute("CREATE INDEX ix ON fine_tuning_jobs (seed)")', "use operations"),
        ('op.execute("ALTER TABLE fine_tuning_jobs ADD CONSTRAINT ck CHECK (seed > 0)")', "use operations"),
        ('op.drop_column("fine_tuning_jobs", "seed")', "only adds"),
        ('op.alter_column("fine_tuning_jobs", "seed", new_column_name="grain")', "only adds"),
        ('op.execute(f"ALTER TABLE {TABLE} RENAME COLUMN seed TO grain")', "only adds"),
        ('op.add_column("fine_tuning_jobs", sa.Column("x", sa.Integer()))', "wait_briefly"),
        ('operations.wait_briefly()\n    op.add_column("t", sa.Column("x", sa.Integer(), nullable=False))', "constant default"),
        ('operations.add_column("t", sa.Column("x", sa.Integer(), nullable=False))', "constant default"),
        ('with operations.rebuild_table("t") as t:\n        t.alter_column("x")', "SQLite only"),
        (
            'if op.get_context().dialect.name == "sqlite":\n        with op.batch_alter_table("t") as t:\n            t.alter_column("x")',
            "operations.rebuild_table",
        ),
        ('operations.create_index("a", "t", ["x"])\n    operations.create_index("b", "t", ["y"])', "one concern"),
        ('op.create_table("new")\n    operations.create_index("a", "t", ["x"])', "one concern"),
    ],
)
def test_a_revision_that_breaks_a_rule_is_reported(upgrade: str, rule: str) -> None:
    (broken,) = broken_rules(f"def upgrade():\n    {upgrade}\n")

    assert rule in broken


@pytest.mark.parametrize(
    "upgrade",
    [
        'op.create_table("new")\n    op.create_index("ix", "new", ["x"])',
        'operations.wait_briefly()\n    op.add_column("t", sa.Column("x", sa.Integer()))',
        'operations.wait_briefly()\n    op.add_column("t", sa.Column("x", sa.Integer(), server_default="0", nullable=False))',
        'if op.get_context().dialect.name == "sqlite":\n        with operations.rebuild_table("t") as t:\n            t.alter_column("x")',
        'op.execute("ALTER TABLE t ADD COLUMN IF NOT EXISTS x BIGINT DEFAULT 0 NOT NULL")',
    ],
)
def test_a_revision_that_follows_the_rules_is_accepted(upgrade: str) -> None:
    assert list(broken_rules(f"def upgrade():\n    {upgrade}\n")) == []
