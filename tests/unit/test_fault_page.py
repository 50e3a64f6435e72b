"""The table of faults in docs/ names every fault, and it and that of what was found the tests that there are."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
FOUND = re.compile(r"\[([^]]+)\]\((\.\./tests/[^)]+)\)")
NUMBERS = [*range(1, 20), *range(24, 42)]  # 21 to 23 are faults of Sentinel and Cluster, which are not supported


@pytest.fixture(scope="module")
def faults() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "faults.py"))


def test_every_fault_has_a_test(faults: dict[str, Any]) -> None:
    shown = {number for test in faults["shown"]() for number in test.numbers}
    assert sorted({*NUMBERS, *faults["FAULTS"]} - shown) == []


def test_every_number_on_a_test_is_in_the_table(faults: dict[str, Any]) -> None:
    assert [test for test in faults["shown"]() if not set(test.numbers) <= set(faults["FAULTS"])] == []


def test_the_page_has_the_tests_that_there_are(faults: dict[str, Any]) -> None:
    page = (DOCS / "reliability.md").read_text("utf-8")
    assert faults["render"](page) == page, "run: make docs"


def test_every_test_that_shows_what_was_found_is_there() -> None:
    links = FOUND.findall((DOCS / "found.md").read_text("utf-8"))
    names = {path: re.findall(r"def (test_\w+)\(", (DOCS / path).read_text("utf-8")) for _, path in links}
    assert len(links) > 30
    assert [(words, path) for words, path in links if f"test_{words.replace(' ', '_')}" not in names[path]] == []
