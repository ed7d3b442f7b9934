"""The ORM classes of the tables, for a host's own queries, foreign keys and relationships.

Their relationships are view-only and load nothing by themselves (`lazy="raise"`): name what a query needs by a loader option such as
`selectinload(JobRow.result_files)`. Write jobs through the repositories, which keep the rules that the tables alone cannot.
"""

from fine_tuning_store.sql.base import Base
from fine_tuning_store.sql.models import (
    CheckpointPermissionRow,
    CheckpointRow,
    EventRow,
    JobErrorRow,
    JobHyperparametersRow,
    JobMetadataRow,
    JobResultFileRow,
    JobRow,
    JobTransitionRow,
)
from fine_tuning_store.sql.store_models import CompatibilityRow, IdempotencyKeyRow

__all__ = [
    "Base",
    "CheckpointPermissionRow",
    "CheckpointRow",
    "CompatibilityRow",
    "EventRow",
    "IdempotencyKeyRow",
    "JobErrorRow",
    "JobHyperparametersRow",
    "JobMetadataRow",
    "JobResultFileRow",
    "JobRow",
    "JobTransitionRow",
]
