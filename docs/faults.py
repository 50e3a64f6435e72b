"""Writes the table of faults into docs/reliability.md: ``python docs/faults.py``; ``--run`` runs the tests instead.

Which test shows which fault is read from the tests themselves: ``@pytest.mark.fault(1, 24)``. ``--run`` runs them and
prints for each fault whether they passed, and the longest recovery that one of them measured.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
PAGE = Path(__file__).with_name("reliability.md")
PLACE = re.compile(r"<!-- generated: faults -->\n.*?<!-- end -->", re.DOTALL)


@dataclass(frozen=True)
class Fault:
    """One row: what happens, and what becomes of it.

    Attributes:
        group: heading of its table.
        what: the fault.
        outcome: what is seen then.
        within: seconds until all is as before, on the settings of the tests; empty where it is no matter of time.
    """

    group: str
    what: str
    outcome: str
    within: str = ""


@dataclass(frozen=True)
class Shown:
    """A test of some faults: its file, its name, their numbers."""

    path: Path
    name: str
    numbers: tuple[int, ...]


@dataclass
class Seen:
    """How the tests of one fault ended."""

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    recovered: float | None = None


P, R, N, J, C = "Processes", "The server", "The network", "Jobs", "Clocks, disks, crowds"
FAULTS = {
    1: Fault(P, "a child is killed (`kill -9`) while it runs a job",
             "the job has crashed, runs again at once in a process of its own, and the child is replaced", "1"),
    2: Fault(P, "a supervisor is killed",
             "its children and what their jobs started are gone in 2 s; its jobs run elsewhere when its lease is over",
             "lease + 2"),
    3: Fault(P, "everything is killed and started again", "after one lease all accepted jobs run", "2 leases + start"),
    4: Fault(P, "a worker gets TERM; then a second signal",
             "running jobs end within the grace; the others, and those that do not, are given back uncharged; exit 0",
             "grace"),
    5: Fault(P, "a worker is stopped for longer than its lease, then goes on",
             "its jobs run elsewhere; what it says of them is refused; it goes on under another id", "lease + beat"),
    6: Fault(P, "a worker is stopped for less than its lease", "nothing runs twice"),
    7: Fault(R, "the server restarts", "nothing is lost, nothing runs twice, workers go on in seconds", "4"),
    8: Fault(R, "the server is killed in the middle of a load",
             "with `appendfsync always` every accepted job is there; with `everysec` all but those of the last 2 s"),
    9: Fault(R, "the server is away for many leases while jobs run",
             "nobody's lease counts as over; each job is settled once; workers say how long it was", "3"),
    10: Fault(R, "the server stalls", "calls are repeated, and take effect once; nothing runs twice", "5"),
    11: Fault(N, "a connection breaks in the middle of a reply", "the call is repeated and has taken effect once"),
    12: Fault(N, "a connection breaks before the request is there", "the call is repeated and takes effect once"),
    13: Fault(N, "the network is slow", "everything takes longer; leases are renewed in time"),
    14: Fault(N, "a connection goes silent without an end",
              "waits end after 5 s, calls after 15 s; they go on over a new connection", "8"),
    15: Fault(N, "a coroutine is cancelled in the middle of a call",
              "the call takes effect once or not at all; nobody else gets its reply"),
    16: Fault(R, "no connection or descriptor is left", "one clear line; what can wait waits, and goes on", "3"),
    17: Fault(R, "the server's memory is full",
              "new jobs are refused whole; running jobs are settled, and queues drain"),
    18: Fault(R, "somebody lets the server evict keys",
              "workers raise the alarm in their log and are not ready; none starts. Their queues refuse new jobs and "
              "say why; what was accepted ends, with its retries and follow-ups", "12 beats"),
    19: Fault(R, "the server forgets the scripts", "nobody notices"),
    20: Fault(R, "the master changes behind a name that moves",
              "clients and workers follow the name; a planned change loses nothing and runs nothing twice", "4"),
    24: Fault(J, "a job kills its process: segfault, abort, `os._exit`",
              "it has crashed, with the signal or code as the reason; after five crashes it is dead; nobody waits"),
    25: Fault(J, "a job uses up its memory", "it fails with `MemoryError`, or has crashed if the kernel killed it"),
    26: Fault(J, "a job does not end, and nothing can interrupt it",
              "it fails at its `time_limit`, with its child if need be; leases are renewed all the while", "2"),
    27: Fault(J, "a job returns what nobody can carry: too large, no data, endless", "it fails once, with the reason"),
    28: Fault(J, "a job raises what can be neither printed nor copied", "it fails with a safe text"),
    29: Fault(J, "a job raises `SystemExit` and the like", "it fails; nothing counts as success by mistake"),
    30: Fault(J, "a job uses up descriptors, threads or disk", "it fails; the supervisor has its own"),
    31: Fault(J, "a job forks, or leaves programs behind", "they die with their child; its end is seen all the same"),
    32: Fault(J, "a job writes into descriptors that are not its own, or closes them",
              "answers go their own way; a broken frame ends the child"),
    33: Fault(J, "a job changes signal handlers, directory, environment, umask",
              "the next job in that child sees it; limits and shutdown work; a new child has none of it"),
    34: Fault(C, "the server's clock jumps", "nobody's lease is over; delayed jobs are early or late by the jump"),
    35: Fault(C, "the clock of a worker or producer is wrong", "log lines only: times are the server's"),
    36: Fault(C, "the server's disk is full",
              "`everysec`: jobs are refused until there is room; `always`: the server ends, nothing is lost", "3"),
    37: Fault(C, "the end of the append-only file is torn off", "the rest is whole"),
    38: Fault(C, "two workers have one id, as clones have", "the second is refused"),
    39: Fault(C, "two workers do one chore at the same time", "it is done once"),
    40: Fault(C, "a worker dies while it sends follow-ups on", "others send them; each is accepted once"),
    41: Fault(C, "a result expires before it was read; thousands wait",
              "who waits is told; nothing is left of a wait that ended"),
    42: Fault(C, "old and new versions work at the same time", "what one does not know it leaves to the other"),
}  # fmt: skip


def shown() -> Iterator[Shown]:
    """Read which tests show which faults, in the order of files and lines."""
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text("utf-8")
        if "mark.fault(" not in text:
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                numbers = tuple(number for mark in node.decorator_list for number in _numbers(mark))
                if numbers:
                    yield Shown(path.relative_to(ROOT), node.name, numbers)


def _numbers(mark: ast.expr) -> list[int]:
    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
        return [ast.literal_eval(argument) for argument in mark.args]
    return []


def render(page: str) -> str:
    """Return the page with the table of now."""
    tests = list(shown())
    lines: list[str] = []
    for group in dict.fromkeys(fault.group for fault in FAULTS.values()):
        lines += ["", f"### {group}", "", "| no | fault | what happens | shown by |", "|---|---|---|---|"]
        for number, fault in FAULTS.items():
            if fault.group == group:
                links = "<br>".join(_link(test) for test in tests if number in test.numbers)
                lines.append(f"| {number} | {fault.what} | {fault.outcome} | {links} |")
    text = "\n".join(lines[1:])
    return PLACE.sub(lambda _: f"<!-- generated: faults -->\n{text}\n<!-- end -->", page)


def _link(test: Shown) -> str:
    return f"[{test.name.removeprefix('test_').replace('_', ' ')}](../{test.path})"


def run(arguments: Sequence[str]) -> int:
    """Run the tests of the table and print it with what was seen; return pytest's exit code."""
    tests = list(shown())
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        paths = sorted({str(test.path) for test in tests})
        # Properties of tests are written into the older kind of report only.
        how = ["-q", "-m", "fault", f"--junitxml={report}", "-o", "junit_family=xunit1"]
        command = [sys.executable, "-m", "pytest", *how, *paths, *arguments]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if report.exists():
            print_table(_seen(tests, report))
    return code


