"""The command line: its exit codes and its output.

Most tests run it in this process. Each exit code is also tested with a real process.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, make_url

from fine_tuning_store import FineTuningStore
from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE
from fine_tuning_store.sql.urls import shown as shown_url
from tests.schema.test_schema import HEAD
from tests.support.databases import ASYNC_DRIVERS, Database, with_driver
from tests.support.factories import created
from tests.support.programs import COMMAND, fine_tuning_store

FIRST = "fine_tuning_store_0001"


def process(*arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as a process, with the URL in its environment."""
    environment = {**os.environ, "FINE_TUNING_STORE_URL": url}
    return subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False)


def db(*arguments: str, url: str) -> tuple[int, str]:
    """Run a `db` command and return its exit code and stdout. Its stderr must be empty."""
    done = fine_tuning_store("db", *arguments, url=url)
    assert done.stderr == ""
    return done.returncode, done.stdout


def db_json(*arguments: str, url: str) -> tuple[int, dict[str, Any]]:
    code, printed = db(*arguments, "--json", url=url)
    (line,) = printed.splitlines()
    return code, json.loads(line)


def refusal(*arguments: str, url: str, code: int = 3) -> str:
    """Run a command that fails and return its message from stderr: one line, or a line followed by differences."""
    done = fine_tuning_store("db", *arguments, url=url)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    line, *more = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert all(each.startswith("- ") for each in more)
    return done.stderr.removeprefix("error: ").rstrip()


def tables(url: str) -> set[str]:
    engine = create_engine(url)
    found = set(inspect(engine).get_table_names())
    engine.dispose()
    return found


