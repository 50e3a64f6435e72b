"""Judges a chaos run by its logs: what was attempted, accepted and completed, and which fault explains which re-run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest

# Seconds for which a finished job may wait to be settled: what dies then takes the news of it along. The first is for a
# loaded machine; the second is counted from the end of what disturbed the worker: within two seconds a connection is
# tried again.
SETTLING = 0.5
UNSETTLED = 3.0
# What ends a job as dead: children that died of it, workers that vanished with it, tries of the flaky task that failed.
MOST_CRASHES, MOST_LOSSES, MOST_FAILURES = 5, 10, 31


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
    """What hit or disturbed a worker, all of them if it has no name; one child only if ``pid``."""

    worker: str
    begin: float
    end: float
    pid: int = 0


@dataclass
class Run:
    """One execution of a job; ``how`` is end, fail, doom, or nothing if it was cut short."""

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
    answered: int = 0
    followed: int = 0
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
            f"answered {self.answered}", f"followed {self.followed}",
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


def settled_by(run: Run, disturbances: Iterable[Fault]) -> float:
    """Return the time at which the end of a run must have been settled."""
    bound = run.end + SETTLING
    for one in sorted(disturbances, key=lambda one: one.begin):
        if one.worker in ("", run.worker) and one.begin < bound:
            bound = max(bound, one.end + UNSETTLED)
    return bound


def hits(run: Run, until: float, faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults of its worker or child from the begin of a run to a time."""
    return [
        fault
        for fault in faults
        if fault.worker == run.worker and fault.pid in (0, run.pid) and fault.end >= run.start and fault.begin <= until
    ]


def explained(run: Run, following: Run, faults: Iterable[Fault], disturbances: Iterable[Fault] = ()) -> bool:
    """Tell whether a job may have run again after ``run``: as it said itself, or as a fault hit it unsettled."""
    if run.how == "fail" and following.start >= run.end:
        return True
    return bool(hits(run, min(following.start, settled_by(run, disturbances)), faults))


def may_be_dead(runs: list[Run], faults: Iterable[Fault], disturbances: Iterable[Fault]) -> bool:
    """Tell whether a job was given up for a reason: it failed for good, or too often, or harmed too many."""
    faults, disturbances = list(faults), list(disturbances)
    words = [run.how for run in runs]
    crashes = losses = 0
    for run, following in zip_longest(runs, runs[1:]):
        until = settled_by(run, disturbances)
        found = hits(run, until if following is None else min(following.start, until), faults)
        crashes += any(fault.pid for fault in found)
        losses += any(not fault.pid for fault in found)
    return "doom" in words or words.count("fail") >= MOST_FAILURES or crashes >= MOST_CRASHES or losses >= MOST_LOSSES


def follow_ups(linked: Iterable[str], completed: set[str], dead: set[str]) -> set[str]:
    """Return the keys of what follows the jobs that ended, by how each of them did."""
    return {f"{key}:else" if key in dead else f"{key}:then" for key in linked if key in dead | completed}


def judge(
    producers: Iterable[Line],
    jobs: Iterable[Line],
    faults: Iterable[Fault],
    dead: Iterable[str],
    disturbances: Iterable[Fault] = (),
) -> Verdict:
    """Compare what was accepted with what was done.

    Args:
        producers: lines attempt, accept, unknown and refused; link of what has follow-ups; answer and wrong of results.
        jobs: lines start, end, fail and doom.
        faults: that may make jobs run again.
        dead: keys of the jobs in the dead set, which ended visibly.
        disturbances: when the server was away, or a worker was not reached.
    """
    words: defaultdict[str, set[str]] = defaultdict(set)
    for line in producers:
        words[line.word].add(line.key)
    runs, faults, dead, disturbances = runs_of(jobs), list(faults), set(dead), list(disturbances)
    completed = {key for key, found in runs.items() if any(run.how == "end" for run in found)}
    following = follow_ups(words["link"], completed, dead)
    attempted, accepted = words["attempt"] | following, words["accept"] | following
    verdict = Verdict(len(attempted), len(accepted), len(completed), len(dead))
    verdict.lost = sorted(accepted - completed - dead)
    verdict.unexpected = sorted(set(runs) - attempted) + sorted(words["refused"] & set(runs))
    verdict.findings = [f"{key} was answered without an end" for key in sorted(words["answer"] - completed)]
    verdict.findings += [f"{key} was answered wrongly" for key in sorted(words["wrong"])]
    verdict.answered, verdict.followed = len(words["answer"]), len(following & completed)
    verdict.recovered = len(completed - accepted)
    for key in sorted(dead):
        if not may_be_dead(runs.get(key, []), faults, disturbances):
            verdict.unexplained.append(f"{key} is dead after {len(runs.get(key, []))} runs")
    for key, found in runs.items():
        if sum(run.how == "end" for run in found) > 1:
            verdict.duplicated.append(key)
        for run, again in pairwise(found):
            verdict.run_again += run.how != "fail"
            if not explained(run, again, faults, disturbances):
                verdict.unexplained.append(
                    f"{key} ran in {run.worker}/{run.pid} from {run.start:.3f} to {run.end:.3f} ({run.how or 'cut'}), "
                    f"then in {again.worker}/{again.pid} at {again.start:.3f}"
                )
    return verdict
