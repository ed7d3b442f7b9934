"""How the golden databases are made: a dump of each database at one revision, by the code of that revision, with jobs in it.

Run at the commit of a revision, from the root: python -m tests.golden.make 0001 NAME-OF-DATABASE URL-OF-AN-EMPTY-DATABASE
It needs pg_dump and mariadb-dump. A golden database is never changed once its revision has landed.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

from sqlalchemy import make_url

from fine_tuning_store import FineTuningStore, job_from_wire

HERE = Path(__file__).parent
#: MariaDB's dump is in the order of names, children before their jobs.
FOREIGN_KEYS_LATER = "SET foreign_key_checks = 0;"


def dump(name: str, url: str) -> str:
    """The database as SQL statements, each ending with a semicolon at the end of a line."""
    database = str(make_url(url).database)
    if name == "sqlite":
        with sqlite3.connect(database) as connection:
            return "\n".join(line for line in connection.iterdump() if line not in ("BEGIN TRANSACTION;", "COMMIT;"))
    if name == "postgresql":
        command = ["pg_dump", "--inserts", "--no-owner", "-h", "127.0.0.1", "-U", "postgres", database]
    else:
        command = ["mariadb-dump", "--skip-comments", "--skip-opt", "--create-options", database]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return f"{FOREIGN_KEYS_LATER}\n{made}" if name == "mariadb" else made


def main(revision: str, name: str, url: str) -> None:
    """Fill and dump one database."""
    with FineTuningStore.from_url(url) as store:
        store.schema.upgrade()
        for path in sorted((HERE.parent / "fixtures" / "jobs").glob("*.json")):
            payload = json.loads(path.read_text())["payload"]
            store.jobs.add(job_from_wire({**payload, "id": path.stem}, payload.get("organization_id") or "org-golden"))
    lines = [
        line
        for line in dump(name, url).splitlines()
        if line == FOREIGN_KEYS_LATER or (line and not line.startswith(("--", "\\", "SET ", "SELECT ", "/*")))
    ]
    (HERE / f"{revision}_{name}.sql").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
