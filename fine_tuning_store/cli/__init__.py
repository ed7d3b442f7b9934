"""The command line `fine-tuning-store`. Its packages are an extra; without them `main` says how to install them."""

import gc
import sys


def main() -> None:
    """Run the command line with the arguments of this process, and exit with its code.

    What was imported is left out of collections of garbage, the last one included: a quarter of the time of a short command.
    """
    gc.freeze()
    try:
        import rich
        import typer
    except ImportError:
        sys.stderr.write("the command line is an extra: pip install 'fine-tuning-store[cli]'\n")
        sys.exit(2)
    del rich, typer

    from fine_tuning_store.cli.app import run

    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)
