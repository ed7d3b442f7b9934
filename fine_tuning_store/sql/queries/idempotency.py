"""The statements of idempotency keys. They name the organization, which is part of the key, so none is restricted to one otherwise."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Integer, bindparam, delete, select, tuple_, update

from fine_tuning_store.sql.models import idempotency_keys as keys
from fine_tuning_store.sql.query_tags import tagged

_THE_KEY = (keys.c.organization_id == bindparam("key_organization_id"), keys.c.key == bindparam("given_key"))
_EXPIRED = keys.c.expires_at <= bindparam("now", type_=keys.c.expires_at.type)
#: Gives an expired key to another job.
TAKE_OVER: Final = tagged(
    "take_over_key",
    update(keys)
    .where(*_THE_KEY, _EXPIRED)
    .values(fingerprint=bindparam("new_fingerprint"), job_id=bindparam("new_job_id"), expires_at=bindparam("new_expires_at")),
)
KEY: Final = tagged("idempotency_key", select(keys.c.fingerprint, keys.c.job_id, keys.c.expires_at).where(*_THE_KEY))
#: The key as it is now, whatever the transaction saw before. A shared lock, because MariaDB has given one to each transaction that found
#: the key taken: each would keep the others from an exclusive one.
KEY_SHARED: Final = KEY.with_for_update(read=True)
RELEASE: Final = tagged("release_key", delete(keys).where(*_THE_KEY, keys.c.job_id == bindparam("its_job_id")))
EXPIRED_KEYS: Final = tagged(
    "expired_keys", select(keys.c.organization_id, keys.c.key).where(_EXPIRED).limit(bindparam("row_limit", type_=Integer))
)
EXPIRED_KEYS_OF_ORGANIZATION: Final = EXPIRED_KEYS.where(_THE_KEY[0])
DELETE_EXPIRED: Final = tagged(
    "delete_expired_keys",
    delete(keys).where(tuple_(keys.c.organization_id, keys.c.key).in_(bindparam("expired", expanding=True)), _EXPIRED),
)
