"""`python -m fine_tuning_store.cli`, for an environment whose scripts are not on the PATH."""

from fine_tuning_store.cli import main

main()
