"""The page of a report in a real browser: Debian's chromium, without a window."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_kit import NOON, make_report, make_run
from worker_kit import wait_until

from taskq.client.runs import Run
from taskq.report.page import render_page

CHROMIUM = shutil.which("chromium")
OPENED = 3000  # milliseconds in which the page of 100,000 jobs must be drawn
MAX_SIZE = 8_000_000  # bytes of that page
PATIENCE = 60.0  # seconds; a loaded machine starts a browser in two
MARGIN, RIGHT = 159, 15  # pixels left and right of the lanes, with the border
LANE = 30  # pixels below the top of the lanes: the first slot, under its worker's name
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--no-first-run", "--enable-logging=stderr", "--window-size=1200,1000",
)  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt-get install chromium")


def browse(page: Path) -> tuple[str, str]:
    """Open a page; returns what became of it, and what the browser logged of it."""
    assert CHROMIUM is not None
    profile = page.parent / "profile"
    with subprocess.Popen(
        [CHROMIUM, *SWITCHES, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            out, log = process.communicate(timeout=PATIENCE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return out, "\n".join(line for line in log.splitlines() if "CONSOLE" in line)


class Tab:
    """A page that stays open, with mouse and keys; speaks the DevTools protocol over a pair of pipes."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        there, self._write = os.pipe()
        self._read, back = os.pipe()
        command = [CHROMIUM, *SWITCHES, f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{there} 4>&{back}', "bash", *command],
            pass_fds=(there, back), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(there)
        os.close(back)
        self._number, self._rest, self._session = 0, b"", ""

    def open(self, page: Path) -> None:
        """Go to a page and wait until it is drawn."""
        target = self.call("Target.createTarget", url=page.as_uri())["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        wait_until(lambda: self.run("document.documentElement.dataset.drawn"), "the page was drawn")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the browser; returns its answer."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._number, "method": method, "params": parameters} | session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            pass  # news that nobody asked for
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self) -> Any:
        while b"\0" not in self._rest:
            assert select.select([self._read], [], [], PATIENCE)[0], "the browser is silent"
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has left"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def run(self, expression: str) -> Any:
        """Evaluate an expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def text(self, selector: str) -> str:
        """What is to be read in an element; empty if it is hidden."""
        found: str = self.run(f"(e => e.hidden ? '' : e.textContent)(document.querySelector('{selector}'))")
        return found

    def mouse(self, kind: str, x: float, y: float, **facts: Any) -> None:
        """Move, press, release or wheel at a point of the lanes; x from 0 to 1 over their time, y in pixels."""
        box = self.run("(b => [b.x, b.y, b.width])(document.getElementById('scroller').getBoundingClientRect())")
        at = box[0] + MARGIN + x * (box[2] - MARGIN - RIGHT)
        self.call("Input.dispatchMouseEvent", type=kind, x=at, y=box[1] + y, **facts)

    def press(self, key: str) -> None:
        """Press a key with the timeline in focus."""
        self.run("document.getElementById('stack').focus()")
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key)

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._write)
        os.close(self._read)


def drawn_after(dom: str) -> int:
    """Milliseconds from asking for the page to its being drawn."""
    found = re.search(r'<html[^>]* data-drawn="(\d+)"', dom)
    assert found, f"the page was not drawn: {dom[:300]}"
    return int(found[1])


def write(path: Path, runs: list[Run], **facts: str) -> Path:
    with path.open("w", encoding="ascii") as out:
        out.writelines(render_page(make_report(runs, **facts)))
    return path


def many(count: int) -> Iterator[Run]:
    """Jobs of eight tasks that 200 slots ran one after another; thousands wait at once, one of a hundred fails."""
    chance = random.Random(1)
    free = [NOON + 1.0] * 200
    for number in range(count):
        slot = number % len(free)
        begun = free[slot] + chance.random() * 1e-4
        free[slot] = begun + chance.lognormvariate(-5, 1)
        bad = chance.random() < 0.01
        yield make_run(
            number, task=f"proj.tasks.kind{int(chance.expovariate(0.5)) % 8}", worker=f"host.{slot // 100}.token",
            slot=slot % 100, enqueued=NOON + number * 1e-5, claimed=begun - 1e-3, started=begun, finished=free[slot],
            **({"ending": "failed", "error": "ValueError", "message": f"bad {number % 40}"} if bad else {}),
        )  # fmt: skip


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 100,000 jobs."""
    return write(tmp_path_factory.mktemp("crowd") / "run.html", list(many(100_000)))


