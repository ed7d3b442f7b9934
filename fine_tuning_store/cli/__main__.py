"""`python -m fine_tuning_store.cli`, where the command itself is not on the PATH."""

from fine_tuning_store.cli import main

main()
