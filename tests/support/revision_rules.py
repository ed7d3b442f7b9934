"""What a revision may do to tables that hold jobs already: the rules of docs/decisions/0007, as far as a reader of code can tell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

#: Only operations does these, without stopping those who use the table.
THROUGH_LARGE_TABLES = {"create_index", "create_check_constraint", "create_unique_constraint", "create_foreign_key", "create_primary_key"}
#: What code of the release before would miss.
TAKES_AWAY = {"drop_table", "drop_column", "drop_constraint", "drop_index", "alter_column", "rename_table"}
SQL_THAT_TAKES_AWAY = re.compile(r"\b(DROP|RENAME|ALTER\s+COLUMN|MODIFY|CHANGE|TRUNCATE|SET\s+NOT\s+NULL)\b", re.IGNORECASE)
SQL_THAT_STOPS_USERS = re.compile(r"\b(CREATE\s+(UNIQUE\s+)?INDEX|ADD\s+(CONSTRAINT|CHECK|FOREIGN|UNIQUE|PRIMARY))\b", re.IGNORECASE)
SINGLE_STEPS = {"create_index", "drop_index", "add_check_not_valid", "validate_check"}


def broken_rules(source: str) -> Iterator[str]:
    """Every rule that the revision breaks, one line each."""
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    upgrade = functions["upgrade"]
    on_sqlite = {node for branch in ast.walk(upgrade) if isinstance(branch, ast.If) and _asks_for_sqlite(branch) for node in _nodes(branch)}
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call) and node not in on_sqlite]
    made = {_word(call, 0) for call in calls if _called(call) == ("op", "create_table")}
    waits = ("operations", "wait_briefly") in map(_called, calls)
    for call in calls:
        kind, name = _called(call)
        if kind == "op":
            yield from _broken_in_operation(name, call, made, waits=waits)
        if name == "add_column" and "nullable=False" in ast.unparse(call) and "server_default" not in ast.unparse(call):
            yield f"{kind}.add_column: nullable, or with a constant default, so that earlier code can go on inserting"
    steps = [name for kind, name in map(_called, calls) if kind == "operations" and name in SINGLE_STEPS]
    others = {("op", "add_column"), ("op", "create_table")} & set(map(_called, calls))
    if len(steps) > 1 or (steps and others):
        yield "upgrade: one concern a revision, an index or a CHECK is alone in its own"


def _broken_in_operation(name: str, call: ast.Call, made: set[str | None], *, waits: bool) -> Iterator[str]:
    if name in TAKES_AWAY:
        yield f"op.{name}: upgrade only adds; what earlier code may still use goes in a later release"
    elif name in THROUGH_LARGE_TABLES and _word(call, 1) not in made:
        yield f"op.{name}: the table may be large, use operations"
    elif name == "batch_alter_table":
        yield "op.batch_alter_table: rebuild on SQLite only"
    elif name == "add_column":
        if not waits:
            yield "op.add_column: begin with operations.wait_briefly()"
    elif name == "execute":
        yield from _broken_in_sql(ast.unparse(call))


def _broken_in_sql(sql: str) -> Iterator[str]:
    if SQL_THAT_TAKES_AWAY.search(sql):
        yield "op.execute: upgrade only adds; what earlier code may still use goes in a later release"
    if SQL_THAT_STOPS_USERS.search(sql):
        yield "op.execute: the table may be large, use operations"


def _called(call: ast.Call) -> tuple[str, str]:
    """`op.create_index(...)` is ("op", "create_index")."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.value.id, function.attr
    return "", ast.unparse(function)


def _word(call: ast.Call, position: int) -> str | None:
    """The string that a call is given at a position."""
    argument = call.args[position] if len(call.args) > position else None
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None


def _asks_for_sqlite(branch: ast.If) -> bool:
    return bool(re.fullmatch(r".*dialect\.name == 'sqlite'", ast.unparse(branch.test)))


def _nodes(branch: ast.If) -> Iterator[ast.AST]:
    for statement in branch.body:
        yield from ast.walk(statement)
