"""The base class of the ORM classes, and how they declare an index."""

from typing import Final

from sqlalchemy import Index, MetaData
from sqlalchemy.orm import DeclarativeBase

#: The columns of type Name. A new one belongs here too, since it may get an index.
_NAMES: Final = ("model", "fine_tuned_model", "training_file", "validation_file", "suffix", "file_id")


def index(name: str, *columns: str, unique: bool = False) -> Index:
    """Return an index. MariaDB limits one to 3072 bytes, 4 a character: of a name it holds as much as leaves room for an id."""
    prefixes = {column: 255 for column in columns if column in _NAMES}
    return Index(name, *columns, unique=unique, mysql_length=prefixes, mariadb_length=prefixes)


class Base(DeclarativeBase):
    """The base class of the store's rows, with a MetaData of its own."""

    metadata = MetaData(
        naming_convention={
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