def test_a_hundred_thousand_jobs_are_drawn_in_time(crowd: Path) -> None:
    times = [drawn_after(browse(crowd)[0]) for _ in range(2)]  # another suite may take the cores in one of them
    assert min(times) < OPENED


def test_the_page_of_a_hundred_thousand_jobs_is_no_large_file(crowd: Path) -> None:
    assert crowd.stat().st_size < MAX_SIZE


def test_the_browser_has_nothing_to_complain_of(crowd: Path) -> None:
    assert browse(crowd)[1] == ""


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_few_jobs_are_drawn_too(tmp_path: Path, count: int) -> None:
    dom, log = browse(write(tmp_path / "run.html", list(many(count))))
    assert (drawn_after(dom) < OPENED, log) == (True, "")


def test_a_job_that_never_ran_is_drawn_too(tmp_path: Path) -> None:
    run = make_run(ending="expired", worker="", started=None, claimed=None)
    dom, log = browse(write(tmp_path / "run.html", [run]))
    assert (drawn_after(dom) < OPENED, log) == (True, "")


def test_hostile_texts_are_shown_as_texts(tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=\"document.title='taken'\">"
    run = make_run(task=hostile, id=f"default/{hostile}", ending="failed", error=hostile, message=hostile)
    dom, log = browse(write(tmp_path / "run.html", [run], app=hostile))
    assert ("<img" in dom, "<title>taskq report: &lt;/script&gt;" in dom, log) == (False, True, "")


def test_what_is_put_into_the_page_by_others_cannot_run(tmp_path: Path) -> None:
    page = write(tmp_path / "run.html", [make_run()])
    page.write_text(page.read_text("ascii").replace("</main>", "<script>document.title = 'taken'</script></main>"))
    dom, log = browse(page)
    assert ("<title>taken" in dom, "Content Security Policy" in log) == (False, True)


def test_the_tables_tell_the_tasks_the_slowest_and_the_failures(tmp_path: Path) -> None:
    slow = make_run(1, task="proj.tasks.slow", finished=NOON + 91.5)
    bad = make_run(2, task="proj.tasks.bad", ending="failed", error="ValueError", message="no way")
    dom, _ = browse(write(tmp_path / "run.html", [make_run(), slow, bad]))
    cells = [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", dom, re.DOTALL)]
    assert cells[:9] == ["proj.tasks.slow", "1", "0", "500 ms", "500 ms", "1m30s", "1m30s", "1m30s", "1m30s"]
    assert cells[-6:] == ["proj.tasks.bad", "failed", "ValueError", "1", "no way", bad.id]


@contextlib.contextmanager
def opened(page: Path) -> Iterator[Tab]:
    """A page in a browser of its own."""
    tab = Tab(page.parent)
    try:
        tab.open(page)
        yield tab
    finally:
        tab.close()


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    """The page of three jobs in one lane: from 0 to 1 s, from 4 to 5 s, and one from 9 to 10 s that failed."""
    moments = [(0.0, 1.0), (4.0, 5.0), (9.0, 10.0)]
    runs = [
        make_run(n, id=f"default/job{n}", enqueued=NOON, claimed=NOON, started=NOON + begun, finished=NOON + ended)
        for n, (begun, ended) in enumerate(moments)
    ]
    bad = {"ending": "failed", "error": "ValueError", "message": "no way"}
    with opened(write(tmp_path / "run.html", [*runs[:2], replace(runs[2], **bad)])) as made:
        yield made


def span(tab: Tab) -> float:
    """Seconds that are in view."""
    return float(re.match(r"[0-9.]+(?= s from)", tab.text("#range"))[0])  # type: ignore[index]


def test_a_job_tells_its_facts_to_the_mouse(tab: Tab) -> None:
    tab.mouse("mouseMoved", 0.95, LANE)
    wait_until(lambda: "default/job2" in tab.text("#tip"), "the facts are shown")
    assert "ValueError: no way" in tab.text("#tip")


def test_beside_the_jobs_the_mouse_is_told_what_waits_and_runs(tab: Tab) -> None:
    tab.mouse("mouseMoved", 0.3, LANE)
    wait_until(lambda: "waiting2running0" in tab.text("#tip"), "the counts are shown")


def test_a_click_keeps_the_facts(tab: Tab) -> None:
    tab.mouse("mousePressed", 0.45, LANE, button="left", clickCount=1)
    tab.mouse("mouseReleased", 0.45, LANE, button="left", clickCount=1)
    wait_until(lambda: "default/job1" in tab.text("#chosen"), "the job is chosen")


def test_the_wheel_zooms_where_the_mouse_is(tab: Tab) -> None:
    before = span(tab)
    for _ in range(5):
        tab.mouse("mouseWheel", 0.95, LANE, deltaX=0, deltaY=-120)
    wait_until(lambda: span(tab) < before / 2, "the view is shorter")
    tab.mouse("mouseMoved", 0.95, LANE)
    wait_until(lambda: "default/job2" in tab.text("#tip"), "the same job is under the mouse")


def test_keys_zoom_and_the_zero_shows_all(tab: Tab) -> None:
    before = span(tab)
    tab.press("+")
    wait_until(lambda: span(tab) < before, "the view is shorter")
    tab.press("0")
    wait_until(lambda: span(tab) == before, "all is in view")


def test_dragging_moves_the_view(tab: Tab) -> None:
    tab.press("+")
    before = tab.text("#range")
    tab.mouse("mousePressed", 0.3, LANE, button="left", clickCount=1)
    tab.mouse("mouseMoved", 0.5, LANE, button="left", buttons=1)
    tab.mouse("mouseReleased", 0.5, LANE, button="left", clickCount=1)
    wait_until(lambda: tab.text("#range") != before, "the view moved")


def test_keys_go_from_job_to_job(tab: Tab) -> None:
    for key, job in (("n", "job0"), ("n", "job1"), ("p", "job0")):
        tab.press(key)
        wait_until(lambda job=job: f"default/{job}" in tab.text("#chosen"), f"{job} is chosen")


def test_a_button_of_the_tables_shows_the_job_in_the_timeline(tab: Tab) -> None:
    tab.run("document.querySelector('#failures button').click()")
    wait_until(lambda: "default/job2" in tab.text("#chosen"), "the job is chosen")


def test_a_task_of_the_legend_is_pressed_and_let_go(tab: Tab) -> None:
    states = []
    for _ in range(2):
        tab.run("document.querySelector('#legend button').click()")
        states.append(tab.run("document.querySelector('#legend button').getAttribute('aria-pressed')"))
    assert states == ["true", "false"]


def test_keys_scroll_slots_that_are_too_many_to_see(tmp_path: Path) -> None:
    with opened(write(tmp_path / "run.html", list(many(400)))) as tab:
        tab.press("ArrowDown")
        wait_until(lambda: tab.run("document.getElementById('scroller').scrollTop") > 0, "the slots scrolled")
        tab.mouse("mouseMoved", 0.505, 24)
        wait_until(lambda: "slot 8" in tab.text("#tip"), "the slot under the mouse is the one that is drawn there")
