"""A worker imports because a message names a module: in several threads at once, or one that will not have it."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from taskq.errors import CallRefused
from taskq.worker.importing import find_function

SOON = 10.0  # seconds; a loaded machine needs one


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write modules of a package that no other test has."""
    name = f"pkg_{tmp_path.name}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(module: str, source: str) -> str:
        (folder / f"{module}.py").write_text(source)
        return f"{name}.{module}"

    yield write
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def test_a_module_that_another_thread_is_importing_is_waited_for(package, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "import_gates", (begun, go_on), raising=False)
    module = package(
        "slow",
        "import threading\nbegun, go_on = threading.import_gates\nbegun.set()\nassert go_on.wait(10)\ndef f(): ...\n",
    )

    def find() -> Any:
        return find_function(module, "f", ("*",))

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(find)
        assert begun.wait(SOON)
        second = threads.submit(find)
        try:
            # Time for an answer that comes too soon; a right one cannot come before ``go_on``.
            assert second.exception(0.2) is None, "it looked into a module without its functions"
        except TimeoutError:
            pass
        finally:
            go_on.set()
        assert first.result(SOON) is second.result(SOON)


@pytest.mark.parametrize("raised", ["SystemExit(3)", "KeyboardInterrupt", "GeneratorExit", "BaseException('so')"])
def test_whatever_an_import_raises_the_call_is_refused(package, raised):
    module = package("leaving", f"raise {raised}\n")
    with pytest.raises(CallRefused, match=f"importing its module failed: {raised.partition('(')[0]}") as refused:
        find_function(module, "f", ("*",))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("module", ["__main__", "__init__"])
def test_a_module_by_a_magic_name_is_not_run(package, tmp_path, module):
    ran = tmp_path / "ran"
    name = package(module, f"open({str(ran)!r}, 'w').close()\ndef f(): ...\n")
    with pytest.raises(CallRefused):
        find_function(name, "f", ("*",))
    assert not ran.exists()


@pytest.mark.parametrize("name", ["__getattr__", "__dir__", "__f__"])
def test_a_function_by_a_magic_name_is_no_function_to_be_called(package, name):
    module = package("magic", f"def {name}(n=0): ...\n")
    with pytest.raises(CallRefused, match="Python's own"):
        find_function(module, name, ("*",))


@pytest.mark.parametrize("name", ["_private", "__mangled", "f__"])
def test_a_name_that_merely_has_underscores_is_found(package, name):
    assert find_function(package("plain", f"def {name}(): ...\n"), name, ("*",)).__name__ == name


GREENLETS = """
import sys
from gevent import monkey; monkey.patch_all()
import gevent
from taskq import TaskQ
from taskq.client.importable import CALL_TASK
from taskq.worker.importing import install

sys.path.insert(0, sys.argv[1])
app = TaskQ("a", "redis://localhost")
install(app, ("*",))
calls = [gevent.spawn(app.tasks[CALL_TASK], sys.argv[2], "f", [number], {}) for number in range(3)]
print(*[call.get(timeout=10) for call in calls])
"""


def test_a_module_that_another_greenlet_is_importing_is_waited_for(package, tmp_path):
    module = package("slow", "import time\ntime.sleep(0.01)\ndef f(x): return x\n")  # where greenlets take turns
    command = [sys.executable, "-c", GREENLETS, str(tmp_path), module]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout == "0 1 2\n"
