"""Which files ``taskq worker --reload`` watches, and what it says of their changes."""

from __future__ import annotations

import contextlib
import itertools
import py_compile
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import pytest

from taskq.cli import worker as command
from taskq.cli.main import run
from taskq.errors import ConfigError
from taskq.worker import reload
from taskq.worker.protocol import PROTOCOL, Hello
from taskq.worker.reload import Watch, folders_of, forget_compiled, home_of, stale_settings, stamps_of

PATIENCE = 30.0  # seconds


def put(folder: Path, *names: str, text: str = "") -> None:
    """Write files, with their directories."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


# --- where ----------------------------------------------------------------------------------------------------------


def test_the_root_is_watched_where_the_app_lies_below_it(tmp_path: Path) -> None:
    put(tmp_path, "shop/__init__.py", "shop/tasks.py")
    assert home_of("shop.tasks:app", str(tmp_path)) == tmp_path


def test_the_root_is_watched_where_the_app_is_not_there_yet(tmp_path: Path) -> None:
    assert home_of("not_there_yet:app", str(tmp_path)) == tmp_path


@pytest.mark.parametrize(("file", "home"), [("faraway/__init__.py", "faraway"), ("faraway.py", "")])
def test_an_app_from_elsewhere_is_watched_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, home: str
) -> None:
    put(tmp_path / "lib", file)
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "lib")])
    assert home_of("faraway:app", str(tmp_path / "here")) == tmp_path / "lib" / home


def test_no_directory_at_all_is_one_line() -> None:
    with pytest.raises(ConfigError, match="--reload finds no directory of the app 'not_there_yet:app'"):
        home_of("not_there_yet:app", "")


def test_nothing_is_imported_to_find_it(tmp_path: Path) -> None:
    put(tmp_path, "unimported/__init__.py")
    home_of("unimported.tasks", str(tmp_path))
    assert "unimported" not in sys.modules


def test_what_nobody_edits_is_not_watched(tmp_path: Path) -> None:
    put(
        tmp_path, "shop/deep/tasks.py", ".git/x.py", ".venv/x.py", "env/pyvenv.cfg", "env/lib/x.py",
        "shop/__pycache__/x", "web/node_modules/x.py", "vendor/site-packages/x.py",
    )  # fmt: skip
    found = {str(Path(folder).relative_to(tmp_path)) for folder in folders_of(tmp_path)}
    assert found == {".", "shop", "shop/deep", "web", "vendor"}


def test_too_many_directories_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "MAX_FOLDERS", 2)
    put(tmp_path, "a/x.py", "b/x.py")
    with pytest.raises(ConfigError, match=r"more than 2 directories below .*; start the worker in"):
        folders_of(tmp_path)


# --- changes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[[str], set[str]]]:
    """Watch ``tmp_path``; write a file again and again until it is told; return all that was told meanwhile."""
    heard: queue.Queue[frozenset[str]] = queue.Queue()
    texts = itertools.count()
    put(tmp_path, "shop/tasks.py", "shop/__pycache__/tasks.py", "shop/notes.txt")
    watch = Watch("shop", str(tmp_path), lambda function: function(), heard.put)

    def write(name: str) -> set[str]:
        found: set[str] = set()
        for _ in range(int(PATIENCE / 0.2)):  # the first may come before the thread watches
            put(tmp_path, name, text=f"x = {next(texts)}")
            with contextlib.suppress(queue.Empty):
                found |= {str(Path(path).relative_to(tmp_path)) for path in heard.get(timeout=0.2)}
            if name in found:
                break
        return found

    yield write
    watch.close()
    assert not watch._thread.is_alive()


def test_a_source_that_changed_is_told(told: Callable[[str], set[str]]) -> None:
    assert told("shop/tasks.py") == {"shop/tasks.py"}


def test_a_source_in_a_new_directory_is_told(told: Callable[[str], set[str]]) -> None:
    told("shop/tasks.py")
    assert "shop/fresh/views.py" in told("shop/fresh/views.py")


def test_a_directory_that_came_later_is_watched(told: Callable[[str], set[str]], tmp_path: Path) -> None:
    told("shop/fresh/views.py")
    assert "shop/fresh/models.py" in told("shop/fresh/models.py")


@pytest.mark.parametrize("name", ["shop/notes.txt", "shop/.#tasks.py", "shop/__pycache__/tasks.py", ".git/x.py"])
def test_what_is_no_source_is_not_told(told: Callable[[str], set[str]], tmp_path: Path, name: str) -> None:
    told("shop/tasks.py")
    put(tmp_path, name)
    assert told("shop/tasks.py") == {"shop/tasks.py"}


def test_a_change_from_before_the_directories_are_watched_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "tasks.py")
    heard: queue.Queue[frozenset[str]] = queue.Queue()
    begin = threading.Event()
    monkeypatch.setattr(Watch, "_run", lambda watch, run=Watch._run: (begin.wait(PATIENCE), run(watch)))
    watch = Watch("tasks", str(tmp_path), lambda function: function(), heard.put)
    (tmp_path / "tasks.py").write_text("changed = 1", "utf-8")
    begin.set()
    try:
        assert heard.get(timeout=PATIENCE) == {str(tmp_path / "tasks.py")}
    finally:
        watch.close()


def test_a_source_that_is_written_again_as_it_was_is_not_told_again(
    told: Callable[[str], set[str]], tmp_path: Path
) -> None:
    told("shop/tasks.py")
    same = tmp_path / "shop/tasks.py"
    same.write_text(same.read_text("utf-8"), "utf-8")
    assert told("shop/views.py") == {"shop/views.py"}


def test_a_source_that_went_and_came_back_is_told_both_times(told: Callable[[str], set[str]], tmp_path: Path) -> None:
    told("shop/tasks.py")
    (tmp_path / "shop/tasks.py").unlink()
    assert "shop/tasks.py" in told("shop/views.py") | told("shop/models.py")


def test_a_link_to_nowhere_hides_no_other_source(tmp_path: Path) -> None:
    put(tmp_path, "shop/a.py", "shop/z.py")
    for name in "bcdefg":
        (tmp_path / f"shop/{name}.py").symlink_to("nowhere")
    assert {Path(path).name for path in stamps_of([str(tmp_path / "shop")])} == {"a.py", "z.py"}


NOBODY = """
import os, platform, queue, sys
from pathlib import Path
import watchfiles
from taskq.worker.reload import Watch
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
home, heard = Path(sys.argv[1]), queue.Queue()
watch = Watch("shop", str(home), lambda function: function(), heard.put)
for attempt in range(100):
    (home / "open/shop.py").write_text(f"x = {attempt}")
    try:
        print(*heard.get(timeout=0.2))
        break
    except queue.Empty:
        pass
