"""Looks at the server's settings now and then, as somebody may change them under a worker that runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from taskq.broker import doctor, queues
from taskq.broker.broker import Broker
from taskq.broker.session import FIRST_CONTACT, reply_timeout
from taskq.errors import TaskqError

logger = logging.getLogger("taskq.worker")
BEATS: Final = 12  # heartbeats between two looks: a minute at the default of 5 s
EVICTION: Final = "memory-policy"  # the check that finds jobs in danger whoever sends or runs them, and whatever queue
MAX_WHY: Final = 300  # bytes that a queue carries
Aside = Callable[[Callable[[], None]], "Future[object]"]


class Vigil:
    """Used by the supervisor's loop.

    It raises the alarm, has new jobs refused where the server may evict them, and goes on: a worker that stopped would
    leave the jobs where they are in danger.

    Args:
        broker: whose server.
        names: the queues that the worker serves.
        beat: seconds between two heartbeats.
        now: monotonic seconds; the server was examined just before.
        aside: does something in another thread.

    Attributes:
        alarm: what is wrong; empty for nothing.
    """

    def __init__(self, broker: Broker, names: Sequence[str], beat: float, now: float, aside: Aside) -> None:
        self.alarm = ""
        self._broker = broker
        self._names = names
        self._every = BEATS * beat
        self._next = now + self._every
        self._aside = aside
        self._looking: Future[object] | None = None

    def start(self) -> None:
        """Have new jobs accepted, as the server was found fit; who said otherwise may be gone. Returns at once."""
        self._looking = self._aside(lambda: self._refuse(""))

    def tick(self, now: float) -> None:
        """Begin to look if it is time and the last look has ended; returns at once."""
        if now >= self._next and (self._looking is None or self._looking.done()):
            self._next = now + self._every
            self._looking = self._aside(self._look)

    def _look(self) -> None:
        link = self._broker.link(timeout=reply_timeout(FIRST_CONTACT))
        try:
            facts = doctor.gather(link, self._broker.namespace, self._names)
            findings = doctor.check(facts)
        except TaskqError as error:  # the heartbeat says so where the server is away
            logger.debug("the server's settings could not be looked at: %s", error)
            return
        except Exception:  # nobody asks the future
            still = f"; the alarm stays: {self.alarm}" if self.alarm else ""
            logger.exception("the server's settings could not be looked at%s", still, extra={"action": "not_looked"})
            return
        finally:
            link.close()
        refusals = [finding for finding in findings if finding.level == "refuse"]
        found = "; ".join(finding.text for finding in refusals)
        if found:
            logger.error("ALARM: jobs are in danger: %s", found, extra={"action": "alarm"})
        elif self.alarm:
            logger.warning("the server's settings are safe again", extra={"action": "alarm_over"})
        self.alarm = found
        if facts.info.get("maxmemory_policy"):  # who is not told it cannot know better than others
            self._refuse("".join(finding.text for finding in refusals if finding.name == EVICTION))

    def _refuse(self, why: str) -> None:
        """Have the queues refuse new jobs, or accept them again if nothing speaks against it."""
        told = why and f"{why}; workers look again every {self._every:g} s"
        told = told.encode()[:MAX_WHY].decode("utf-8", "ignore")
        for name in self._names:
            try:
                self._broker.run(queues.refuse(self._broker.keys(name), told, self._every), FIRST_CONTACT)
            except TaskqError as error:
                does = "goes on to accept jobs" if why else "may refuse new jobs for some minutes"
                logger.warning("queue %s %s: %s", name, does, error, extra={"action": "not_refused", "queue": name})
