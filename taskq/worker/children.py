"""A supervisor's handle of one child process: start it, talk to it, end it, and learn what became of its jobs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from taskq.errors import ProtocolError
from taskq.worker.child_options import ChildOptions, encode_options
from taskq.worker.protocol import Frame, FrameReader, SlotTable

if TYPE_CHECKING:
    from taskq.worker.options import WorkerOptions

DEAF_TO = (signal.SIGTERM, signal.SIGINT)  # what a signal to everybody means for a child is the supervisor's to say
RECEIVE = 1 << 20  # bytes a read
SEND_BUFFER = 1 << 18  # bytes: some milliseconds of jobs, so that a write seldom finds the socket full


class Child:
    """One child process in a process group of its own. Not safe for several threads.

    The kernel kills the child when the *thread* that started it ends: start children from a thread that stays.

    Attributes:
        pid: of the process and of its group.
        slots: how many jobs it runs at once.
        table: what they are.
        ended: nothing more will be read from its socket.
        watched: for the caller, whether a selector watches the socket.
    """

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket, table: SlotTable) -> None:
        self.process = process
        self.pid = process.pid
        self.slots = table.slots
        self.table = table
        self.ended = False
        self._socket = sock
        self._reader = FrameReader()
        self._outgoing = bytearray()

    @classmethod
    def spawn(cls, options: WorkerOptions, slots: int, worker: str) -> Child:
        """Start a child of a worker, with the worker's environment and output.

        Args:
            options: the worker's.
            slots: how many jobs the child runs at once.
            worker: the worker's id, for records.

        Raises:
            OSError: if the process cannot be started.
        """
        return cls.start(
            ChildOptions(
                app=options.app,
                pool=options.pool,
                slots=slots,
                worker=worker,
                queues=tuple(queue.name for queue in options.queues),
                sys_path=options.sys_path,
                log_level=options.log_level,
                log_format=options.log_format,
                job_logs=options.job_logs,
                max_jobs=options.max_jobs,
                max_memory_kib=options.max_memory,
                allow_import=options.allow_import,
                tally=options.tally,
            )
        )

    @classmethod
    def start(
        cls,
        options: ChildOptions,
        *,
        environ: Mapping[str, str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> Child:
        """Start a child; its first frame will be HELLO.

        Args:
            options: ``supervisor``, ``socket`` and ``table`` are filled in here.
            environ: its environment; None is this process's own.
            stdout: a descriptor for its standard output; None is this process's own.
            stderr: likewise.

        Raises:
            OSError: if the process cannot be started.
        """
        ours, theirs = socket.socketpair()
        table, table_fd = SlotTable.create(options.slots)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)  # inherited: until the child has its handlers
        try:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            options = msgspec.structs.replace(options, supervisor=os.getpid(), socket=theirs.fileno(), table=table_fd)
            process = subprocess.Popen(
                # -P: the current directory is no place to import from unless the options say so
                [sys.executable, "-P", "-m", "taskq.worker.child", encode_options(options)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=None if environ is None else dict(environ),
                pass_fds=(theirs.fileno(), table_fd),
                process_group=0,
            )
        except BaseException:
            ours.close()
            table.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
            os.close(table_fd)
        ours.setblocking(False)
        return cls(process, ours, table)

    def fileno(self) -> int:
        """Return the socket's descriptor, for a selector."""
        return self._socket.fileno()

    # -- talking ------------------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Send one frame as far as the socket takes it; the rest waits for ``flush``.

        A child that died meanwhile is no error here: its end is seen when it is read.
        """
        if self._outgoing:
            self._outgoing += frame
            self.flush()
            return
        sent = self._write(frame)
        if sent < len(frame):
            self._outgoing += memoryview(frame)[sent:]

    def flush(self) -> bool:
        """Send what waits, as far as the socket takes it; True if nothing waits any more."""
        if self._outgoing:
            with memoryview(self._outgoing) as view:
                sent = self._write(view)
            del self._outgoing[:sent]
        return not self._outgoing

    @property
    def wants_write(self) -> bool:
        """Whether ``flush`` should be called when the socket takes more."""
        return bool(self._outgoing)

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # the child is gone: its jobs come back by ``collect``
            return len(data)

    def read_frames(self) -> list[tuple[Frame, Any]]:
        """Return the frames that have arrived whole, without waiting; sets ``ended`` at the end.

        Raises:
            ProtocolError: if the child sent what is no frame of a child; it must be killed.
        """
        self.flush()  # a child that answers has read
        data = self._receive()
        return self._parse(data) if data else []

    def _receive(self) -> bytes | None:
        """Return what is there, None if nothing is, empty at the end."""
        try:
            data = self._socket.recv(RECEIVE)
        except BlockingIOError:
            return None
        except OSError:  # reset: it died with frames unread
            data = b""
        self.ended = not data
        return data

    def _parse(self, data: bytes) -> list[tuple[Frame, Any]]:
        frames = list(self._reader.feed(data))
        for kind, _ in frames:
            if kind < Frame.HELLO:
                raise ProtocolError(f"frame {kind.name} does not come from a child")
        return frames

    # -- ending -------------------------------------------------------------------------------------------------------

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the child lives."""
        return self.process.poll()

    def exited(self, status: int) -> None:
        """Take the wait status from a caller that reaped the process itself, as pid 1 must."""
        self.process.returncode = os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """Kill the child and its process group at once.

        The number stays the child's until it is reaped, and the group's while one of its processes lives; a group that
        is gone is no error.
        """
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def collect(self) -> tuple[list[tuple[Frame, Any]], list[int]]:
        """Return what a dead child left; to be called once after its exit, before ``close``.

        The rest of its group is killed first, so that no fork of a job lives on.

        Returns:
            All frames that it had sent and nobody had read, and the handles that it was running and had not answered in
            them. What it held besides never started, or ended without an answer that arrived.

        Raises:
            ProtocolError: if its last bytes are no frames of a child.
        """
        self.kill()
        frames: list[tuple[Frame, Any]] = []
        while data := self._receive():  # to the last byte that is there: a fork may keep the end from coming
            frames += self._parse(data)
        answered: set[int] = set()
        for kind, payload in frames:
            if kind is Frame.DONE:
                answered.update(payload.plain, (ended.handle for ended in payload.ended))
        return frames, [handle for handle, _, _ in self.table.running() if handle not in answered]

    def close(self) -> None:
        """Free the socket and the table; kills the child if it still lives."""
        if self.process.returncode is None:
            self.kill()
            self.process.wait()
        self._socket.close()
        self.table.close()
