"""Queries for what SQLAlchemy's reflection leaves out of a catalog: one per database.

Their rows are a kind of thing, the table, the thing's name (NULL for a primary key), and a fact about it. Their parameter is the `names` of
tables. Tables that the migrations made have no such facts, except for SQLite's indexes.
"""

from __future__ import annotations

from typing import Final

#: All of its indexes: reflection knows neither their sorting nor their collations, and warns of each index on an expression.
SQLITE: Final = """
    WITH tables AS (SELECT name FROM sqlite_master WHERE type = 'table' AND name IN :names),
    indexes AS (SELECT t.name AS tab, i.* FROM tables AS t, pragma_index_list(t.name, 'main') AS i)
    SELECT 'index', tab, name, CASE WHEN "unique" THEN 'unique ' ELSE '' END || '(' || (
        SELECT group_concat(part, ', ') FROM (
            SELECT coalesce(k.name, 'an expression') || CASE k.coll WHEN 'BINARY' THEN '' ELSE ' collate ' || k.coll END
                || CASE WHEN k."desc" THEN ' desc' ELSE '' END AS part
            FROM pragma_index_xinfo(indexes.name, 'main') AS k WHERE k."key" ORDER BY k.seqno
        )
    ) || ')' || CASE WHEN partial THEN ' where ' || (
        SELECT trim(substr(sql, instr(upper(sql), ' WHERE') + 6)) FROM sqlite_master AS m WHERE m.type = 'index' AND m.name = indexes.name
    ) ELSE '' END
    FROM indexes WHERE origin <> 'pk'
    UNION ALL
    SELECT 'primary key', tab, NULL, 'with ' || k.name || ' collate ' || k.coll
    FROM indexes, pragma_index_xinfo(indexes.name, 'main') AS k WHERE origin = 'pk' AND k."key" AND k.coll <> 'BINARY'
    UNION ALL
    SELECT 'column', t.name, c.name, 'generated'
    FROM tables AS t, pragma_table_xinfo(t.name, 'main') AS c WHERE c.hidden IN (2, 3)
"""

#: Without a schema, the tables that are visible in the search path, as in SQLAlchemy's reflection.
_POSTGRESQL_TABLES: Final = """
    WITH tables AS (
        SELECT c.oid, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relname IN :names AND CASE
            WHEN CAST(:schema AS text) IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = CAST(:schema AS text) END
    )"""

#: The complete types: reflection knows no collations before SQLAlchemy 2.1.
POSTGRESQL_TYPES: Final = f"""{_POSTGRESQL_TABLES}
    SELECT t.relname, a.attname, format_type(a.atttypid, a.atttypmod), NULL,
        CASE WHEN a.attcollation <> y.typcollation THEN quote_ident(l.collname) END
    FROM tables AS t JOIN pg_attribute AS a ON a.attrelid = t.oid JOIN pg_type AS y ON y.oid = a.atttypid
    LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
    WHERE a.attnum > 0 AND NOT a.attisdropped
"""  # noqa: S608 - constants

POSTGRESQL: Final = f"""{_POSTGRESQL_TABLES}
    SELECT 'column', t.relname, a.attname, CASE a.attidentity WHEN '' THEN 'generated' ELSE 'identity' END
    FROM tables AS t JOIN pg_attribute AS a ON a.attrelid = t.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND (a.attidentity <> '' OR a.attgenerated <> '')
    UNION ALL
    SELECT CASE c.contype WHEN 'x' THEN 'exclusion constraint' ELSE 'foreign key' END, t.relname, c.conname,
        CASE c.contype WHEN 'x' THEN pg_get_constraintdef(c.oid) ELSE 'not valid' END
    FROM tables AS t JOIN pg_constraint AS c ON c.conrelid = t.oid
    WHERE c.contype = 'x' OR c.contype = 'f' AND NOT c.convalidated
    UNION ALL
    SELECT 'index', t.relname, i.relname, 'with ' || string_agg(a.attname || ' collate ' || l.collname, ', ' ORDER BY k.place)
    FROM tables AS t JOIN pg_index AS x ON x.indrelid = t.oid JOIN pg_class AS i ON i.oid = x.indexrelid
    CROSS JOIN unnest(CAST(x.indkey AS int2[]), CAST(x.indcollation AS oid[])) WITH ORDINALITY AS k (attnum, collation_oid, place)
    JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.attnum JOIN pg_collation AS l ON l.oid = k.collation_oid
    WHERE k.collation_oid <> a.attcollation GROUP BY 1, 2, 3
    UNION ALL
    SELECT 'index', t.relname, i.relname, 'invalid'
    FROM tables AS t JOIN pg_index AS x ON x.indrelid = t.oid JOIN pg_class AS i ON i.oid = x.indexrelid WHERE NOT x.indisvalid
    ORDER BY 1, 2, 3, 4
"""  # noqa: S608 - constants

#: Without comparisons with an empty text, which is NULL in the sql_mode EMPTY_STRING_IS_NULL.
MARIADB: Final = """
    SELECT 'column', table_name, column_name, extra FROM information_schema.columns
    WHERE table_schema = database() AND table_name IN :names AND char_length(extra) > 0
    UNION ALL
    SELECT 'check', table_name, constraint_name, check_clause FROM information_schema.check_constraints
    WHERE constraint_schema = database() AND table_name IN :names AND level = 'Column'
    UNION ALL
    SELECT if(index_name = 'PRIMARY', 'primary key', 'index'), table_name, if(index_name = 'PRIMARY', NULL, index_name),
        concat('with ', column_name, ' desc') FROM information_schema.statistics
    WHERE table_schema = database() AND table_name IN :names AND collation = 'D'
    ORDER BY 1, 2, 3, 4
"""

#: The complete types: reflection leaves out a collation that is also the table's.
MARIADB_TYPES: Final = """
    SELECT table_name, column_name, column_type, character_set_name, collation_name FROM information_schema.columns
    WHERE table_schema = database() AND table_name IN :names
"""
