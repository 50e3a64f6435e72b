"""The app of the acceptance tests, run by children whose package knows the next version of the envelope.

All else is as it is: so a job of that version is one that only its number tells from others.
"""

from __future__ import annotations

from taskq.model import job
from taskq.worker import execution

job.VERSION = execution.VERSION = 2

from apps.acceptance import app  # noqa: E402 (a child imports its app after the package)

__all__ = ["app"]
