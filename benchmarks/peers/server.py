"""A server of our own for each system in turn, and what it says it did."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import redis

PATIENCE = 10.0  # seconds until it must answer
SCRIPTS = ("eval", "evalsha", "fcall")  # commands whose time is that of a script and of all that it calls


@dataclass(frozen=True)
class Work:
    """What the server has done, or by ``-`` did between two looks."""

    commands: float  # including those within scripts
    reads: float  # of a socket: the honest count of round trips for clients that pipeline
    bytes_in: float
    bytes_out: float
    cpu: float  # seconds
    scripts: float  # seconds within Lua scripts

    def __sub__(self, before: Work) -> Work:
        return Work(*(getattr(self, each.name) - getattr(before, each.name) for each in fields(self)))


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    client: redis.Redis
    described: str
    pid: int
    port: int
    program: str
    folder: Path  # of its files

    def reset(self) -> None:
        self.client.execute_command("FLUSHALL", "SYNC")  # the default is lazy: memory would shrink meanwhile

    def work(self) -> Work:
        info = self.client.info("all")
        return Work(
            commands=info["total_commands_processed"],
            reads=info.get("total_reads_processed", 0),
            bytes_in=info["total_net_input_bytes"],
            bytes_out=info["total_net_output_bytes"],
            cpu=info["used_cpu_user"] + info["used_cpu_sys"],
            scripts=sum(info.get(f"cmdstat_{name}", {"usec": 0})["usec"] for name in SCRIPTS) / 1e6,
        )

    def connected(self) -> int:
        return int(self.client.info("clients")["connected_clients"])

    def memory(self) -> int:
        """Bytes used. Not those of the data set alone: these would leave out what a key costs in the main table."""
        return int(self.client.info("memory")["used_memory"])


def find_program(asked: str | None) -> str:
    """Return the program that was asked for, Debian's redis-server, or the embedded Valkey."""
    if found := shutil.which(asked or "redis-server"):
        return found
    if asked:
        raise SystemExit(f"no program {asked}; name another by --server")
    from taskq.embedded import launch

    return launch.find_program()


@contextlib.contextmanager
def running(program: str, folder: Path, *, durable: bool, port: int = 0) -> Iterator[Server]:
    """Start a server on this port of the loopback, or a free one; it is killed afterwards, its files stay."""
    port = port or free_port()
    settings = {"save": "", "appendonly": "yes" if durable else "no", "appendfsync": "everysec", "bind": "127.0.0.1"}
    words = [word for name, value in settings.items() for word in (f"--{name}", value)]
    with (folder / "server.log").open("ab") as log:
        command = [program, "--port", str(port), "--dir", str(folder), *words]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    client = redis.Redis(port=port)
    try:
        info = _answered(client)
        name = "Valkey" if "valkey_version" in info else "Redis"
        version = info.get("valkey_version", info["redis_version"])
        shown = " ".join(f"--{key} {value or repr('')}" for key, value in settings.items())
        described = f"{name} {version}, TCP, {shown}"
        yield Server(f"redis://127.0.0.1:{port}/0", client, described, process.pid, port, program, folder)
    finally:
        client.close()
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answered(client: redis.Redis) -> dict[str, str]:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return dict(client.info("server"))
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
