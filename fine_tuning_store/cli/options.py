"""Options that commands share: groups of them as dataclasses, and the decorator that adds a group to a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer

from fine_tuning_store.cli.stores import OpenStore, open_store

Url = Annotated[
    str,
    typer.Option(
        metavar="URL",
        envvar="FINE_TUNING_STORE_URL",
        help="The URL of the database, e.g. postgresql://user@host/name; with or without a driver, sync or async. "
        "In the environment, its password does not appear in the list of processes.",
    ),
]
SchemaName = Annotated[str | None, typer.Option("--schema", metavar="NAME", help="The PostgreSQL schema of the tables.")]
VersionTable = Annotated[
    str | None, typer.Option(metavar="NAME", help="The version table of the application whose Alembic history includes these revisions.")
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The id of the job.")]
Organization = Annotated[str | None, typer.Option(metavar="ID", help="Jobs of this organization.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, errors included.")]
AsCsv = Annotated[
    bool, typer.Option("--csv", help="Print CSV, with times in ISO 8601. A text that a spreadsheet would run as a formula begins with '.")
]


#: The exit codes of commands about jobs.
EXIT_CODES = """\b
Exit codes:
    0  done; jobs stuck: no job is stuck
    1  jobs stuck: jobs are stuck; jobs import: jobs were refused
    2  usage error, or a value that is not possible
    3  refused or failed, or the output could not be written
    4  another transaction held a lock for too long
  130  interrupted by Ctrl-C"""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The options that name a database."""

    url: Url
    schema: SchemaName = None
    host_version_table: VersionTable = None

    def open(self, *, as_json: bool, read_only: bool = True) -> AbstractContextManager[OpenStore]:
        """Open the store as a block. Its failures end the command with a message, or JSON."""
        return open_store(self.url, self.schema, self.host_version_table, as_json=as_json, read_only=read_only)


@dataclass(frozen=True, kw_only=True)
class Form:
    """The options of how rows are printed."""

    as_json: AsJson = False
    as_csv: AsCsv = False

    def __post_init__(self) -> None:
        if self.as_json and self.as_csv:
            raise typer.BadParameter("cannot be combined with --json", param_hint="'--csv'")


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options: each parameter whose type is a dataclass becomes one option for each of its fields.

    Typer reads the options from the signature of the function that this returns.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {}
    options: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            options += _options_of(parameter.annotation)
        else:
            options.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def run(**given: Any) -> None:
        made = {name: group(**{field.name: given.pop(field.name) for field in fields(group)}) for name, group in groups.items()}
        command(**made, **given)

    run.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _options_of(group: Any) -> Iterable[inspect.Parameter]:
    types = get_type_hints(group, include_extras=True)
    for name, parameter in inspect.signature(group).parameters.items():
        yield parameter.replace(annotation=types[name])


def epilog(*parts: str, examples: Iterable[str]) -> str:
    """Return what the help of a command ends with: examples of its use, and other parts, such as the exit codes."""
    lines = "".join(f"\n    fine-tuning-store {example}" for example in examples)
    return "\n\n".join((f"\b\nExamples:{lines}", *parts))
