"""The benchmarks, each a subcommand. Their docstrings say what they measure.

python -m benchmarks overhead --database sqlite --jobs 10000     # each operation beside the bare driver
python -m benchmarks claims --url sqlite:////tmp/claims.db       # claims with a short and a long queue, by many workers
python -m benchmarks growth --database sqlite                    # each list in a small and a large database
python -m benchmarks statistics --url sqlite:////tmp/growth.db   # statistics beside SQL by hand
python -m benchmarks transfers --url sqlite:////tmp/growth.db    # export and import beside the bare driver
python -m benchmarks indexes --url sqlite:////tmp/growth.db      # what each index costs and saves
python -m benchmarks.populate --url sqlite:////tmp/growth.db     # a million synthetic jobs
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks import claims, growth, indexes, overhead, statistics, transfers

COMMANDS = {"overhead": overhead, "claims": claims, "growth": growth, "indexes": indexes, "statistics": statistics, "transfers": transfers}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the store.")
    commands = parser.add_subparsers(required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, description=(module.__doc__ or "").partition("\n")[0])
        module.add_arguments(command)
        command.set_defaults(run=module.main)
    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    main()