def execute(url: str, script: str) -> None:
    """Execute SQL like a command-line client: each statement as written."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        for statement in re.split(r";\s*\n", re.sub(r"^--.*\n", "", script, flags=re.MULTILINE)):
            if statement.strip():
                cursor.execute(statement)
    engine.dispose()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_process_exits_with_the_code_for_its_outcome(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        lock = support_for(store.engine.dialect).migration_lock
        with store._transactions.engine.connect() as connection, lock(connection, 1):
            locked = process("db", "upgrade", "--lock-timeout", "0.2", url=empty_url)
            assert (locked.returncode, locked.stdout, "0.2 s" in locked.stderr) == (4, "", True)
        upgraded = process("db", "upgrade", url=empty_url)
        assert (upgraded.returncode, upgraded.stdout, upgraded.stderr) == (0, f"the database is at {HEAD}\n", "")
        job = created(store)
        refused = process("db", "downgrade", "base", url=empty_url)
        assert (refused.returncode, refused.stdout, refused.stderr[:7]) == (3, "", "error: ")
        assert store.jobs.get(job.id) == job


def test_a_process_exits_with_1_if_there_is_something_to_do_and_with_2_after_wrong_use(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    state, wrong = process("db", "state", "--json", url=url), process("db", "state", "--nonsense", url=url)

    assert (state.returncode, json.loads(state.stdout)["status"], state.stderr) == (1, "empty", "")
    assert (wrong.returncode, wrong.stdout, "--nonsense" in wrong.stderr) == (2, "", True)


def test_a_database_is_upgraded_inspected_and_downgraded(empty_url: str) -> None:
    code, state = db_json("state", url=empty_url)
    assert (code, state["status"], state["revision"], state["is_usable"]) == (1, "empty", None, False)
    assert state["command"] == "fine-tuning-store db upgrade"

    assert db("upgrade", url=empty_url) == (0, f"the database is at {HEAD}\n")
    code, printed = db("state", url=empty_url)
    assert (code, printed.splitlines()[1:3]) == (0, ["status: current", f"revision: {HEAD}"])
    assert db("check", url=empty_url) == (0, "no differences\n")

    with FineTuningStore.from_url(empty_url) as store:
        job = created(store)
        assert "allow_data_loss" in refusal("downgrade", "base", url=empty_url)
        assert store.jobs.get(job.id) == job
    assert db_json("downgrade", "base", "--allow-data-loss", url=empty_url) == (0, {"revision": None})
    assert tables(empty_url) == set()


def test_the_printed_sql_creates_and_drops_the_tables(empty_url: str) -> None:
    code, up = db("sql", url=empty_url)
    assert (code, tables(empty_url)) == (0, set())
    code, down = db("sql", "base", "--from", "head", url=empty_url)
    assert code == 0

    execute(empty_url, up)
    assert db_json("check", url=empty_url) == (0, {"differences": []})
    assert db_json("state", url=empty_url)[1]["status"] == "current"
    execute(empty_url, down)
    assert not tables(empty_url) & set(METADATA.tables)


def test_sql_needs_no_server_and_can_be_printed_as_json(tmp_path: Path) -> None:
    for url in ("postgresql://nobody:top-secret@127.0.0.1:1/none", "mariadb://nobody:top-secret@127.0.0.1:1/none"):
        code, result = db_json("sql", FIRST, url=url)
        assert code == 0
        assert re.search("CREATE TABLE.* fine_tuning_jobs ", result["sql"])
        assert "top-secret" not in result["sql"]
    for url in (f"sqlite:///{tmp_path}/none.db", "sqlite://", "postgresql://", "mariadb://"):
        assert db("sql", url=url)[0] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_check_lists_differences(empty_url: str) -> None:
    assert db("upgrade", FIRST, url=empty_url) == (0, f"the database is at {FIRST}\n")
    assert db_json("state", url=empty_url)[1]["status"] == "behind"
    assert db_json("upgrade", url=empty_url) == (0, {"revision": HEAD})
    execute(empty_url, "ALTER TABLE fine_tuning_job_errors ADD COLUMN surprise VARCHAR(10)")

    code, printed = db("check", url=empty_url)
    assert code == 1
    assert "fine_tuning_job_errors.surprise" in printed
    assert db_json("check", url=empty_url) == (1, {"differences": printed.splitlines()})


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_tables_without_their_history_are_adopted_once_they_are_proven(empty_url: str) -> None:
    assert db("upgrade", url=empty_url)[0] == 0
    execute(empty_url, f"DROP TABLE {VERSION_TABLE};\nALTER TABLE fine_tuning_job_errors ADD COLUMN surprise VARCHAR(10);\n")
    assert "surprise" in refusal("adopt", url=empty_url)
    assert VERSION_TABLE not in tables(empty_url)
    execute(empty_url, "ALTER TABLE fine_tuning_job_errors DROP COLUMN surprise")

    assert db("adopt", url=empty_url) == (0, f"the database is at {HEAD}\n")
    assert db("state", url=empty_url)[0] == 0


def test_a_url_of_an_async_driver_works_as_well(database: Database, empty_url: str) -> None:
    for driver in ASYNC_DRIVERS[database.name]:
        url = with_driver(empty_url, driver)

        assert db_json("upgrade", url=url) == (0, {"revision": HEAD})
        assert refusal("downgrade", "0042", url=url, code=2).startswith("revision: must be")
        assert db_json("downgrade", "base", url=url) == (0, {"revision": None})


def test_waiting_too_long_for_another_migration_has_an_exit_code_of_its_own(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        lock = support_for(store.engine.dialect).migration_lock
        with store._transactions.engine.connect() as connection, lock(connection, 1):
            assert "0.2 s" in refusal("upgrade", "--lock-timeout", "0.2", url=empty_url, code=4)
            code, result = db_json("upgrade", "--lock-timeout", "0.2", url=empty_url)
            assert (code, result["error"]) == (4, "SchemaLockTimeoutError")
    assert tables(empty_url) == set()


def unreachable(database: Database, url: str) -> str:
    """Return the URL with credentials that the server rejects, or with a folder that does not exist on SQLite."""
    if database.name == "sqlite":
        return "sqlite+pysqlite:////no/such/folder/jobs.db"
    name = make_url(url).username if database.name == "mariadb" else "unknown_user"  # MariaDB's error for unknown users varies
    return make_url(url).set(username=name, password="top-secret").render_as_string(hide_password=False)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_database_that_cannot_be_reached_is_one_line_without_the_password(database: Database, empty_url: str, kind: str) -> None:
    url = unreachable(database, empty_url)
    shown = url if kind == "sync" else with_driver(url, ASYNC_DRIVERS[database.name][0])

    line = refusal("state", "--url", shown, url=empty_url)  # the option overrides the environment

    if database.name == "sqlite":
        assert line.startswith("cannot open '/no/such/folder/jobs.db': its folder must exist and be writable")
    else:
        assert line.startswith(f"cannot connect to {database.name}+")
    assert "top-secret" not in line
    code, result = db_json("state", "--url", shown, url=empty_url)
    assert (code, result) == (3, {"error": "DatabaseUnreachableError", "message": line})


def test_an_invalid_url_and_another_driver_are_one_line() -> None:
    assert "use one like sqlite:///fine_tuning.db" in refusal("state", url="nonsense")
    assert "%40 %3A %2F %25" in refusal("state", url="postgresql://someone:top@secret/here@127.0.0.1:1/none")
    assert "names no database" in refusal("state", url="mariadb://someone@127.0.0.1:1/")
    assert "not supported" in refusal("state", url="oracle://someone:top-secret@127.0.0.1/none")
    line = refusal("upgrade", url="postgresql+pg8000://someone:top-secret@127.0.0.1:1/none")
    assert line.startswith("the driver 'pg8000' is not supported: use postgresql+psycopg://")
    assert "top-secret" not in line


def test_a_database_in_memory_is_refused_by_upgrade() -> None:
    for url in ("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+aiosqlite://"):
        assert "name a file" in refusal("upgrade", url=url)


def test_a_folder_is_not_taken_for_a_file(tmp_path: Path) -> None:
    line = refusal("state", url=f"sqlite:///{tmp_path}")

    assert "it is a folder" in line
    assert "its folder" not in line


def test_an_async_driver_without_its_packages_names_the_extra() -> None:
    """Simulate an environment without greenlet, which SQLAlchemy needs for async drivers."""
    without = "import sys; sys.modules['greenlet'] = None; from fine_tuning_store.cli import main; main()"
    url = "postgresql+asyncpg://someone:top-secret@127.0.0.1:1/none"
    arguments = [sys.executable, "-c", without, "db", "state", "--url", url]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stderr) == (
        3,
        "error: an async driver needs more packages: pip install 'fine-tuning-store[aio]'\n",
    )


def test_wrong_use_has_a_code_of_its_own_and_says_what_is_missing() -> None:
    for arguments, missing in (
        (("state",), "FINE_TUNING_STORE_URL"),
        (("downgrade",), "REVISION"),
        (("upgrade", "--lock-timeout", "-1"), "--lock-timeout"),
        (("state", "--nonsense"), "--nonsense"),
        (("nonsense",), "nonsense"),
    ):
        url = "" if missing == "FINE_TUNING_STORE_URL" else "sqlite://"
        as_text = fine_tuning_store("db", *arguments, url=url)
        as_json = fine_tuning_store("db", *arguments, "--json", url=url)

        assert (as_text.returncode, as_text.stdout, missing in as_text.stderr) == (2, "", True), as_text
        assert (as_json.returncode, as_json.stderr) == (2, "")
        assert missing in json.loads(as_json.stdout)["message"]


@pytest.mark.parametrize("arguments", [("state",), ("sql",), ("upgrade", "--json"), ("state", "--help"), ("state", "--nonsense", "--json")])
@pytest.mark.parametrize("reason", ["No space left on device", "Broken pipe"])
def test_output_that_cannot_be_written_is_a_failure_of_one_line(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    if reason == "Broken pipe":
        read, output = os.pipe()
        os.close(read)
    else:
        output = os.open("/dev/full", os.O_WRONLY)
    url = f"sqlite:///{tmp_path}/jobs.db"
    if arguments == ("state",):
        environment = {**os.environ, "FINE_TUNING_STORE_URL": url}
        command = [*COMMAND, "db", *arguments]
        done = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        os.close(output)
    else:
        with os.fdopen(output, "w") as stdout:
            done = fine_tuning_store("db", *arguments, url=url, stdout=stdout)

    assert (done.returncode, done.stderr) == (3, f"error: the output could not be written: {reason}\n")


def test_errors_that_cannot_be_written_are_a_failure_too() -> None:
    for arguments in (("state", "--nonsense"), ("state", "--url", "nonsense")):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run([*COMMAND, "db", *arguments], stdout=subprocess.PIPE, stderr=full, timeout=120, check=False)

        assert (done.returncode, done.stdout) == (3, b"")


def test_an_interrupted_command_prints_nothing_and_exits_with_130() -> None:
    interrupted = """
