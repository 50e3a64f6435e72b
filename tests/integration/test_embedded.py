"""The embedded server: one per project, started by whoever needs it first, and what it tells of itself."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path

import pytest
from embedded_kit import PROGRAM, USE, client, go, one_line, running

from taskq import embedded
from taskq.embedded import launch, place
from taskq.errors import EmbeddedServerError, InvalidOption

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
