"""The command line `fine-tuning-store`, an extra: `main` runs it where its packages are installed, and tells how to get them elsewhere."""

import sys


def main() -> None:
    """Run the command line on the arguments of this process, and exit with its code."""
    try:
        import rich
        import typer
    except ImportError:
        sys.stderr.write("the command line is an extra: pip install 'fine-tuning-store[cli]'\n")
        sys.exit(2)
    del rich, typer

    from fine_tuning_store.cli.app import run

    sys.exit(run(sys.argv[1:]))
