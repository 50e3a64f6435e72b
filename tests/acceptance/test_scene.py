"""The opening scene: connect jobs in threads and processes wait for the check job's Event."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import TestServer

from taskq import TaskQ
from workers.site import Site

ROOT = Path(__file__).parents[2]
WORKER = [sys.executable, "-m", "taskq", "worker", "-A", "workers.app:app"]
PLAY = """
import sys
from workers import scene
url, run, what = sys.argv[1:]
if what == "play":
    print(scene.play(url, run))
else:
    ready = scene.app.Event(run)
    results = [task.delay(url, ready, 2, 0.2) for task in (scene.connect_in_thread, scene.connect_in_process)]
    print([type(result.exception(timeout=30)).__name__ for result in results])
"""


@pytest.fixture
def environment(server: TestServer, namespace: str) -> dict[str, str]:
    return {**os.environ, "TASKQ_URL": server.url, "TASKQ_NAMESPACE": namespace}


@pytest.fixture
def workers(environment: dict[str, str], tmp_path: Path) -> Iterator[None]:
    pools = [("thread", "4", "crawl.findings"), ("process", "2", "crawl.sources"), ("asyncio", "5", "crawl.checks")]
    with (tmp_path / "workers.log").open("wb") as log:
        started = [
            subprocess.Popen(
                [*WORKER, "--pool", pool, "-c", n, "-Q", queue],
                cwd=ROOT, env=environment, stdout=log, stderr=log,
            )
            for pool, n, queue in pools
        ]  # fmt: skip
        yield
        for process in started:
            process.terminate()
        for process in started:
            assert process.wait(20) == 0


def play(environment: dict[str, str], url: str, run: str, what: str = "play") -> str:
    command = [sys.executable, "-c", PLAY, url, run, what]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("workers")
def test_connect_jobs_wait_for_the_event_of_the_check_job(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("x = 1\n")
    with Site(tmp_path) as site:
        said = play(environment, site.url, "r1")
    assert said.startswith("3 connect jobs in threads and 1 in a process waited up to ")
    assert said.endswith("all connected\n")


@pytest.mark.usefixtures("workers")
def test_connect_jobs_give_up_after_their_tries_where_nothing_is_checked(environment: dict[str, str]) -> None:
    assert play(environment, "http://127.0.0.1:1/", "r2", "give up") == "['TimeoutError', 'TimeoutError']\n"


def test_connect_says_what_it_waited_for(server: TestServer, namespace: str) -> None:
    from workers import scene

    with TaskQ("here", server.url, namespace) as app:
        ready = app.Event("r3")
        with pytest.raises(TimeoutError, match=r"was not checked within 2 tries of 0\.05 s"):
            scene.connect("http://127.0.0.1:1/", ready, tries=2, timeout=0.05)
