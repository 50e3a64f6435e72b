"""The recorded terminal session of the documentation, run again with a real worker."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_day_goes_as_it_is_told() -> None:
    differences = runpy.run_path(str(DOCS / "session.py"))["differences"]
    assert list(differences((DOCS / "a-day.md").read_text("utf-8"))) == []