def _seen(tests: Sequence[Shown], report: Path) -> dict[int, Seen]:
    seen = {number: Seen() for number in FAULTS}
    numbers = {(str(test.path.with_suffix("")).replace("/", "."), test.name): test.numbers for test in tests}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (pytest wrote it just now)
        name = case.get("name", "")
        for number in numbers.get((case.get("classname", ""), name.partition("[")[0]), ()):
            _count(seen[number], name, case)
    return seen


def _count(seen: Seen, name: str, case: ET.Element) -> None:
    if case.find("failure") is not None or case.find("error") is not None:
        seen.failed.append(name)
    elif case.find("skipped") is not None:
        seen.skipped += 1
    else:
        seen.passed += 1
    for one in case.iter("property"):
        if one.get("name") == "recovered":
            seen.recovered = max(seen.recovered or 0.0, float(one.get("value", "0")))


def print_table(seen: dict[int, Seen]) -> None:
    """Print one line a fault."""
    write = sys.stdout.write
    write(f"\n{'no':>3}  {'result':16} {'within s':>16} {'observed s':>10}  fault\n")
    for number, fault in FAULTS.items():
        one = seen[number]
        failed = f"{len(one.failed)} failed" if one.failed else ""
        result = failed or (f"{one.passed} passed" if one.passed else "NOT RUN")
        observed = "-" if one.recovered is None else f"{one.recovered:.2f}"
        write(f"{number:>3}  {result:16} {fault.within or '-':>16} {observed:>10}  {fault.what}\n")
        for name in one.failed:
            write(f"     failed: {name}\n")


def main() -> int:
    """Write the page, or run the tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run the tests; further arguments are pytest's")
    chosen, rest = parser.parse_known_args()
    if chosen.run:
        return run(rest)
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
