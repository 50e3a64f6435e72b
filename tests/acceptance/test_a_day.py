"""The recorded terminal session of the documentation, run again with a real worker."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_day_goes_as_it_is_told() -> None:
    differences = runpy.run_path(str(DOCS / "session.py"))["differences"]
    assert list(differences((DOCS / "a-day.md").read_text("utf-8"))) == []


def test_what_a_clock_decides_is_not_compared() -> None:
    masked = runpy.run_path(str(DOCS / "session.py"))["masked"]
    idle = "payments  fifo  0  0  0  0  2  -  -     0.0  0.0  open"
    busy = "payments  fifo  0  0  0  0  2  -  -     0.4  0.8  open"
    assert masked(idle) == masked(busy)
    assert masked(busy) != masked(busy.replace("open", "paused"))
    assert masked(busy) != masked(busy.replace("0  2", "1  2"))