import signal
from fine_tuning_store.cli import main
from fine_tuning_store.schema import Schema
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process of a shell ignores it
Schema.sql = lambda *_, **__: signal.raise_signal(signal.SIGINT)
main()
"""
    arguments = [sys.executable, "-c", interrupted, "db", "sql", "--url", "sqlite://"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


#: Objects of another application that depend on the store's tables, so that these cannot be dropped.
VIEW = "CREATE VIEW theirs AS SELECT event_count FROM fine_tuning_jobs"
DEPENDENT = {
    "sqlite": VIEW,
    "postgresql": VIEW,
    "mariadb": "CREATE TABLE theirs (job_id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin REFERENCES fine_tuning_jobs (id))",
}


def test_what_the_database_refuses_is_reported_without_the_statement(database: Database, empty_url: str) -> None:
    assert db("upgrade", url=empty_url)[0] == 0
    execute(empty_url, DEPENDENT[database.name])

    line = refusal("downgrade", "base", url=empty_url)

    assert line.startswith("the database failed: ")
    assert not re.search("ALTER TABLE|DROP TABLE|sqlalche", line)


def test_help_names_the_exit_codes() -> None:
    for arguments in (("db",), ("db", "upgrade"), ("db", "state")):
        done = fine_tuning_store(*arguments, "--help")
        assert (done.returncode, "4  another process" in done.stdout) == (0, True)


def test_on_a_terminal_the_state_is_a_table(empty_url: str) -> None:
    terminal, process_end = pty.openpty()
    environment = {**os.environ, "FINE_TUNING_STORE_URL": empty_url, "TERM": "xterm", "COLUMNS": "60"}
    with subprocess.Popen([*COMMAND, "db", "state"], env=environment, stdout=process_end, stderr=process_end) as process:
        os.close(process_end)
        shown = b""
        try:
            while part := os.read(terminal, 65536):
                shown += part
        except OSError:  # Linux reports a closed terminal as an error
            pass
    os.close(terminal)

    assert process.returncode == 1
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert any(re.fullmatch(r"│ status +│ empty +│", line) for line in lines), lines
    values = [line.split("│")[2].strip() for line in lines if line.startswith("│")]
    assert "".join(values).startswith(f"{shown_url(empty_url)}empty")  # long values are wrapped
    assert lines[-1] == "next: fine-tuning-store db upgrade"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_tables_may_be_in_a_schema(empty_url: str) -> None:
    schema = ("--schema", "fine_tuning")
    assert "create_schema" in refusal("upgrade", *schema, url=empty_url, code=2)
    assert db_json("upgrade", *schema, "--create-schema", url=empty_url) == (0, {"revision": HEAD})
    assert db("state", *schema, url=empty_url)[0] == 0
    assert db_json("state", url=empty_url)[1]["status"] == "empty"


def test_tables_in_the_history_of_an_application_are_not_migrated(tmp_path: Path) -> None:
    url, option = f"sqlite:///{tmp_path}/jobs.db", ("--host-version-table", "alembic_version")
    code, state = db_json("state", *option, url=url)
    assert (code, state["command"]) == (1, "alembic upgrade heads")

    assert "run 'alembic upgrade heads'" in refusal("upgrade", *option, url=url)
    assert tables(url) == set()
