"""The crawl, the main job: four real workers over a small site, checked by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers import TestServer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Thirty sources in three packages, one of which does not parse."""
    root = tmp_path / "tree"
    for package in ("one", "two", "two/inner"):
        (root / package).mkdir(parents=True)
        for number in range(10):
            (root / package / f"m{number}.py").write_text(f"def f{number}(x):\n    return 1 if x else {number}\n")
    (root / "one" / "m0.py").write_text("def broken(:\n")
    return root


def crawl(server: TestServer, namespace: str, tree: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workers.demo", "--root", str(tree), "--db", str(tmp_path / "db.sqlite")]
    return subprocess.run(
        [*command, "--logs", str(tmp_path / "logs")], cwd=ROOT, capture_output=True, text=True, timeout=99, check=False,
        env={**os.environ, "TASKQ_URL": server.url, "TASKQ_NAMESPACE": namespace},
    )  # fmt: skip


def test_the_crawl_accepts_one_record_per_file_and_ends_0(
    server: TestServer, namespace: str, tree: Path, tmp_path: Path
) -> None:
    done = crawl(server, namespace, tree, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = done.stdout.split("mean complexity")[1].split("most complex")[0].split()
    assert [figure for figure in figures if figure.isdigit()][:2] == ["30", "1"], done.stdout
