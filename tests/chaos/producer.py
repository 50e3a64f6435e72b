"""A producer of the chaos run: ``python -m chaos.producer NAME SEED LOG``; it ends at SIGTERM."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from chaos.app import aslow, doomed, flaky, quick, slow

from taskq.errors import BrokerError, BrokerUnavailable, Indeterminate

PAUSE = 0.03  # seconds between two calls; with three producers about 150 jobs a second with the batches
BATCH = 10
PATIENCE = 3.0  # seconds for a result; the jobs before it may take longer, and it is then given up


class Producer:
    """Sends jobs of all kinds and writes down what it tried and what was accepted.

    Args:
        name: begins the keys of its jobs.
        seed: draws what it sends.
        log: descriptor of its log.
    """

    def __init__(self, name: str, seed: int, log: int) -> None:
        self._name = name
        self._dice = random.Random(seed)
        self._log = log
        self._numbers = itertools.count()
        self.stopping = False

    def run(self) -> None:
        kinds: list[Callable[[], tuple[list[str], Callable[[], object]]]] = [
            self._one, self._one, self._one, self._slow, self._aslow, self._later, self._flaky, self._many,
            self._linked, self._asked,
        ]  # fmt: skip
        while not self.stopping:
            keys, send = self._dice.choice(kinds)()
            self._note("attempt", keys)
            try:
                send()
            except Indeterminate:
                self._note("unknown", keys)
            except BrokerUnavailable:
                self._note("refused", keys)
            else:
                self._note("accept", keys)
            time.sleep(PAUSE)

    def _note(self, word: str, keys: list[str]) -> None:
        os.write(self._log, b"".join(f"{word} {key} - 0 {time.monotonic():.6f}\n".encode() for key in keys))

    def _key(self) -> str:
        return f"{self._name}.{next(self._numbers)}"

    def _one(self) -> tuple[list[str], Callable[[], object]]:
        key = self._key()
        return [key], lambda: quick.delay(key)

    def _slow(self) -> tuple[list[str], Callable[[], object]]:
        key, seconds = self._key(), self._dice.uniform(0.05, 0.8)
        return [key], lambda: slow.delay(key, seconds)

    def _aslow(self) -> tuple[list[str], Callable[[], object]]:
        key, seconds, priority = self._key(), self._dice.uniform(0.05, 2.5), self._dice.uniform(-5, 5)
        return [key], lambda: aslow.apply_async((key, seconds), priority=priority)

    def _later(self) -> tuple[list[str], Callable[[], object]]:
        key, countdown = self._key(), self._dice.uniform(0.1, 3.0)
        return [key], lambda: quick.apply_async((key,), countdown=countdown)

    def _flaky(self) -> tuple[list[str], Callable[[], object]]:
        key = self._key()
        return [key], lambda: flaky.delay(key)

    def _linked(self) -> tuple[list[str], Callable[[], object]]:
        """A job that has follow-ups, of which one is to run: by how it ended."""
        key, task = self._key(), self._dice.choice([aslow, doomed])
        self._note("link", [key])
        arguments = (key,) if task is doomed else (key, self._dice.uniform(0.05, 0.5))
        then, otherwise = quick.si(f"{key}:then"), quick.si(f"{key}:else")
        return [key], lambda: task.apply_async(arguments, link=then, link_error=otherwise)

    def _asked(self) -> tuple[list[str], Callable[[], object]]:
        key = self._key()

        def send() -> None:
            result = slow.delay(key, 0.05)
            self._note("accept", [key])
            with suppress(TimeoutError, BrokerError):
                self._note("answer" if result.get(timeout=PATIENCE) == key else "wrong", [key])

        return [key], send

    def _many(self) -> tuple[list[str], Callable[[], object]]:
        keys = [self._key() for _ in range(BATCH)]
        return keys, lambda: quick.delay_many(keys)


def main() -> None:
    name, seed, path = sys.argv[1:]
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_DSYNC, 0o600)
    producer = Producer(name, int(seed), log)

    def stop(*_: object) -> None:
        producer.stopping = True

    signal.signal(signal.SIGTERM, stop)
    producer.run()


if __name__ == "__main__":
    main()
