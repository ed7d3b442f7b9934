"""The sizes of the tables and indexes of a database."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from fine_tuning_store import FineTuningStore
from fine_tuning_store.sql import models


class Size(NamedTuple):
    """The size of a table without its indexes (`index_name` is None), or of one index."""

    table: str
    index_name: str | None
    bytes: int


QUERIES = {
    "postgresql": """
        SELECT t.relname, NULL, pg_table_size(t.oid) FROM pg_class t
        WHERE t.relkind = 'r' AND t.relnamespace = current_schema()::regnamespace
        UNION ALL
        SELECT t.relname, i.relname, pg_relation_size(i.oid) FROM pg_class t
        JOIN pg_index x ON x.indrelid = t.oid JOIN pg_class i ON i.oid = x.indexrelid
        WHERE t.relnamespace = current_schema()::regnamespace
    """,
    # The primary key is the table.
    "mariadb": """
        SELECT table_name, IF(index_name = 'PRIMARY', NULL, index_name), stat_value * @@innodb_page_size
        FROM mysql.innodb_index_stats WHERE database_name = database() AND stat_name = 'size'
    """,
    "sqlite": """
        SELECT s.tbl_name, CASE s.type WHEN 'index' THEN s.name END, d.pgsize
        FROM sqlite_schema s JOIN dbstat d ON d.name = s.name WHERE d.aggregate = TRUE
    """,
}


def sizes(url: str) -> list[Size]:
    """Return the sizes of the store's tables and indexes in the order of the models, those of an index after its table's.

    Of a SQLite without the module `dbstat` it is one row, the size of the file. MariaDB knows the sizes as of the last ANALYZE.
    """
    with FineTuningStore.from_url(url) as store:
        engine = create_engine(store.engine.url)
    with engine.connect() as connection:
        name = make_url(url).get_backend_name().replace("mysql", "mariadb")
        try:
            rows = [Size(*row) for row in connection.execute(text(QUERIES[name]))]
        except OperationalError:
            if name != "sqlite":
                raise
            rows = [_file_size(connection)]
    engine.dispose()
    places = {table.name: place for place, table in enumerate(models.METADATA.sorted_tables)}
    rows = [row for row in rows if row.table in places or row.table == "file"]
    return sorted(rows, key=lambda row: (places.get(row.table, 0), row.index_name or ""))


def _file_size(connection: Connection) -> Size:
    pages, page_size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size"))
    return Size("file", None, pages * page_size)


def print_sizes(url: str) -> None:
    """Print one line per table and index, in megabytes."""
    found = sizes(url)
    for size in found:
        print(f"{'  ' + size.index_name if size.index_name else size.table:<52}{size.bytes / 1e6:>10.1f} MB")
    print(f"{'in all':<52}{sum(size.bytes for size in found) / 1e6:>10.1f} MB")
