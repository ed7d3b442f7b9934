"""`alembic revision --autogenerate` in a checkout: it writes a complete revision that passes the tests without an edit.

The revision gets the next number, types that are written out, and the operations of migrations/operations.py for tables that may be
large. The update of the schema number is in migrations/script.py.mako.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import CompileError

from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.schema.revisions import PREFIX, Thing, revision_id
from fine_tuning_store.sql.models import METADATA

#: What the first revisions give to each table, so that MariaDB compares all its texts byte by byte.
_TABLE_OPTIONS: Final = {
    f"{dialect}_{name}": value
    for dialect in ("mysql", "mariadb")
    for name, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_nopad_bin"))
}
_BYTEWISE: Final = 'charset="utf8mb4", collation="utf8mb4_nopad_bin"'
_POSTGRESQL, _MARIADB = postgresql.dialect(), mysql.dialect()  # type: ignore[no-untyped-call]


def include_name(name: str | None, kind: str, _: Mapping[Any, Any]) -> bool:
    """Include only the store's tables: the database may have others, and they are not compared. Alembic omits the version table itself."""
    return kind != "table" or name in METADATA.tables


class AddColumnToLargeTableOp(ops.AddColumnOp):
    """An ADD COLUMN by migrations/operations.py."""


class DropColumnOfLargeTableOp(ops.DropColumnOp):
    """A DROP COLUMN by migrations/operations.py."""


class CreateIndexOnLargeTableOp(ops.CreateIndexOp):
    """A CREATE INDEX by migrations/operations.py."""


class DropIndexOfLargeTableOp(ops.DropIndexOp):
    """A DROP INDEX by migrations/operations.py."""


@renderers.dispatch_for(AddColumnToLargeTableOp)
def _render_add_column(context: AutogenContext, op: AddColumnToLargeTableOp) -> str:
    rendered: str = renderers.dispatch(ops.AddColumnOp)(context, op)
    return rendered.replace("op.", "operations.", 1)


@renderers.dispatch_for(DropColumnOfLargeTableOp)
def _render_drop_column(_: AutogenContext, op: DropColumnOfLargeTableOp) -> str:
    return f"operations.drop_column({str(op.table_name)!r}, {str(op.column_name)!r})"


@renderers.dispatch_for(CreateIndexOnLargeTableOp)
def _render_create_index(_: AutogenContext, op: CreateIndexOnLargeTableOp) -> str:
    options = ", unique=True" if op.unique else ""
    if lengths := op.kw.get("mariadb_length"):
        options += f", lengths={lengths!r}"
    columns = [str(getattr(column, "name", column)) for column in op.columns]
    return f"operations.create_index({str(op.index_name)!r}, {str(op.table_name)!r}, {columns!r}{options})"


@renderers.dispatch_for(DropIndexOfLargeTableOp)
def _render_drop_index(_: AutogenContext, op: DropIndexOfLargeTableOp) -> str:
    return f"operations.drop_index({str(op.index_name)!r}, {str(op.table_name)!r})"


def process_revision_directives(context: MigrationContext, _: Any, directives: list[ops.MigrationScript]) -> None:
    """Number the new revision, name its file, and have it change tables that may be large by migrations/operations.py."""
    (script,) = directives
    assert context.script is not None
    head = context.script.get_current_head()
    number = 1 if head is None else int(head.removeprefix(PREFIX)) + 1
    script.rev_id = revision_id(number)
    context.script.file_template = f"{number:04}_%(slug)s"
    operations = [op for upgrade in script.upgrade_ops_list for op in _flat(upgrade.ops)]
    created = {op.table_name for op in operations if isinstance(op, ops.CreateTableOp)}
    context.opts["template_args"].update(number=number, added=sorted(_added(operations, created), key=str))
    for container in (*script.upgrade_ops_list, *script.downgrade_ops_list):
        if not support_for(context.dialect).has_comments:
            _remove_comments(container)
        container.ops[:] = _rewritten(container.ops, created)


def _remove_comments(container: ops.OpContainer) -> None:
    """Remove the operations that only change the comment of a table or a column."""
    for op in container.ops:
        if isinstance(op, ops.OpContainer):
            _remove_comments(op)
    container.ops[:] = [op for op in container.ops if not _only_comments(op)]


