"""Differences that SQLAlchemy's reflection omits are reported, and settings of a host's connection are not mistaken for damage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple

import pytest
from sqlalchemy import create_engine, text

from fine_tuning_store import FineTuningStore, SchemaConflictError, SchemaStatus
from fine_tuning_store.sql.models import VERSION_TABLE

MODEL_INDEX = "ix_fine_tuning_jobs_model"
ERRORS_KEY = "fk_fine_tuning_job_errors_job_id"
REFERS = "FOREIGN KEY (job_id) REFERENCES fine_tuning_jobs (id) ON DELETE CASCADE"


def recreate_errors(job_id: str, code: str) -> list[str]:
    """Return statements that recreate a table on SQLite with other types."""
    columns = f"job_id {job_id} NOT NULL, code {code}, message TEXT, param TEXT, extra TEXT"
    keys = f"CONSTRAINT pk_fine_tuning_job_errors PRIMARY KEY (job_id), CONSTRAINT {ERRORS_KEY} {REFERS}"
    return ["DROP TABLE fine_tuning_job_errors", f"CREATE TABLE fine_tuning_job_errors ({columns}, {keys})"]


#: By database: statements that damage the tables, and the one difference, or its beginning.
DAMAGE: dict[str, list[tuple[list[str], str]]] = {
    "sqlite": [
        (
            [f"DROP INDEX {MODEL_INDEX}", f"CREATE INDEX {MODEL_INDEX} ON fine_tuning_jobs (model, created_at DESC, id)"],
            f"different: index fine_tuning_jobs.{MODEL_INDEX} is (model, created_at desc, id), not (model, created_at, id)",
        ),
        (
            [f"DROP INDEX {MODEL_INDEX}", f"CREATE INDEX {MODEL_INDEX} ON fine_tuning_jobs (model COLLATE NOCASE, created_at, id)"],
            f"different: index fine_tuning_jobs.{MODEL_INDEX} is (model collate NOCASE, created_at, id), not (model, created_at, id)",
        ),
        (
            [f"DROP INDEX {MODEL_INDEX}", f"CREATE INDEX {MODEL_INDEX} ON fine_tuning_jobs (model, created_at, id) WHERE seed > 0"],
            f"different: index fine_tuning_jobs.{MODEL_INDEX} is (model, created_at, id) where seed > 0, not (model, created_at, id)",
        ),
        (
            ["CREATE UNIQUE INDEX theirs ON fine_tuning_jobs (lower(model), seed)"],
            "unexpected: index fine_tuning_jobs.theirs unique (an expression, seed)",
        ),
        (
            ["ALTER TABLE fine_tuning_jobs ADD COLUMN theirs INTEGER GENERATED ALWAYS AS (seed + 1) VIRTUAL"],
            "unexpected: column fine_tuning_jobs.theirs INTEGER generated",
        ),
        (
            recreate_errors("VARCHAR(255) COLLATE NOCASE", "TEXT"),
            "different: primary key fine_tuning_job_errors is (job_id) with job_id collate NOCASE, not (job_id)",
        ),
        (
            recreate_errors("VARCHAR(255)", "TEXT UNIQUE"),
            "unexpected: index fine_tuning_job_errors.sqlite_autoindex_fine_tuning_job_errors_1 unique (code)",
        ),
    ],
    "postgresql": [
        (
            ["ALTER TABLE fine_tuning_job_result_files ALTER position ADD GENERATED ALWAYS AS IDENTITY"],
            "different: column fine_tuning_job_result_files.position is BIGINT not null identity, not BIGINT not null",
        ),
        (
            [
                "ALTER TABLE fine_tuning_jobs DROP seed",
                "ALTER TABLE fine_tuning_jobs ADD seed BIGINT GENERATED ALWAYS AS (created_at) STORED",
            ],
            "different: column fine_tuning_jobs.seed is BIGINT generated, not BIGINT",
        ),
        (
            ["ALTER TABLE fine_tuning_jobs ADD CONSTRAINT theirs EXCLUDE (model WITH =)"],
            "unexpected: exclusion constraint fine_tuning_jobs.theirs EXCLUDE USING btree (model WITH =)",
        ),
        (
            [
                f"DROP INDEX {MODEL_INDEX}",
                f'CREATE INDEX {MODEL_INDEX} ON fine_tuning_jobs (model COLLATE "default", created_at, id COLLATE "default")',
            ],
            f"different: index fine_tuning_jobs.{MODEL_INDEX} is (model, created_at, id) with model collate default, id collate default, ",
        ),
        (
            [
                f"ALTER TABLE fine_tuning_job_errors DROP CONSTRAINT {ERRORS_KEY}",
                f"ALTER TABLE fine_tuning_job_errors ADD CONSTRAINT {ERRORS_KEY} {REFERS} NOT VALID",
            ],
            f"different: foreign key fine_tuning_job_errors.{ERRORS_KEY} is (job_id) to fine_tuning_jobs (id) ondelete cascade not valid, ",
        ),
    ],
    "mariadb": [
        (
            ["ALTER TABLE fine_tuning_jobs MODIFY created_at BIGINT NOT NULL AUTO_INCREMENT"],
            "different: column fine_tuning_jobs.created_at is BIGINT not null auto_increment, not BIGINT not null",
        ),
        (
            ["ALTER TABLE fine_tuning_jobs MODIFY seed BIGINT INVISIBLE"],
            "different: column fine_tuning_jobs.seed is BIGINT INVISIBLE, not BIGINT",
        ),
        (
            ["ALTER TABLE fine_tuning_jobs MODIFY seed BIGINT AS (created_at) STORED"],
            "different: column fine_tuning_jobs.seed is BIGINT STORED GENERATED, not BIGINT",
        ),
        (
            ["ALTER TABLE fine_tuning_jobs MODIFY seed BIGINT CHECK (seed > 5)"],
            "unexpected: check fine_tuning_jobs.seed `seed` > 5",
        ),
        (
            [
                f"DROP INDEX {MODEL_INDEX} ON fine_tuning_jobs",
                f"CREATE INDEX {MODEL_INDEX} ON fine_tuning_jobs (model(255), created_at DESC, id)",
            ],
            f"different: index fine_tuning_jobs.{MODEL_INDEX} is (model(255), created_at, id) with created_at desc, not ",
        ),
        (
            ["ALTER TABLE fine_tuning_job_errors DROP PRIMARY KEY, ADD PRIMARY KEY (job_id DESC)"],
            "different: primary key fine_tuning_job_errors is (job_id) with job_id desc, not (job_id)",
        ),
    ],
}
#: By database: indexes that reject no row, and the difference.
HARMLESS: dict[str, list[tuple[str, str]]] = {
    "sqlite": [
        ("(seed) WHERE seed IS NOT NULL", "(seed) where seed IS NOT NULL"),
        ("(seed) WHERE(seed > 0)", "(seed) where (seed > 0)"),  # reflection emits a warning
        ("(model COLLATE NOCASE, seed DESC)", "(model collate NOCASE, seed desc)"),
        ("(lower(model))", "(an expression)"),
    ],
    "postgresql": [
        ("(seed) WHERE seed IS NOT NULL", "(seed) where seed is not null"),
        ('(model COLLATE "default", seed DESC)', "(model, seed desc) with model collate default"),
        ("(lower(model))", "(lower(model::text))"),
    ],
    "mariadb": [("(seed DESC)", "(seed) with seed desc")],
}


@pytest.fixture
def store(altered_url: str) -> Iterator[FineTuningStore]:
    """A store whose tables a test may damage."""
    with FineTuningStore.from_url(altered_url) as store:
        yield store


def run(store: FineTuningStore, *statements: str) -> None:
    with store.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.parametrize(
    ("database", "statements", "expected"),
    [(name, *case) for name, cases in DAMAGE.items() for case in cases],
    indirect=["database"],
)
def test_damage_that_reflection_omits_is_reported(store: FineTuningStore, statements: list[str], expected: str) -> None:
    run(store, *statements)

    (difference,) = store.schema.check()
    state = store.schema.state()

    assert str(difference).startswith(expected)
    assert (state.status, state.problems) == (SchemaStatus.UNUSABLE, (difference,))
    run(store, f"DROP TABLE {VERSION_TABLE}")
    with pytest.raises(SchemaConflictError) as caught:
        store.schema.adopt()
    assert str(difference) in str(caught.value)


@pytest.mark.parametrize(
    ("database", "index", "expected"),
    [(name, *case) for name, cases in HARMLESS.items() for case in cases],
    indirect=["database"],
)
def test_an_additional_index_that_rejects_no_row_leaves_the_tables_usable(store: FineTuningStore, index: str, expected: str) -> None:
    run(store, f"CREATE INDEX theirs ON fine_tuning_jobs {index}")

    state = store.schema.state()

    assert state.status is SchemaStatus.CURRENT
    assert state.problems == store.schema.check()
    assert [str(problem) for problem in state.problems] == [f"unexpected: index fine_tuning_jobs.theirs {expected}"]
    store.schema.adopt()  # does nothing


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES", "ORACLE", "EMPTY_STRING_IS_NULL", "ANSI_QUOTES", "PAD_CHAR_TO_FULL_LENGTH"])
def test_each_sql_mode_of_a_hosts_connection_shows_the_same_tables(store: FineTuningStore, mode: str) -> None:
    engine = create_engine(store.engine.url, connect_args={"sql_mode": mode})
    host_store = FineTuningStore(engine)

    assert (host_store.schema.state().status, host_store.schema.check()) == (SchemaStatus.CURRENT, ())
    run(store, "ALTER TABLE fine_tuning_jobs MODIFY seed BIGINT INVISIBLE CHECK (seed > 5)")
    check, column = map(str, host_store.schema.check())
    engine.dispose()

    assert check.startswith("unexpected: check fine_tuning_jobs.seed ")
    assert column == "different: column fine_tuning_jobs.seed is BIGINT INVISIBLE, not BIGINT"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_damage_is_reported_for_its_own_schema_only(store: FineTuningStore, altered_url: str) -> None:
    with FineTuningStore.from_url(altered_url, schema="f t") as other:
        other.schema.upgrade(create_schema=True)
        run(store, "ALTER TABLE public.fine_tuning_jobs ADD CONSTRAINT theirs EXCLUDE (model WITH =)")
        run(store, 'ALTER TABLE "f t".fine_tuning_job_result_files ALTER position ADD GENERATED ALWAYS AS IDENTITY')

        assert [each[:3] for each in map(astuple, store.schema.check())] == [("exclusion constraint", "fine_tuning_jobs", "theirs")]
        assert [each[:3] for each in map(astuple, other.schema.check())] == [("column", "fine_tuning_job_result_files", "position")]
