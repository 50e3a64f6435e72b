"""The demo of docker-compose.yml on a real engine: as printed, and with its containers killed, stopped and paused."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from compose_kit import ROOT, services
from worker_kit import wait_until

LEASE = 5  # seconds; a beat is one
PAUSED = 1.6 * LEASE  # seconds: others have taken over what the paused one held
BUILD = 300.0  # seconds; with an empty cache it fetches a base image and the dependencies
CRAWL = 240.0  # seconds; it takes forty on two cores
# Slow enough to be disturbed on any machine: 640 pages at 0.3 s, four at once in each of three containers.
SLOW = {"site": ["--latency", "0.2", "0.4"], "worker-gevent": ["-c", "4"]}
IMAGE = 200e6  # bytes; also on a base that is larger than the published one
COMPLETE = "the crawl is complete: each file has its one record"

pytestmark = pytest.mark.timeout(600)


def missing_engine() -> str:
    """Say what keeps the tests from running; empty if nothing does."""
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{' '.join(command)}: {error}"
        if done.returncode != 0:
            return f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}"
    return ""


@dataclass(frozen=True)
class Project:
    """The services under a project name of their own, with the environment that Compose reads its variables from."""

    name: str
    files: tuple[Path, ...]

    def __call__(self, *words: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run ``docker compose words`` to its end; its output and errors are one."""
        files = [word for file in self.files for word in ("-f", str(file))]
        return subprocess.run(
            ["docker", "compose", "--ansi", "never", "-p", self.name, *files, *words],
            cwd=ROOT,
            env={**os.environ, "TASKQ_HEARTBEAT": "1", "TASKQ_LEASE": str(LEASE)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )

    def do(self, *words: str, timeout: float = 60.0) -> str:
        """Run ``docker compose words``, which must succeed; returns its output."""
        done = self(*words, timeout=timeout)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{self.logs()}"
        return done.stdout

    def logs(self, service: str = "") -> str:
        return self("logs", "--no-color", "--no-log-prefix", "--tail", "200", *filter(None, [service])).stdout

    def containers(self, service: str) -> list[str]:
        """The names of a service's containers, in the order of their numbers."""
        names = self.do("ps", "--all", "--format", "{{.Name}}", service).split()
        return sorted(names, key=lambda name: int(name.rpartition("-")[2]))

    def fetched(self) -> int:
        """How many pages the producer last said were fetched."""
        found = re.findall(r"s: ([\d,]+) of [\d,]+ pages fetched", self.logs("producer"))
        return int(found[-1].replace(",", "")) if found else 0


def state(container: str) -> dict[str, Any]:
    """Return what the engine says of a container's state."""
    done = subprocess.run(
        ["docker", "inspect", "--format", "{{json .State}}", container], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def docker(*words: str) -> None:
    subprocess.run(["docker", *words], capture_output=True, timeout=60, check=True)


@pytest.fixture(scope="module", autouse=True)
def _engine() -> None:
    reason = missing_engine()
    if reason:
        pytest.skip(f"no Docker engine with Compose v2 answers: {reason}")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """The demo, slowed down; taken away again with its volumes."""
    found = services()
    commands = {name: {"command": [*found[name].command, *words]} for name, words in SLOW.items()}
    override = tmp_path / "slow.yml"
    override.write_text(json.dumps({"services": commands}))  # every JSON is YAML
    made = Project(f"taskq-test-{secrets.token_hex(4)}", (ROOT / "docker-compose.yml", override))
    try:
        yield made
    finally:
        made("down", "--volumes", "--timeout", "5", timeout=120)


def test_the_demo_ends_with_the_report_and_0(project: Project) -> None:
    plain = Project(project.name, project.files[:1])
    done = plain("up", "--build", "--exit-code-from", "producer", timeout=BUILD + CRAWL)
    assert done.returncode == 0, done.stdout
    assert COMPLETE in done.stdout
    assert "most complex functions" in done.stdout
    assert "nothing is wrong" in plain.do("run", "--rm", "worker-thread", "taskq", "fsck")


def test_the_image_is_small_and_has_no_package_tools(project: Project) -> None:
    project.do("build", timeout=BUILD)
    size = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Size}}", "taskq-demo"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(size.stdout) < IMAGE
    command = ["sh", "-c", "command -v pip perl gcc; id -u"]
    found = subprocess.run(
        ["docker", "run", "--rm", "taskq-demo", *command], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.split() == ["10001"]


def test_the_crawl_is_complete_though_containers_are_killed_stopped_and_paused(project: Project) -> None:
    project.do("build", timeout=BUILD)
    project.do("up", "--detach", "--scale", "worker-gevent=3", timeout=120)
    paused, killed, stopped = project.containers("worker-gevent")
    producer = project.containers("producer")[0]
    wait_until(lambda: project.fetched() > 0, f"the crawl is under way: {project.logs()}", 60)

    docker("pause", paused)
    again = time.monotonic() + PAUSED
    docker("kill", "--signal", "KILL", killed)
    wait_until(lambda: time.monotonic() >= again, "the lease of both is over", PAUSED + 1)
    assert state(producer)["Running"], project.logs("producer")
    docker("unpause", paused)
    docker("stop", stopped)

    assert (state(killed)["ExitCode"], state(stopped)["ExitCode"]) == (137, 0)
    wait_until(lambda: not state(producer)["Running"], f"the producer ends: {project.logs()}", CRAWL)
    assert state(producer)["ExitCode"] == 0, project.logs()
    assert COMPLETE in project.logs("producer")
    assert state(paused)["Running"], project.logs("worker-gevent")
    assert "nothing is wrong" in project.do("exec", "-T", "worker-thread", "taskq", "fsck")
