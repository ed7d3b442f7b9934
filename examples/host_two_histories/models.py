"""The tables of an application that stores fine-tuning jobs in the same database."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fine_tuning_store.models import JobRow


class Base(DeclarativeBase):
    """The base class of the application's tables. The store's tables are not in its metadata."""


class Charge(Base):
    """The cost of a fine-tuning job."""

    __tablename__ = "charges"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(JobRow.id, name="fk_charges_job_id", ondelete="CASCADE"), index=True)
    cents: Mapped[int]
