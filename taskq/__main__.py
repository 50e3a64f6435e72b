"""Runs the command line, as ``taskq`` or ``python -m taskq``. Imports nothing else and patches nothing."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    from taskq.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
