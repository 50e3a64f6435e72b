"""Kills what a supervisor leaves behind when it is killed itself.

The kernel kills the children with their supervisor, but not what their jobs had started. So a shell of about a megabyte
waits at a pipe from the supervisor, knows the process groups of the children, and kills them when the pipe ends.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from contextlib import suppress

SHELL = "/bin/sh"
# A group number is digits only, as it becomes a word.
SCRIPT = """
groups=' '
while read -r sign group; do
  case $group in ''|*[!0-9]*) continue ;; esac
  case $sign in
    +) groups="$groups$group " ;;
    -) case $groups in *" $group "*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;; esac ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
"""

DEAF_TO = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # to everybody: only the pipe ends the guard

logger = logging.getLogger(__name__)


class Guard:
    """The shell. Without one the supervisor works all the same, after a warning."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)  # the shell inherits it, from its first instruction
        try:
            self._process = subprocess.Popen(
                [SHELL, "-c", SCRIPT, "taskq-guard"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,  # neither a terminal's signals nor a kill of the supervisor's group reach it
                bufsize=0,
            )
        except OSError as error:
            self._give_up(error)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    @property
    def pid(self) -> int | None:
        """The shell's process id; None without one."""
        return None if self._process is None else self._process.pid

    def add(self, group: int) -> None:
        """Kill the process group ``group`` when this process is gone."""
        self._write(b"+ %d\n" % group)

    def remove(self, group: int) -> None:
        """Do not kill ``group`` any more: it is gone, and its number may go to others."""
        self._write(b"- %d\n" % group)

    def _write(self, line: bytes) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            os.write(self._process.stdin.fileno(), line)  # shorter than PIPE_BUF: whole or not at all
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.warning(
            "no guard (%s): processes that jobs start may outlive a worker that is killed",
            error,
            extra={"action": "no_guard"},
        )
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait()  # it has closed its end of the pipe: it is gone

    def close(self) -> None:
        """End the shell; it kills what it still watches."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        process.wait()
