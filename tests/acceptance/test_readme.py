"""Every block of the README's tour runs as printed, in the printed order, in a directory where nothing else is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_kit import blocks, run_page
from servers import TestServer
from worker_kit import wait_until

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An empty directory with a server of its own, and the environment of a terminal in it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKQ_")}
    scripts = str(Path(sys.executable).parent)
    environment |= {"PATH": f"{scripts}:{environment['PATH']}", "PYTHONPATH": str(tmp_path), "PWD": str(tmp_path)}
    yield environment
    subprocess.run(["taskq", "server", "stop"], cwd=tmp_path, env=environment, check=False, capture_output=True)


def test_the_tour_runs_as_printed(project: dict[str, str], tmp_path: Path) -> None:
    # Left out is the set-up, which ran before this test could, and the crawl, which has a test of its own.
    left_out = ("make ", "pip ")
    tour = [block for block in blocks(README) if not block.text.startswith(left_out) and "terminals" not in block.marks]
    run_page(tour, tmp_path, project)


def test_the_crawl_by_hand_runs_as_printed(project: dict[str, str], server: TestServer, namespace: str) -> None:
    (block,) = [block for block in blocks(README) if "terminals" in block.marks]
    *services, crawl, report = block.text.strip().splitlines()
    environment = project | {"TASKQ_URL": server.url, "TASKQ_NAMESPACE": namespace}
    terminals = [
        subprocess.Popen(line.split(), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for line in services
    ]
    try:
        wait_until(lambda: is_served(crawl.split()[3]), "the site is up")
        done = subprocess.run(
            crawl.split(), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False
        )
        assert done.returncode == 0, done.stderr
        shown = subprocess.run(report.split(), cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert (shown.returncode, "most complex functions" in shown.stdout) == (0, True), shown.stdout + shown.stderr
    finally:
        for terminal in terminals:
            terminal.send_signal(signal.SIGINT)
        for terminal in terminals:
            terminal.wait(30)


def is_served(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return page.status == 200
    except OSError:
        return False


def test_every_block_is_run_or_says_why_not() -> None:
    for block in blocks(README):
        assert block.runs, f"a block that no test runs: {block.text[:60]}"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)", README.read_text("utf-8")))))
def test_every_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()
