"""Judges a chaos run by its logs: what was attempted, accepted and completed, and which fault explains which re-run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

# Seconds for which a finished job may wait to be settled, while a connection is given up or a stopped process goes on,
# not counting the time for which the server is away: what dies then takes the news of it along.
UNSETTLED = 5.0


@dataclass(frozen=True)
class Line:
    """One line of a log: what happened to which job, in which worker and child, at which monotonic time."""

    word: str
    key: str
    worker: str
    pid: int
    at: float


@dataclass(frozen=True)
class Fault:
    """Something that may make jobs of a worker run again; of one child only if ``pid``."""

    worker: str
    begin: float
    end: float
    pid: int = 0


@dataclass
class Run:
    """One execution of a job; ``how`` is end, fail, or nothing if it was cut short."""

    worker: str
    pid: int
    start: float
    how: str = ""
    end: float = float("inf")


@dataclass
class Verdict:
    """The counts of a run, and what is wrong with it."""

    attempted: int = 0
    accepted: int = 0
    completed: int = 0
    dead: int = 0
    recovered: int = 0
    run_again: int = 0
    duplicated: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.unexpected or self.unexplained or self.findings)

    def lines(self) -> list[str]:
        """Return what is printed."""
        told = [
            f"attempted {self.attempted}", f"accepted {self.accepted}", f"completed {self.completed}",
            f"dead {self.dead}", f"lost {len(self.lost)}", f"duplicated {len(self.duplicated)}",
            f"run again {self.run_again}", f"unexplained {len(self.unexplained)}",
            f"unexpected {len(self.unexpected)}", f"recovered {self.recovered}",
        ]  # fmt: skip
        for name in ("lost", "unexpected", "unexplained", "findings"):
            told += [f"{name}: {what}" for what in getattr(self, name)[:20]]
        return told


def parse(text: str) -> list[Line]:
    """Read a log; a last line without an end is one that its writer did not live to finish."""
    lines = []
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            word, key, worker, pid, at = line.split()
            lines.append(Line(word, key, worker, int(pid), float(at)))
    return lines


def runs_of(lines: Iterable[Line]) -> dict[str, list[Run]]:
    """Return the executions of each job, by their start."""
    runs: defaultdict[str, list[Run]] = defaultdict(list)
    for line in sorted(lines, key=lambda line: line.at):
        if line.word == "start":
            runs[line.key].append(Run(line.worker, line.pid, line.at))
            continue
        for run in reversed(runs[line.key]):
            if (run.pid, run.worker, run.how) == (line.pid, line.worker, ""):
                run.how, run.end = line.word, line.at
                break
        else:
            runs[line.key].append(Run(line.worker, line.pid, line.at, line.word, line.at))
    return dict(runs)


def settled_by(end: float, outages: Iterable[Fault]) -> float:
    """Return the time at which what finished at ``end`` must have been settled."""
    bound = end + UNSETTLED
    for outage in sorted(outages, key=lambda one: one.begin):
        if outage.begin < bound and outage.end > end:
            bound += outage.end - max(outage.begin, end)
    return bound


def explained(run: Run, following: Run, faults: Iterable[Fault], outages: Iterable[Fault] = ()) -> bool:
    """Tell whether a job may have run again after ``run``: as it said itself, or as a fault hit it unsettled."""
    if run.how == "fail":
        return True
    bound = min(following.start, settled_by(run.end, outages))
    return any(
        fault.worker == run.worker and fault.pid in (0, run.pid) and fault.end >= run.start and fault.begin <= bound
        for fault in faults
    )


def judge(
    producers: Iterable[Line],
    jobs: Iterable[Line],
    faults: Iterable[Fault],
    dead: Iterable[str],
    outages: Iterable[Fault] = (),
) -> Verdict:
    """Compare what was accepted with what was done.

    Args:
        producers: lines attempt, accept, unknown and refused.
        jobs: lines start, end and fail.
        faults: that may make jobs run again.
        dead: keys of the jobs in the dead set, which ended visibly.
        outages: when the server was away.
    """
    words: defaultdict[str, set[str]] = defaultdict(set)
    for line in producers:
        words[line.word].add(line.key)
    runs, faults, dead, outages = runs_of(jobs), list(faults), set(dead), list(outages)
    completed = {key for key, found in runs.items() if any(run.how == "end" for run in found)}
    verdict = Verdict(len(words["attempt"]), len(words["accept"]), len(completed), len(dead))
    verdict.lost = sorted(words["accept"] - completed - dead)
    verdict.unexpected = sorted(set(runs) - words["attempt"]) + sorted(words["refused"] & set(runs))
    verdict.recovered = len(completed - words["accept"])
    for key, found in runs.items():
        if sum(run.how == "end" for run in found) > 1:
            verdict.duplicated.append(key)
        for run, following in pairwise(found):
            verdict.run_again += run.how != "fail"
            if not explained(run, following, faults, outages):
                verdict.unexplained.append(
                    f"{key} ran in {run.worker}/{run.pid} from {run.start:.3f} to {run.end:.3f} ({run.how or 'cut'}), "
                    f"then in {following.worker}/{following.pid} at {following.start:.3f}"
                )
    return verdict
