"""Run a benchmark by its name: `python -m tests.benchmarks batches`."""
# ruff: noqa: T201 - a program that prints its result

from __future__ import annotations

import sys

from tests.benchmarks import batches

BENCHMARKS = {"batches": batches.main}


def main() -> int:
    """Run the benchmark that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in BENCHMARKS:
        print(f"usage: python -m tests.benchmarks {{{','.join(BENCHMARKS)}}} [OPTIONS]", file=sys.stderr)
        return 2
    return BENCHMARKS[name](sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
