"""Runs the command line, as ``taskq`` or ``python -m taskq``. Imports nothing else and patches nothing."""

from __future__ import annotations


def main() -> None:
    """Run the command line, which exits the process."""
    from taskq.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