def _only_comments(op: ops.MigrateOperation) -> bool:
    if isinstance(op, ops.AlterColumnOp):
        return op.modify_comment is not False and (op.modify_type, op.modify_nullable, op.modify_server_default) == (None, None, False)
    is_empty = isinstance(op, ops.ModifyTableOps) and not op.ops
    return is_empty or isinstance(op, (ops.CreateTableCommentOp, ops.DropTableCommentOp))


def _flat(operations: Iterable[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    for op in operations:
        if isinstance(op, ops.OpContainer):
            yield from _flat(op.ops)
        else:
            yield op


def _added(operations: Iterable[ops.MigrateOperation], created: set[str]) -> Iterator[Thing]:
    """Yield what the revision adds, so that older tables can be recognized by what they lack."""
    for op in operations:
        if isinstance(op, ops.CreateTableOp):
            yield Thing("table", op.table_name)
        elif isinstance(op, ops.AddColumnOp):
            yield Thing("column", op.table_name, op.column.name)
        elif isinstance(op, ops.CreateIndexOp) and op.table_name not in created:
            yield Thing("index", op.table_name, op.index_name)
        elif isinstance(op, ops.CreateForeignKeyOp) and op.source_table not in created:
            yield Thing("foreign key", op.source_table, str(op.constraint_name))


def _rewritten(operations: Sequence[ops.MigrateOperation], created: set[str]) -> list[ops.MigrateOperation]:
    return [new for op in operations for new in _rewrite(op, created)]


def _rewrite(op: ops.MigrateOperation, created: set[str]) -> Iterator[ops.MigrateOperation]:
    """Yield the operation in the form that decision record 0007 demands: it may find its work done, and it locks no table for long."""
    if isinstance(op, ops.OpContainer):
        op.ops[:] = _rewritten(op.ops, created)
        yield op
    elif isinstance(op, ops.CreateTableOp):
        op.kw.update(_TABLE_OPTIONS)
        op.if_not_exists = True
        yield op
    elif isinstance(op, ops.DropTableOp):
        op.if_exists = True
        yield op
    elif isinstance(op, ops.AddColumnOp):
        yield AddColumnToLargeTableOp(op.table_name, op.column)
    elif isinstance(op, ops.DropColumnOp):
        yield DropColumnOfLargeTableOp(op.table_name, op.column_name, _reverse=op._reverse)
    elif isinstance(op, ops.CreateIndexOp) and op.table_name in created:
        op.if_not_exists = True
        yield op
    elif isinstance(op, ops.CreateIndexOp):
        yield CreateIndexOnLargeTableOp(op.index_name, op.table_name, op.columns, unique=op.unique, **op.kw)
    elif isinstance(op, ops.DropIndexOp):
        if op.table_name not in created:  # else it goes with its table
            yield DropIndexOfLargeTableOp(op.index_name, op.table_name, _reverse=op._reverse)
    else:
        yield op


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Write a type out, with its variants: revisions import nothing of this package, whose types may change."""
    if kind != "type":
        return False
    try:
        on_postgresql, on_mariadb = (item.compile(dialect=dialect) for dialect in (_POSTGRESQL, _MARIADB))
    except CompileError:
        return False
    if "utf8mb4_nopad_bin" not in on_mariadb:
        return False
    context.imports.add("from sqlalchemy.dialects import mysql")
    if length := re.match(r"VARCHAR\((\d+)\)", on_mariadb):
        characters = length[1]
        return (
            f'sa.String({characters}).with_variant(sa.String({characters}, collation="C"), "postgresql")'
            f'.with_variant(mysql.VARCHAR({characters}, {_BYTEWISE}), "mysql", "mariadb")'
        )
    rendered = f'sa.Text().with_variant(mysql.LONGTEXT({_BYTEWISE}), "mysql", "mariadb")'
    if on_postgresql == "JSON":
        context.imports.add("from sqlalchemy.dialects import postgresql")
        rendered += '.with_variant(postgresql.JSON(), "postgresql")'
    return rendered


#: Arguments of context.configure.
AUTOGENERATE_OPTIONS: Final[Mapping[str, Any]] = {
    "include_name": include_name,
    "process_revision_directives": process_revision_directives,
    "render_item": render_item,
}
