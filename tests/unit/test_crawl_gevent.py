"""Fetching under gevent: waits of many pages pass together, and the crawl's file is never left locked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gevent")

# In a process of its own, patched before anything else, as the gevent pool's children are.
PROGRAM = """
from gevent import monkey
monkey.patch_all()
import sys, time
from gevent.pool import Pool
from workers import web
from workers.site import Site
from workers.store import Run, Store

url, path = sys.argv[1:]
run = Run("r1", url)

def fetch(number):
    answer = web.get(f"{url}f{number}.py")
    with Store(path) as store:
        store.claim(run, [web.Link(f"{url}{number}-{n}.py", "page") for n in range(20)], answer.url)
    return answer.status

with Store.create(path) as store:
    store.open_run(run)
began = time.monotonic()
statuses = Pool(50).map(fetch, range(50))
seconds = time.monotonic() - began
with Store(path) as store:
    print(statuses == [200] * 50, store.progress("r1").urls, seconds < 3)
"""


def test_fifty_pages_wait_together(tmp_path):
    for number in range(50):
        (tmp_path / f"f{number}.py").write_text("")
    from workers.site import Site

    # One after another they would take ten seconds.
    with Site(tmp_path, bounds=(0.2, 0.2)) as site:
        command = [sys.executable, "-c", PROGRAM, site.url, str(tmp_path / "crawl.sqlite")]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2]
        )
    assert (done.stdout, done.stderr) == ("True 1000 True\n", "")
