"""The embedded server ends with the last who uses it, or when it is told to."""

from __future__ import annotations

import contextlib
import threading

import redis
from embedded_kit import DEADLINE, PROGRAM, USE, client, ended, go, kill, running
from worker_kit import wait_until

from taskq import embedded
from taskq.embedded import place, wire


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
    wait_until(lambda: ended(pid), "the server ends", DEADLINE)


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
        wait_until(lambda: wire.ping(embedded.status(root).socket).startswith("-BUSY"), "the script runs", DEADLINE)
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
