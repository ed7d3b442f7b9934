"""Leases with async methods. What a method does is documented at Lease and LeaseRepository."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from sqlalchemy.util import greenlet_spawn

from fine_tuning_store.aio.bridge import Bridge, bridged
from fine_tuning_store.aio.repositories import AsyncRepository
from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.repositories.lease import Lease, beat, require_own_transactions
from fine_tuning_store.repositories.leases import LeaseRepository

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class AsyncLease(Bridge[Lease]):
    """Lease with async methods."""

    def __init__(self, lease: Lease) -> None:
        self._sync = lease

    @property
    def job(self) -> FineTuningJob:
        """The job, as it was claimed."""
        return self._sync.job

    @property
    def attempt(self) -> int:
        """The number of the attempt that the lease is for."""
        return self._sync.attempt

    @property
    def worker_id(self) -> str:
        """The worker."""
        return self._sync.worker_id

    @property
    def seconds(self) -> int:
        """How long the lease lasts without a heartbeat."""
        return self._sync.seconds

    @property
    def expires_at(self) -> int:
        """When it expires, in Unix seconds of the database's clock, as of the last heartbeat."""
        return self._sync.expires_at

    @property
    def status(self) -> JobStatus | None:
        """The status of the job, as of the last call. None once a call found that the lease was lost."""
        return self._sync.status

    heartbeat = bridged(Lease.heartbeat)
    append_event = bridged(Lease.append_event)
    append_events = bridged(Lease.append_events)
    add_checkpoint = bridged(Lease.add_checkpoint)
    update = bridged(Lease.update)
    succeed = bridged(Lease.succeed)
    fail = bridged(Lease.fail)
    requeue = bridged(Lease.requeue)

    @asynccontextmanager
    async def keep_alive(self) -> AsyncIterator[AsyncLease]:
        """Send heartbeats from a task while the block runs, as Lease.keep_alive does from a thread."""
        require_own_transactions(self._sync)
        task = asyncio.create_task(_beat(self._sync))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    def __repr__(self) -> str:
        return f"Async{self._sync!r}"


async def _beat(lease: Lease) -> None:
    while True:
        await asyncio.sleep(lease.seconds / 3)
        await greenlet_spawn(beat, lease)


def _converted(convert: Callable[[S], T], method: Callable[P, S]) -> Callable[P, T]:
    """Return the method with its result converted."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return convert(method(*args, **kwargs))

    return call


def _async_lease(lease: Lease | None) -> AsyncLease | None:
    return None if lease is None else AsyncLease(lease)


def _async_leases(leases: tuple[Lease, ...]) -> tuple[AsyncLease, ...]:
    return tuple(map(AsyncLease, leases))


class AsyncLeaseRepository(AsyncRepository[LeaseRepository]):
    """LeaseRepository with async methods."""

    _kind = LeaseRepository

    wait = bridged(LeaseRepository.wait)
    stuck = bridged(LeaseRepository.stuck)
    rescue = bridged(LeaseRepository.rescue)

    claim = bridged(_converted(_async_lease, LeaseRepository.claim))
    claim_many = bridged(_converted(_async_leases, LeaseRepository.claim_many))

    def bind(self, lease: AsyncLease) -> AsyncLease:
        """LeaseRepository.bind, which waits for nothing."""
        if not isinstance(lease, AsyncLease):
            raise TypeError(f"bind takes an AsyncLease, which claim returns, not {type(lease).__name__}")
        return AsyncLease(self._sync.bind(lease._sync))
