"""An app whose import ends when somebody opens the pipe GATE for writing."""

from __future__ import annotations

import os
from pathlib import Path

from apps.acceptance import app

__all__ = ["app"]
Path(os.environ["GATE"]).read_bytes()
