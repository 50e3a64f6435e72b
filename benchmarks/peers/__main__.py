"""Measure all task queues side by side: ``python -m benchmarks.peers``. See docs/benchmarks.md."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.peers import environments, report, server, svg
from benchmarks.peers.bench import Bench, Failed
from benchmarks.peers.catalogue import NAMES, WORKLOADS, names_of
from benchmarks.peers.figures import Figure, Sample, from_json, gather, to_json
from benchmarks.peers.spec import FLOOR, KINDS, OURS, System
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.systems.taskq import ROOT
from benchmarks.peers.workloads import QUICK, Scale

RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "docs/benchmarks.md"
PATIENCE = 300.0  # seconds for any one measurement
QUICK_PATIENCE = 60.0


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--systems", type=listed, default=list(SYSTEMS), help="such as taskq,floor,celery; default all")
    parser.add_argument("--workloads", type=listed, default=list(NAMES), help="names or letters; default all")
    parser.add_argument("--pools", type=listed, default=list(KINDS), help="such as process,thread; default all")
    parser.add_argument("--runs", type=int, default=3, help="times round all systems; default 3")
    parser.add_argument("--count", type=int, help="jobs of a drain and of enqueuing; default 20,000")
    parser.add_argument(
        "--quick", action="store_true", help="small counts and one run: shows that all work, no figures"
    )
    parser.add_argument("--python", help="interpreter of all environments; default Python 3.12 if there is one")
    parser.add_argument("--newest", action="store_true", help="the newest versions instead of those of the adapters")
    parser.add_argument("--server", help="server's program; default redis-server, else the embedded Valkey")
    parser.add_argument("--aof", action="store_true", help="with the append-only file; default without persistence")
    parser.add_argument("--output", type=Path, help="JSON file; default benchmarks/results/peers-DATE.json")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="measure nothing; put FILE's figures into the docs")
    options = parser.parse_args(arguments)
    options.workloads = names_of(options.workloads)
    for asked, known in (
        (options.systems, SYSTEMS),
        (options.workloads, NAMES),
        (options.pools, KINDS),
    ):
        if unknown := [each for each in asked if each not in known]:
            parser.error(f"{unknown[0]!r} is none of {', '.join(sorted(known))}")
    return options


def listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def machine() -> str:
    """Return what a figure depends on, in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def scale_of(options: argparse.Namespace) -> Scale:
    scale = replace(QUICK if options.quick else Scale(), kinds=tuple(options.pools))
    return replace(scale, jobs=options.count) if options.count else scale


def told(scale: Scale) -> str:
    """Return how much of everything, in one line."""
    return ", ".join(f"{name} {value}" for name, value in asdict(scale).items() if name != "kinds")


def measure(options: argparse.Namespace, homes: dict[str, Path]) -> Iterator[tuple[str, Sample, str]]:
    """Go round all systems, so often; yield system, sample, and what its server was."""
    scale, program = scale_of(options), server.find_program(options.server)
    asked = {"enqueue", "drain"} | set(options.workloads) if "cost" in options.workloads else set(options.workloads)
    patience = QUICK_PATIENCE if options.quick else PATIENCE
    for _ in range(1 if options.quick else options.runs):
        for name in options.systems:
            folder = Path(tempfile.mkdtemp(prefix="peers-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
            try:
                with server.running(program, folder, durable=options.aof) as running:
                    bench = Bench(SYSTEMS[name], homes[name], running, folder, patience)
                    for workload in (each for each in WORKLOADS if each in asked):
                        for sample in attempted(bench, workload, scale):
                            if sample.group in options.workloads or not sample.ok:
                                yield name, sample, running.described
            finally:
                shutil.rmtree(folder, ignore_errors=True)


def attempted(bench: Bench, workload: str, scale: Scale) -> Iterator[Sample]:
    """Yield the samples of a workload, and one that failed if the system fails outside of any pool."""
    try:
        yield from WORKLOADS[workload](bench, scale)
    except Failed as error:
        yield Sample(workload, workload, float("nan"), "", ok=False, note=str(error))


def install(options: argparse.Namespace) -> tuple[dict[str, Path], dict[str, dict[str, str]]]:
    """Return the environments and the versions in them."""
    oldest = max(SYSTEMS[name].python for name in options.systems)
    python = environments.choose_python(options.python, oldest)
    homes, versions = {}, {}
    for system in (SYSTEMS[name] for name in options.systems):
        homes[system.name] = environments.ensure(system, python, newest=options.newest)
        versions[system.name] = environments.versions(system, homes[system.name])
        print(f"{system.name}: {_shown(system, versions[system.name])}", flush=True)
    major, minor = environments.version_of(python) or (0, 0)
    for versions_of in versions.values():
        versions_of["Python"] = f"{major}.{minor}"
    return homes, versions


def _shown(system: System, versions: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in versions.items()) + f" ({system.sending})"


def write(options: argparse.Namespace, figures: list[Figure], about: dict[str, Any]) -> Path:
    """Write the JSON and the pictures; return where."""
    day = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d-%H%M")
    path = options.output or RESULTS / f"peers-{day}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about | {"figures": [to_json(figure) for figure in figures]}, indent=1) + "\n")
    draw(figures, about, path.with_suffix(""))
    return Path(path)


def draw(figures: list[Figure], about: dict[str, Any], folder: Path) -> list[str]:
    """Write the pictures; return their names."""
    note = f"{about['date']}, {about['machine']}, {about['server'].partition(',')[0]}"
    drawn = svg.pictures(figures, note)
    for name, text in drawn.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return list(drawn)


def to_docs(path: Path) -> None:
    """Put the figures of a file into the docs, and the pictures beside them."""
    about = json.loads(path.read_text())
    drawn = draw([from_json(each) for each in about["figures"]], about, PAGE.with_suffix(""))
    PAGE.write_text(report.fill(PAGE.read_text(), about, drawn))


def main() -> int:
    options = parsed(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as INT does: nothing stays running
    if options.docs:
        to_docs(options.docs)
        return 0
    homes, versions = install(options)
    samples: list[tuple[str, Sample]] = []
    described = ""
    for system, sample, its_server in measure(options, homes):
        described = its_server
        samples.append((system, sample))
        value = report.number(sample.value) if sample.ok else f"FAILED {sample.note}"
        where = " ".join(each for each in (sample.pool, sample.variant, "results" * bool(sample.results)) if each)
        print(f"  {system:9} {sample.measure} {where}: {value} {sample.unit}", flush=True)
    figures = gather(samples)
    about = {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "server": described,
        "scale": f"Runs {1 if options.quick else options.runs}, {told(scale_of(options))}",
        "versions": versions,
        "settings": {name: [SYSTEMS[name].about, SYSTEMS[name].sending] for name in options.systems},
    }
    print(f"\n{about['machine']}\n{described}\n{about['scale']}")
    print("\n".join(report.plain(figures)))
    print(f"\nwritten to {write(options, figures, about)}")
    return 1 if any(figure.failures for figure in figures if figure.system in {OURS, FLOOR}) else 0  # peers may fail


if __name__ == "__main__":
    sys.exit(main())
