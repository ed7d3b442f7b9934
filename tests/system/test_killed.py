"""A migration that is killed (SIGKILL) after any of its statements is finished by the next one, and no row is lost."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from itertools import count

import pytest
from sqlalchemy import Engine, event, text

from fine_tuning_store import FineTuningStore
from tests.support.parallel import at_once

FIRST = "fine_tuning_store_0001"
#: Inserts only the columns that 0001 requires.
JOB = text(
    "INSERT INTO fine_tuning_jobs (id, organization_id, created_at, status, model, training_file) "
    "VALUES ('ftjob-1', 'org-1', 1700000000, 'running', 'm', 'f')"
)
HYPERPARAMETERS = text("INSERT INTO fine_tuning_job_hyperparameters (job_id, n_epochs) VALUES ('ftjob-1', 3)")


def from_nothing(store: FineTuningStore) -> None:
    """Start from an empty database."""


def from_the_first(store: FineTuningStore) -> None:
    """Start from the first revision with a stored job."""
    store.schema.upgrade(FIRST)
    with store.engine.begin() as connection:
        connection.execute(JOB)
        connection.execute(HYPERPARAMETERS)


def kill(url: str, migrate: Callable[[FineTuningStore], None], last_statement: int, *pooled: bool) -> bool:
    """Migrate in a child process that is killed after a number of statements. Returns False if it finished before."""
    child = os.fork()
    if child == 0:
        statements = count(1)

        def die(*_: object) -> None:
            if next(statements) == last_statement:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "after_cursor_execute", die)
        with FineTuningStore.from_url(url, transaction_pooler=any(pooled)) as store:
            migrate(store)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def kill_upgrade(wait: Callable[[], object], url: str, last_statement: int) -> bool:
    """Kill an upgrade after a number of statements. Returns False if it finished before."""
    return kill(url, lambda store: store.schema.upgrade(), last_statement)


def kill_upgrades(wait: Callable[[], object], url: str, begin: Callable[[FineTuningStore], None], every: int, *pooled: bool) -> int:
    """Kill an upgrade after every Nth statement, and finish it each time. Returns the number of kills."""
    for number in count():
        with FineTuningStore.from_url(url, transaction_pooler=any(pooled)) as store:
            begin(store)
        if not kill(url, lambda store: store.schema.upgrade(), 1 + number * every, *pooled):
            return number
        with FineTuningStore.from_url(url, transaction_pooler=any(pooled)) as store:
            store.schema.upgrade()
            assert store.schema.check() == (), number
            assert store.schema.current() == store.schema.head()
            if begin is from_the_first:
                assert store.jobs.get("ftjob-1").hyperparameters.n_epochs == 3, number
            store.jobs.create(organization_id="org-1", model="m", training_file="f")
            store.schema.downgrade("base", allow_data_loss=True)
    raise AssertionError


def kill_downgrades(wait: Callable[[], object], url: str, every: int) -> int:
    """Kill a downgrade after every Nth statement, and finish it each time. Returns the number of kills."""
    for number in count():
        with FineTuningStore.from_url(url) as store:
            store.schema.upgrade()
        if not kill(url, lambda store: store.schema.downgrade("base"), 1 + number * every):
            return number
        with FineTuningStore.from_url(url) as store:
            store.schema.downgrade("base")
            store.schema.upgrade()
            assert store.schema.check() == (), number
    raise AssertionError


@pytest.fixture
def every(request: pytest.FixtureRequest) -> int:
    every: int = request.config.getoption("--kill-every")
    return every


@pytest.mark.parametrize("begin", [from_nothing, from_the_first])
def test_an_upgrade_that_is_killed_anywhere_is_finished_by_the_next(
    empty_url: str, begin: Callable[[FineTuningStore], None], every: int
) -> None:
    ((times, failure),) = at_once((kill_upgrades, (empty_url, begin, every)))

    assert failure is None
    logging.getLogger(__name__).info("killed %d times", times)
    assert times > 10 / every


def test_a_downgrade_that_is_killed_anywhere_is_finished_by_the_next(empty_url: str, every: int) -> None:
    ((times, failure),) = at_once((kill_downgrades, (empty_url, every)))

    assert failure is None
    logging.getLogger(__name__).info("killed %d times", times)
    assert times > 10 / every


def test_a_first_upgrade_that_was_killed_is_finished_by_the_next_also_after_a_downgrade(empty_url: str) -> None:
    assert at_once((kill_upgrade, (empty_url, 20))) == [(True, None)]

    with FineTuningStore.from_url(empty_url) as store:
        store.schema.downgrade("base")
        store.schema.upgrade()
        assert store.schema.check() == ()
