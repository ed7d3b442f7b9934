"""The example service, run as several processes on one database."""

from __future__ import annotations

import itertools

from tests.embedding.test_service import REQUEST, finished, messages
from tests.support.service import running


def test_two_services_started_at_once_on_an_empty_database_share_its_jobs(empty_url: str) -> None:
    with running(empty_url, demo_worker=True, services=2) as [first, second], first.client() as one, second.client() as two:
        made = [client.fine_tuning.jobs.create(**REQUEST).id for client in (one, two)]

        for client, id in itertools.product((one, two), made):
            assert finished(client, id).status == "succeeded"
            texts = messages(client, id)
            assert len(texts) == len(set(texts)) == 6, texts
            assert len(client.fine_tuning.jobs.checkpoints.list(id).data) == 1
