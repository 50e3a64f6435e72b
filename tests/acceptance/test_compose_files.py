"""The files of the deployment, without an engine: each command is one of ours, each variable one that we read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from compose_kit import ROOT, document, health_command, instructions, services
from docs_kit import blocks

from taskq.cli.main import commands
from taskq.config import resolve
from taskq.errors import InvalidOption
from taskq.worker.options import POOLS, parse_queues
from workers import produce, site
from workers.app import app

SERVICES = services()
OURS = {name: service for name, service in SERVICES.items() if service.is_ours}
WORKERS = {name: service for name, service in OURS.items() if name.startswith("worker-")}
CHECKED = {name: service for name, service in SERVICES.items() if "test" in service.given.get("healthcheck", {})}
DEPLOY = ROOT / "docs" / "deploy"
SHORTEST = 5.0  # seconds between two health checks; each starts a process
LOGGING = {"TASKQ_LOG_LEVEL", "TASKQ_LOG_FORMAT"}


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """A pyproject.toml that says nothing."""
    file = tmp_path / "pyproject.toml"
    file.write_text("")
    return file


def parsed(words: list[str]) -> click.Context:
    """Parse a command line of ours as far as click does, without running it; fails on what it refuses."""
    assert words[0] == "taskq"
    context = commands.make_context("taskq", words[1:])
    while isinstance(context.command, click.Group) and (rest := [*context._protected_args, *context.args]):
        name, command, rest = context.command.resolve_command(context, rest)
        assert command is not None, words
        context = command.make_context(name, rest, parent=context)
    return context


def check(words: list[str]) -> None:
    """Parse a command line of whatever program of ours."""
    if words[:2] == ["python", "-m"]:
        {"workers.site": site.parse, "workers.produce": produce.parse}[words[2]](words[3:])
    else:
        parsed(words)


def seconds(text: str) -> float:
    """Read a duration of Compose."""
    (number, unit) = re.fullmatch(r"(\d+)(s|m)", text).groups()  # type: ignore[union-attr]  # a failure is the answer
    return float(number) * {"s": 1, "m": 60}[unit]


def test_all_services_of_the_demo_are_there():
    kinds = {f"worker-{pool}" for pool in POOLS}
    assert set(SERVICES) == {"redis", "site", "producer", "monitor"} | kinds


@pytest.mark.parametrize("name", OURS)
def test_a_command_is_one_of_ours(name: str) -> None:
    check(OURS[name].command)


def test_a_command_that_is_none_of_ours_is_noticed():
    with pytest.raises(click.UsageError):
        parsed(["taskq", "worker", "--pol", "gevent"])


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_runs_its_pool_on_a_queue_that_the_app_has(name: str) -> None:
    given = parsed(WORKERS[name].command).params
    (choice,), twice = parse_queues(given["queues"])
    served = {task.queue for task in app.tasks.values()}
    assert (f"worker-{given['pool']}", choice.name in served, twice) == (name, True, [])


def test_together_the_workers_serve_all_queues_of_the_app():
    served = {parsed(worker.command).params["queues"] for worker in WORKERS.values()}
    assert served == {task.queue for task in app.tasks.values()}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_we_read(name: str, nothing: Path, tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("redis://h:1/0\n")
    environment = OURS[name].environment
    if "TASKQ_URL_FILE" in environment:
        environment["TASKQ_URL_FILE"] = str(secret)
    assert all(variable.startswith("TASKQ_") for variable in environment)
    assert {one for one in environment if one.startswith("TASKQ_LOG")} <= LOGGING
    settings = resolve("x", {}, environ=environment, project=nothing)  # refuses what nobody knows
    assert settings.url == ("redis://h:1/0" if "TASKQ_URL_FILE" in environment else "")


def test_a_variable_that_nobody_reads_is_noticed(nothing: Path) -> None:
    with pytest.raises(InvalidOption, match="TASKQ_LEESE"):
        resolve("x", {}, environ={"TASKQ_LEESE": "25"}, project=nothing)


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_has_longer_than_its_grace_to_stop(name: str) -> None:
    worker = WORKERS[name]
    assert seconds(worker.given["stop_grace_period"]) > float(parsed(worker.command).params["grace"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_shut_in(name: str) -> None:
    given = SERVICES[name].given
    assert given["read_only"] is True
    assert given["cap_drop"] == ["ALL"]
    assert "cap_add" not in given
    assert "privileged" not in given
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert int(given["user"].partition(":")[0]) > 0


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_limits(name: str) -> None:
    assert set(SERVICES[name].given["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_publishes_no_port_and_has_no_way_out(name: str) -> None:
    given = SERVICES[name].given
    assert "ports" not in given
    assert "network_mode" not in given
    assert [document()["networks"][network] for network in given["networks"]] == [{"internal": True}]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_whether_it_starts_again(name: str) -> None:
    assert SERVICES[name].given["restart"] == ("no" if name == "producer" else "unless-stopped")


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "redis"])
def test_a_service_waits_until_what_it_needs_is_healthy(name: str) -> None:
    needs = {"site": set(), "producer": {"redis", "site", *WORKERS}}.get(name, {"redis"})
    found = SERVICES[name].given.get("depends_on", {})
    assert set(found) == needs
    assert all(one == {"condition": "service_healthy"} for one in found.values())


def test_who_is_waited_for_has_a_health_check():
    unchecked = {name for name, service in SERVICES.items() if service.given.get("healthcheck") == {"disable": True}}
    assert unchecked == {"producer", "monitor"}


@pytest.mark.parametrize("name", CHECKED)
def test_health_is_looked_at_every_five_seconds_at_most(name: str) -> None:
    given = CHECKED[name].given["healthcheck"]
    assert seconds(given["interval"]) >= SHORTEST
    # A second is enough for a program that is no Python, and only until Redis is up.
    assert seconds(given["start_interval"]) >= (1.0 if name == "redis" else SHORTEST)


def test_the_image_asks_for_health_no_more_often_either():
    (instruction,) = instructions("HEALTHCHECK")
    found = dict(re.findall(r"--([\w-]+)=(\d+s)", instruction))
    assert seconds(found["interval"]) >= SHORTEST
    assert seconds(found["start-interval"]) >= SHORTEST


def test_the_health_check_of_the_image_is_a_command_of_ours():
    (instruction,) = instructions("HEALTHCHECK")
    assert not parsed(health_command(instruction)).params["live"]


def test_one_service_builds_the_image_that_all_of_ours_run():
    assert {name for name, service in SERVICES.items() if "build" in service.given} == {"site"}


def test_the_image_runs_as_the_user_that_the_file_names():
    assert {service.given["user"] for service in OURS.values()} == set(instructions("USER"))


def test_the_build_context_holds_all_that_the_image_copies():
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    copies = [words.split() for words in instructions("COPY") if "--from" not in words]
    assert {word for words in copies for word in words[:-1]} == kept
    assert ignored.index("*") < min(ignored.index(f"!{name}") for name in kept)


@pytest.mark.parametrize("name", document()["secrets"])
def test_a_secret_of_the_demo_is_a_file_that_is_there(name: str) -> None:
    assert (ROOT / document()["secrets"][name]["file"]).is_file()


def test_the_url_names_the_password_of_the_server():
    folder = ROOT / "workers" / "compose"
    (password,) = re.findall(r"^requirepass (\S+)$", (folder / "redis.conf").read_text(), re.MULTILINE)
    assert (folder / "taskq-url").read_text() == f"redis://:{password}@redis:6379/0\n"


# What docs/deploy tells to copy --------------------------------------------------------------------------------------


def units() -> list[str]:
    return [block.text for page in DEPLOY.glob("*.md") for block in blocks(page) if block.language == "ini"]


def manifests() -> list[dict[str, Any]]:
    texts = [block.text for page in DEPLOY.glob("*.md") for block in blocks(page) if block.language == "yaml"]
    return [one for text in texts for one in yaml.safe_load_all(text) if one and "kind" in one]


def container() -> dict[str, Any]:
    (deployment,) = [one for one in manifests() if one["kind"] == "Deployment"]
    return deployment["spec"]["template"]["spec"]["containers"][0]


def test_the_unit_starts_a_worker_of_ours():
    lines = [line for text in units() for line in re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)]
    assert lines
    for line in lines:
        program, *words = shlex.split(line.replace("%i", "pages"))
        assert Path(program).name == "taskq"
        parsed(["taskq", *words])


def test_the_unit_gives_longer_than_the_grace():
    (unit,) = [text for text in units() if "[Service]" in text and "ExecStart" in text]
    stop = float(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0])
    assert stop > float(re.findall(r"--grace (\d+)", unit)[0])


def test_the_manifest_starts_a_worker_of_ours_and_probes_it():
    found = container()
    check(found["command"])
    assert parsed(found["livenessProbe"]["exec"]["command"]).params["live"]
    assert not parsed(found["readinessProbe"]["exec"]["command"]).params["live"]


def test_the_manifest_gives_longer_than_the_grace():
    (deployment,) = [one for one in manifests() if one["kind"] == "Deployment"]
    grace = float(parsed(container()["command"]).params["grace"])
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > grace


def test_every_variable_of_the_manifest_is_one_that_we_read(nothing: Path) -> None:
    names = {one["name"]: one.get("value", "") for one in container()["env"]}
    resolve("x", {}, environ={**names, "TASKQ_URL_FILE": ""}, project=nothing)


@pytest.mark.parametrize("page", sorted(DEPLOY.glob("*.md")), ids=lambda page: page.name)
def test_a_command_that_a_page_shows_is_one_of_ours(page: Path) -> None:
    shown = [block.text for block in blocks(page) if block.language == "console"]
    for line in re.findall(r"^\$ (taskq .*?)(?: +#.*)?$", "\n".join(shown), re.MULTILINE):
        parsed(shlex.split(line.partition(" | ")[0]))
