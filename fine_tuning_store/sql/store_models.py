"""The tables of the store that do not belong to a job, as ORM classes."""

from sqlalchemy import CheckConstraint, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from fine_tuning_store.sql.base import Base, index
from fine_tuning_store.sql.types import Id, Integer, OrganizationId, identifier


class IdempotencyKeyRow(Base):
    """The key of a create request, and the job that the first request with it created. Deleting the job leaves it."""

    __tablename__ = "fine_tuning_idempotency_keys"
    __table_args__ = (
        index("ix_fine_tuning_idempotency_keys_expires_at", "expires_at"),
        {"comment": "Keys of create requests, so that a repeated one makes no second job."},
    )

    organization_id: Mapped[OrganizationId] = mapped_column(primary_key=True)
    key: Mapped[Id] = mapped_column(primary_key=True, comment="of the client's request")
    fingerprint: Mapped[str] = mapped_column(identifier(64), comment="SHA-256 of what the request asked for")
    job_id: Mapped[Id] = mapped_column(comment="job that was created, even if it was deleted since")
    expires_at: Mapped[Integer] = mapped_column(comment="Unix seconds")


class CompatibilityRow(Base):
    """The one row that names the number of the schema and the oldest code number that may use it. Each migration updates it."""

    __tablename__ = "fine_tuning_store_compatibility"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        {"comment": "Number of the schema, and the oldest code number that may use it."},
    )

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    schema_number: Mapped[int] = mapped_column(SmallInteger)
    oldest_code_number: Mapped[int] = mapped_column(SmallInteger)
