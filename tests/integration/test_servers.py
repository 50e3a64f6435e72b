"""The servers that all other tests stand on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import TestServer, valkey_program


def wait_until(reached, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.01)


def listening(directory: str) -> bool:
    """Tell whether a process works in the directory."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if str((process / "cwd").readlink()) == directory:
                    return True
            except OSError:
                continue
    return False


def test_valkey_is_the_default_server(server):
    with server.client() as client:
        assert client.info("server")["server_name"] == "valkey"


def test_the_second_server_is_redis_7(redis7):
    with redis7.client() as client:
        assert client.info("server")["redis_version"].startswith("7.")


def test_either_server_has_the_pid_it_tells(any_server):
    with any_server.client() as client:
        assert client.info("server")["process_id"] == any_server.pid


@pytest.mark.corrupts
def test_the_cluster_owns_every_slot(cluster_server, namespace):
    with cluster_server.client() as client:
        assert all(client.set(f"{namespace}:{n}", n) for n in range(50))


def test_the_cluster_comes_back_after_a_kill(start_server, namespace):
    server = start_server(cluster=True, appendonly="yes", appendfsync="always")
    with server.client() as client:
        client.set(namespace, "kept")
    server.restart()
    with server.client() as client:
        assert client.get(namespace) == b"kept"


def test_data_with_a_synced_file_survives_a_kill(start_server, namespace):
    server = start_server(appendonly="yes", appendfsync="always")
    with server.client() as client:
        client.set(namespace, "kept")
    old = server.pid
    server.kill()
    assert not server.running
    server.start()
    assert server.pid != old
    with server.client() as client:
        assert client.get(namespace) == b"kept"


def test_a_server_killed_from_outside_starts_again(start_server):
    server = start_server()
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.running)
    assert server.restart().running


def test_terminate_lets_the_server_write_its_end(start_server):
    server = start_server()
    server.terminate()
    assert "ready to exit" in server.log.read_text()


def test_a_server_that_cannot_start_says_why():
    with pytest.raises(RuntimeError, match="no-such-option"), TestServer(no_such_option="1"):
        pass


def test_a_tcp_server_is_reached_by_its_port(start_server):
    server = start_server(tcp=True)
    assert server.url == f"redis://127.0.0.1:{server.port}"
    with server.client() as client:
        assert client.ping()


def test_a_server_dies_with_a_test_process_that_is_killed():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from servers import TestServer; "
        "server = TestServer(sys.argv[2]).start(); print(server.directory, flush=True); sys.stdin.read()"
    )
    here = str(Path(__file__).parents[1])
    owner = subprocess.Popen(
        [sys.executable, "-c", script, here, valkey_program()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with owner:
        directory = owner.stdout.readline().decode().strip()
        assert listening(directory)
        owner.kill()
    wait_until(lambda: not listening(directory))
    subprocess.run(["rm", "-rf", directory], check=True)


def test_namespaces_differ(namespace, request):
    assert namespace[0] == "t"
    assert len(namespace) == 9
