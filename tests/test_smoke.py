from fine_tuning_store import FineTuningStore


def test_a_created_job_is_read_back_as_it_was_answered(store: FineTuningStore) -> None:
    job = store.jobs.create(organization_id="org-1", model="gpt", training_file="file-1", metadata={"team": "nlp"})

    assert store.jobs.get(job.id) == job
