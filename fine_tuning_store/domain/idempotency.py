"""Idempotency keys: what makes two create requests the same."""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256
from typing import Any, Final

from fine_tuning_store.domain.job import STORE_MEMBERS, FineTuningJob

#: How long a key is kept unless the caller says otherwise, and at most: a day, and a year.
KEY_SECONDS: Final = 86_400
MAX_KEY_SECONDS: Final = 366 * 86_400
_NOT_COMPARED: Final = frozenset({"id", "created_at", "seed", *STORE_MEMBERS})


def fingerprint_of(job: FineTuningJob, seed: object, id: str | None) -> str:
    """Return a digest of what a request asked for: the members of the new job, and the seed and the id if the request has them.

    Members that are absent are left out, so that a release with more members finds the same.
    """
    asked = {name: value for name, value in asdict(job).items() if name not in _NOT_COMPARED}
    text = json.dumps(_without_absent({**asked, "seed": seed and str(seed), "id": id}), sort_keys=True)
    return sha256(text.encode()).hexdigest()


def _without_absent(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found = {name: _without_absent(member) for name, member in value.items()}
    return {name: member for name, member in found.items() if member not in (None, {}, [], ())}
