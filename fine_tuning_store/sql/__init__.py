"""How jobs are kept: column types, tables, statements and the mapping between rows and domain objects."""
