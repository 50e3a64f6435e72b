"""Every page below docs/ that has programs runs as printed, on the embedded server of an empty directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_kit import blocks, run_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if any(block.runs for block in blocks(page)))
ALL = sorted(DOCS.rglob("*.md"))


def shown(page: Path) -> str:
    return str(page.relative_to(DOCS))


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """That of a terminal in an empty directory."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("TASKQ_")}
    scripts = str(Path(sys.executable).parent)
    found |= {"PATH": f"{scripts}:{found['PATH']}", "PYTHONPATH": str(tmp_path), "PWD": str(tmp_path)}
    yield found
    subprocess.run(["taskq", "server", "stop"], cwd=tmp_path, env=found, check=False, capture_output=True)


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_a_page_runs_as_printed(page: Path, environment: dict[str, str], tmp_path: Path) -> None:
    run_page([block for block in blocks(page) if block.runs], tmp_path, environment)


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_no_program_of_a_page_is_left_out(page: Path) -> None:
    assert [block.text for block in blocks(page) if block.language == "python" and not block.runs] == []


@pytest.mark.parametrize("page", ALL, ids=shown)
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(((?!http)[^)#]*)(#[^)]*)?\)", page.read_text("utf-8"))
    for path, anchor in targets:
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor and target.suffix == ".md":
            assert anchor[1:] in anchors(target), f"{path}{anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