watch.close()
"""


def test_a_directory_that_may_not_be_read_is_left_out() -> None:
    with tempfile.TemporaryDirectory() as folder:  # where anybody may go, unlike a test's own
        home = Path(folder)
        put(home, "open/shop.py", "shut/secret.py")
        for name, mode in (("", 0o755), ("open", 0o777), ("open/shop.py", 0o666), ("shut", 0o000)):
            (home / name).chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", NOBODY, folder], check=False, timeout=PATIENCE, capture_output=True, text=True
        )
        (home / "shut").chmod(0o700)
    assert (done.stdout, done.returncode) == (f"{home}/open/shop.py\n", 0), done.stderr


def test_what_was_compiled_of_a_changed_source_is_dropped(tmp_path: Path) -> None:
    put(tmp_path, "tasks.py")
    source = str(tmp_path / "tasks.py")
    py_compile.compile(source)
    forget_compiled([source, str(tmp_path / "never.py")])
    assert not Path(cache_from_source(source)).exists()


# --- what a child says ----------------------------------------------------------------------------------------------


def says(*queues: str, namespace: str = "taskq", **more: Any) -> Hello:
    return Hello(PROTOCOL, "1", 1, namespace=namespace, queues=[(name, "fifo", 0) for name in queues], **more)


@pytest.mark.parametrize(
    ("first", "now", "chosen", "text"),
    [
        (says("a"), says("a"), False, ""),
        (says("a", "b"), says("a"), False, ""),
        (says(), says("default"), False, ""),
        (says("a"), says("a", "b", "c"), False, "the queues b, c"),
        (says("a"), says("a", "b"), True, ""),
        (says("a"), says("b", namespace="other"), False, "its server or namespace and the queues b"),
        (says(), says(beat=1.0), True, "its heartbeat or lease"),
        (says(), says(ttl=60.0), True, "its heartbeat or lease"),
        (says(), says(signing_key=["secret"]), True, "its signing keys"),
        (says(signing_key=["secret"]), says(signing_key=["secret"], require_signed=True), True, "its signing keys"),
        (
            says(),
            says("a", beat=1.0, url="x"),
            False,
            "its server or namespace, its heartbeat or lease and the queues a",
        ),
    ],
)
def test_what_asks_for_a_new_start_is_named(first: Hello, now: Hello, chosen: bool, text: str) -> None:
    assert stale_settings(first, now, chosen=chosen) == text


# --- the option -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "variable", "shown"), [(["--reload"], "", "--reload"), ([], "1", "TASKQ_RELOAD")]
)
def test_a_missing_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    variable: str,
    shown: str,
) -> None:
    monkeypatch.setenv("TASKQ_RELOAD", variable)
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert run(["worker", *arguments]) == 2
    assert capsys.readouterr().err == (
        f"taskq: {shown} needs watchfiles, which is not installed: pip install 'taskq[reload]'\n"
    )
