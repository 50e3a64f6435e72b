"""Entry of a child process: ``python -P -m taskq.worker.child '<ChildOptions as JSON>'``.

For the gevent pool the process is patched before anything else is imported, so this module loads next to nothing.
"""

from __future__ import annotations

import json
import sys

from taskq.worker.descriptors import fill_low, release


def main() -> None:
    """Patch if asked to, then load the rest."""
    text = sys.argv[1]
    problem = ""
    if json.loads(text).get("pool") == "gevent":
        problem = _patch()
    from taskq.worker.boot import run

    run(text, problem)


def _patch() -> str:
    """Make the process cooperative; return why that was not possible, or an empty text."""
    taken = fill_low()  # the descriptors of the hub's loop lie above what jobs may close by number
    try:
        from gevent import get_hub, monkey

        monkey.patch_all()
        get_hub().loop.update_now()
    except ImportError as error:
        return f"the gevent pool needs gevent ({error}): pip install 'taskq[gevent]'"
    finally:
        release(taken)
    return ""


if __name__ == "__main__":
    main()
