"""The base class of the errors, and the error for a wrong value."""

from __future__ import annotations

from typing import Any, Self

from fine_tuning_store.errors.values import pickleable, shown


class FineTuningStoreError(Exception):
    """The base class of all errors of this library."""

    def __reduce__(self) -> tuple[Any, ...]:
        attributes = {name: pickleable(value) for name, value in vars(self).items()}
        return type(self), tuple(map(pickleable, self.args)), attributes

    def __copy__(self) -> Self:
        copy = type(self)(*self.args)
        vars(copy).update(vars(self))
        return copy


class InvalidValueError(FineTuningStoreError, ValueError):
    """An argument, or a member of a payload, is not accepted. Nothing was written.

    Attributes:
        field: Its name in the API, for example `hyperparameters.n_epochs`.
        value: The value.
        rule: What is accepted.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(field, value, rule)
        self.field = field
        self.value = value
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.field}: {self.rule}, not {shown(self.value)}"
