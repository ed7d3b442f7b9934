"""The filters of jobs, as options that lists and statistics share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import typer

from fine_tuning_store.cli.times import parse_time
from fine_tuning_store.domain.hyperparameters import STORABLE_RANGES
from fine_tuning_store.domain.job import Hyperparameters
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.repositories.job_filters import JobFilters

#: What the help of commands with these options says about times.
TIMES = """\b
Times are one of:
    30m, 12h, 7d, 2w                       that long ago
    2026-01-31, 2026-01-31T08:00           a date, or a time in UTC
    2026-01-31T08:00+01:00                 a time with its zone
    1769817600                             Unix seconds
--...-since includes its time, --...-until does not."""

Method = Literal["supervised", "dpo", "reinforcement"]


def _option(help: str, *names: str, metavar: str | None = None, **settings: Any) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, show_default=False, **settings)


_NAMES = f'{", ".join(STORABLE_RANGES)}; "auto" never matches'


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The options that a job must all match, in the order of JobFilters."""

    organization: Annotated[str | None, _option("Jobs of this organization.", metavar="ID")] = None
    status: Annotated[
        list[JobStatus] | None, _option(f"Jobs of any of these statuses (repeatable): {', '.join(JobStatus)}.", metavar="STATUS")
    ] = None
    model: Annotated[str | None, _option("Jobs with this base model.", metavar="NAME")] = None
    fine_tuned_model: Annotated[str | None, _option("The job that made this model.", metavar="NAME")] = None
    method: Annotated[Method | None, _option("Jobs with this method: supervised, dpo, reinforcement.", metavar="METHOD")] = None
    training_file: Annotated[str | None, _option("Jobs with this training file.", metavar="ID")] = None
    validation_file: Annotated[str | None, _option("Jobs with this validation file.", metavar="ID")] = None
    result_file: Annotated[str | None, _option("Jobs with this file among their result files.", metavar="ID")] = None
    suffix: Annotated[str | None, _option("Jobs with this suffix.", metavar="TEXT")] = None
    metadata: Annotated[list[str] | None, _option("Jobs with this pair (repeatable: with all of them).", metavar="KEY=VALUE")] = None
    has_metadata: Annotated[
        bool | None, _option("Jobs with at least one metadata pair, or without any.", "--has-metadata/--no-metadata")
    ] = None
    error_code: Annotated[str | None, _option("Jobs that failed with this code.", metavar="CODE")] = None
    hyperparameter_at_least: Annotated[
        list[str] | None, _option(f"Jobs whose hyperparameter is not smaller (repeatable): {_NAMES}.", metavar="NAME=NUMBER")
    ] = None
    hyperparameter_at_most: Annotated[
        list[str] | None, _option("Jobs whose hyperparameter is not larger (repeatable).", metavar="NAME=NUMBER")
    ] = None
    attempt: Annotated[int | None, _option("Jobs that were started this number of times.", min=0, metavar="N")] = None
    created_since: Annotated[str | None, _option("Created at or after TIME.", "--created-since", "--since", metavar="TIME")] = None
    created_until: Annotated[str | None, _option("Created before TIME.", "--created-until", "--until", metavar="TIME")] = None
    finished_since: Annotated[str | None, _option("Ended at or after TIME.", metavar="TIME")] = None
    finished_until: Annotated[str | None, _option("Ended before TIME.", metavar="TIME")] = None
    updated_since: Annotated[str | None, _option("Last changed at or after TIME.", metavar="TIME")] = None
    updated_until: Annotated[str | None, _option("Last changed before TIME.", metavar="TIME")] = None

    def words(self) -> list[str]:
        """Return the options as they were given: a time such as 7d is another one a second later."""
        return [f"{field.name}={value}" for field in fields(self) if (value := getattr(self, field.name)) is not None]

    def of_jobs(self) -> JobFilters:
        """Return the filters as the store takes them. Ends the command if a value is wrong."""
        return {
            "organization_id": self.organization,
            "status": self.status or None,
            "model": self.model,
            "fine_tuned_model": self.fine_tuned_model,
            "method": self.method,
            "training_file": self.training_file,
            "validation_file": self.validation_file,
            "result_file": self.result_file,
            "suffix": self.suffix,
            "metadata": parse_pairs("--metadata", self.metadata) or None,
            "has_metadata": self.has_metadata,
            "error_code": self.error_code,
            "hyperparameters_at_least": parse_limits("--hyperparameter-at-least", self.hyperparameter_at_least),
            "hyperparameters_at_most": parse_limits("--hyperparameter-at-most", self.hyperparameter_at_most),
            "attempt": self.attempt,
            "created_since": parse_time("--created-since", self.created_since),
            "created_until": parse_time("--created-until", self.created_until),
            "finished_since": parse_time("--finished-since", self.finished_since),
            "finished_until": parse_time("--finished-until", self.finished_until),
            "updated_since": parse_time("--updated-since", self.updated_since),
            "updated_until": parse_time("--updated-until", self.updated_until),
        }


def parse_pairs(option: str, texts: Iterable[str] | None) -> dict[str, str]:
    """Return the pairs of a repeatable option. Ends the command if one is no pair, or its key is given twice."""
    pairs: dict[str, str] = {}
    for text in texts or ():
        key, separator, value = text.partition("=")
        if not (separator and key):
            raise typer.BadParameter(f"{text!r} is not a pair: write it as key=value.", param_hint=f"'{option}'")
        if key in pairs:
            raise typer.BadParameter(f"{key!r} is given twice.", param_hint=f"'{option}'")
        pairs[key] = value
    return pairs


def parse_limits(option: str, texts: Iterable[str] | None) -> Hyperparameters | None:
    """Return the hyperparameters of a repeatable option, numbers only."""
    pairs = parse_pairs(option, texts)
    for name in pairs:
        if name not in STORABLE_RANGES:
            raise typer.BadParameter(f"{name!r} cannot be compared: use {', '.join(STORABLE_RANGES)}.", param_hint=f"'{option}'")
    return Hyperparameters(**{name: parse_number(option, name, value) for name, value in pairs.items()}) if pairs else None


def parse_number(option: str, name: str, text: str) -> Any:
    """Return a number, an integer if it is written as one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise typer.BadParameter(f"{name}={text} is not a number.", param_hint=f"'{option}'")
