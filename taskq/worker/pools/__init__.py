"""How job code runs inside a child process."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from taskq.errors import InvalidOption, shorten

if TYPE_CHECKING:
    from taskq.worker.pools.base import Pool

# Dotted names, imported on demand: only a gevent child loads gevent, only an asyncio child loads asyncio.
KINDS = {
    "process": "taskq.worker.pools.process_pool.ProcessPool",
    "thread": "taskq.worker.pools.thread_pool.ThreadPool",
    "gevent": "taskq.worker.pools.gevent_pool.GeventPool",
    "asyncio": "taskq.worker.pools.asyncio_pool.AsyncioPool",
}


def check_kind(kind: object) -> str:
    """Return ``kind`` if it is a pool.

    Raises:
        InvalidOption: otherwise.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidOption(f"pool {shorten(kind)} is none of {', '.join(KINDS)}")
    return kind


def load_pool(kind: str) -> type[Pool]:
    """Import the class of ``kind``.

    Raises:
        InvalidOption: if there is no such pool.
        ImportError: if a package that it needs is not installed.
    """
    module, _, name = KINDS[check_kind(kind)].rpartition(".")
    pool: type[Pool] = getattr(import_module(module), name)
    return pool
