"""Static checks of what a revision may do to tables that already hold jobs: the rules of docs/decisions/0007."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

#: Allowed only through `operations`, which does not block users of the table.
SCANS_LARGE_TABLES = {"create_index", "create_check_constraint", "create_unique_constraint", "create_foreign_key", "create_primary_key"}
#: Removes or renames something that code of the previous release may use.
REMOVES = {"drop_table", "drop_column", "drop_constraint", "drop_index", "alter_column", "rename_table"}
SQL_THAT_REMOVES = re.compile(r"\b(DROP|RENAME|ALTER\s+COLUMN|MODIFY|CHANGE|TRUNCATE|SET\s+NOT\s+NULL)\b", re.IGNORECASE)
SQL_THAT_BLOCKS_USERS = re.compile(r"\b(CREATE\s+(UNIQUE\s+)?INDEX|ADD\s+(CONSTRAINT|CHECK|FOREIGN|UNIQUE|PRIMARY))\b", re.IGNORECASE)
SINGLE_STEPS = {"create_index", "drop_index", "add_check_not_valid", "validate_check"}


def broken_rules(source: str) -> Iterator[str]:
    """Yield one line for each rule that the revision breaks."""
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    upgrade = functions["upgrade"]
    on_sqlite = {node for branch in ast.walk(upgrade) if isinstance(branch, ast.If) and _is_sqlite_only(branch) for node in _nodes(branch)}
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call) and node not in on_sqlite]
    created_tables = {_string_argument(call, 0) for call in calls if _called(call) == ("op", "create_table")}
    waits = ("operations", "wait_briefly") in map(_called, calls)
    for call in calls:
        kind, name = _called(call)
        if kind == "op":
            yield from _rules_broken_by_operation(name, call, created_tables, waits=waits)
        if (kind, name) == ("operations", "rebuild_table"):
            yield "operations.rebuild_table: rebuild on SQLite only"
        if name == "add_column" and "nullable=False" in ast.unparse(call) and "server_default" not in ast.unparse(call):
            yield f"{kind}.add_column: nullable, or with a constant default, so that earlier code can still insert"
    if "op.batch_alter_table" in source:
        yield "op.batch_alter_table: rebuild on SQLite only, by operations.rebuild_table"
    steps = [name for kind, name in map(_called, calls) if kind == "operations" and name in SINGLE_STEPS]
    others = {("op", "add_column"), ("op", "create_table")} & set(map(_called, calls))
    if len(steps) > 1 or (steps and others):
        yield "upgrade: one concern per revision, an index or a CHECK has a revision of its own"


def _rules_broken_by_operation(name: str, call: ast.Call, created_tables: set[str | None], *, waits: bool) -> Iterator[str]:
    if name in REMOVES:
        yield f"op.{name}: upgrade only adds; what earlier code may still use is removed in a later release"
    elif name in SCANS_LARGE_TABLES and _string_argument(call, 1) not in created_tables:
        yield f"op.{name}: the table may be large, use operations"
    elif name == "add_column":
        if not waits:
            yield "op.add_column: begin with operations.wait_briefly()"
    elif name == "execute":
        yield from _rules_broken_by_sql(ast.unparse(call))


def _rules_broken_by_sql(sql: str) -> Iterator[str]:
    if SQL_THAT_REMOVES.search(sql):
        yield "op.execute: upgrade only adds; what earlier code may still use is removed in a later release"
    if SQL_THAT_BLOCKS_USERS.search(sql):
        yield "op.execute: the table may be large, use operations"


def _called(call: ast.Call) -> tuple[str, str]:
    """Return the name of the called function: ("op", "create_index") for `op.create_index(...)`."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.value.id, function.attr
    return "", ast.unparse(function)


def _string_argument(call: ast.Call, position: int) -> str | None:
    """Return the string literal at a position of the arguments, if there is one."""
    argument = call.args[position] if len(call.args) > position else None
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None


def _is_sqlite_only(branch: ast.If) -> bool:
    return bool(re.fullmatch(r".*dialect\.name == 'sqlite'", ast.unparse(branch.test)))


def _nodes(branch: ast.If) -> Iterator[ast.AST]:
    for statement in branch.body:
        yield from ast.walk(statement)
