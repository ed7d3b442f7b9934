"""The ORM classes as a host uses them: in its own queries, foreign keys and relationships."""

from __future__ import annotations

import pytest
from sqlalchemy import BigInteger, ForeignKey, create_engine, func, inspect, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, configure_mappers, mapped_column, relationship, selectinload

from fine_tuning_store import FineTuningStore, Hyperparameters, JobError, models
from fine_tuning_store.models import EventRow, JobRow
from fine_tuning_store.sql.models import METADATA
from tests.support.factories import stored


class HostBase(DeclarativeBase):
    pass


class Charge(HostBase):
    __tablename__ = "charges"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(JobRow.id, ondelete="CASCADE"))
    cents: Mapped[int] = mapped_column(BigInteger)
    job: Mapped[JobRow] = relationship(JobRow)


def test_every_table_has_a_class() -> None:
    configure_mappers()

    assert {getattr(models, name).__table__.name for name in models.__all__ if name != "Base"} == METADATA.tables.keys()


def test_a_host_selects_rows_and_names_the_relationships_that_it_needs(store: FineTuningStore) -> None:
    job = stored(
        store,
        status="failed",
        error=JobError(code="broken"),
        hyperparameters=Hyperparameters(n_epochs=3, batch_size="auto"),
        result_files=("file-b", "file-a"),
        metadata={"team": "nlp"},
        usage_metrics={"a": [1]},
    )
    store.events.append_many(job.id, [{"message": "one"}, {"message": "two"}])
    store.checkpoints.create(job.id, step_number=10, fine_tuned_model_checkpoint="ft:ckpt")
    store.checkpoint_permissions.create("ft:ckpt", ["proj-1"])
    relationships = [relation.class_attribute for relation in inspect(JobRow).relationships]

    with Session(store.engine) as session:
        row = session.scalars(select(JobRow).options(*map(selectinload, relationships)).where(JobRow.status == "failed")).one()

        assert (row.id, row.created_at, row.usage_metrics, row.event_count) == (job.id, job.created_at, {"a": [1]}, 2)
        assert row.error is not None
        assert row.error.code == "broken"
        assert (row.hyperparameters.n_epochs, row.hyperparameters.batch_size) == (3, -1)
        assert [file.file_id for file in row.result_files] == ["file-b", "file-a"]
        assert [(pair.key, pair.value) for pair in row.metadata_pairs] == [("team", "nlp")]
        assert [event.message for event in row.events] == ["one", "two"]
        assert [checkpoint.model for checkpoint in row.checkpoints] == ["ft:ckpt"]
        assert [permission.project_id for permission in row.checkpoint_permissions] == ["proj-1"]


@pytest.mark.parametrize("name", ["error", "hyperparameters", "result_files", "metadata_pairs", "events", "checkpoints"])
def test_a_relationship_without_a_loader_option_is_not_loaded_implicitly(sqlite_store: FineTuningStore, name: str) -> None:
    stored(sqlite_store)

    with Session(sqlite_store.engine) as session, pytest.raises(InvalidRequestError, match="raise"):
        getattr(session.scalars(select(JobRow)).one(), name)


def test_a_host_joins_its_own_tables_to_jobs(url: str) -> None:
    engine = create_engine(url)
    HostBase.metadata.create_all(engine)
    try:
        with FineTuningStore.from_url(url) as store:
            job, other = stored(store, model="large"), stored(store, model="small")
            store.events.append(job.id, "hello")
        with Session(engine) as session:
            session.add_all(
                [Charge(id=1, job_id=job.id, cents=250), Charge(id=2, job_id=job.id, cents=50), Charge(id=3, job_id=other.id, cents=7)]
            )
            session.flush()
            by_model = select(JobRow.model, func.sum(Charge.cents)).join(Charge.job).group_by(JobRow.model).order_by(JobRow.model)

            assert [(model, int(cents)) for model, cents in session.execute(by_model)] == [("large", 300), ("small", 7)]
            assert session.scalars(select(Charge).where(Charge.id == 1)).one().job.id == job.id
            assert session.scalars(select(EventRow.message).join(EventRow.job).where(JobRow.id == job.id)).all() == ["hello"]
    finally:
        HostBase.metadata.drop_all(engine)
        engine.dispose()
