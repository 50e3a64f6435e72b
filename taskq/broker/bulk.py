"""Enqueueing without a value per job: for batches of a thousand, where each allocation counts."""

from __future__ import annotations

from taskq.broker.call import Argument, Call, make_call
from taskq.broker.keys import QueueKeys
from taskq.broker.scripts import load


def enqueue_flat(queue: QueueKeys, flat: list[Argument], *, forced: bool = False) -> Call[str]:
    """Accept jobs as ``jobs.enqueue`` does.

    Args:
        queue: where to.
        flat: unique, delay in milliseconds, header and body of each job; at most BATCH_JOBS of them.
        forced: pass the bound.
    """
    arguments = ["1" if forced else "0", *flat]
    return make_call(load()["enqueue"], queue, arguments, lambda reply: str(reply[0].decode()), first=str(flat[0]))
