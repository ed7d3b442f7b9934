"""How jobs are stored and queried at run time: tables, column types, statements with the mapping of their rows, and the databases."""
