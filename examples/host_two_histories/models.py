"""The tables of an application that keeps fine-tuning jobs beside them."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fine_tuning_store.models import JobRow


class Base(DeclarativeBase):
    """The application's own metadata. The store's tables are not in it."""


class Charge(Base):
    """What a fine-tuning job costs."""

    __tablename__ = "charges"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(JobRow.id, name="fk_charges_job_id", ondelete="CASCADE"), index=True)
    cents: Mapped[int]
