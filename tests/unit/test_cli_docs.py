"""The reference in docs/ names everything there is to name."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from taskq import config
from taskq.broker.diagnosis import LUA_FIXES
from taskq.cli import listing
from taskq.cli.main import commands
from taskq.client import inspection
from taskq.errors import TaskqError

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = (DOCS / "commands.md").read_text("utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text("utf-8")


def section(name: str) -> str:
    found = re.search(rf"^## taskq {name}$(.*?)(?=^## |\Z)", COMMANDS, re.MULTILINE | re.DOTALL)
    assert found, f"no section for {name}"
    return found[1]


def options() -> Iterator[tuple[str, str]]:
    for name, command in commands.commands.items():
        inner = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
        for one in inner:
            for parameter in one.params:
                if isinstance(parameter, click.Option) and "--app" not in parameter.opts:
                    yield from ((name, text) for text in (*parameter.opts, *parameter.secondary_opts) if text[1] == "-")


@pytest.mark.parametrize(("command", "option"), sorted(set(options())))
def test_every_option_is_in_the_reference(command: str, option: str) -> None:
    assert f"{option}" in section(command)


def test_the_states_that_the_command_offers_are_those_that_there_are() -> None:
    assert listing.STATES == inspection.STATES


def test_the_reference_says_what_the_commands_say() -> None:
    made = runpy.run_path(str(DOCS / "reference.py"))["render"](COMMANDS)
    assert made == COMMANDS, "run: make docs"


def test_every_command_has_one_section() -> None:
    heads = re.findall(r"^## taskq (\S+)$", COMMANDS, re.MULTILINE)
    assert sorted(heads) == sorted(commands.commands)


@pytest.mark.parametrize(
    "setting", [item.name for item in fields(config.Settings) if item.name not in {"name", "sources"}]
)
def test_every_setting_is_in_the_reference(setting: str) -> None:
    row = re.search(rf"^\| `{setting}` \|(.*)$", CONFIGURATION, re.MULTILINE)
    assert row
    assert f"`TASKQ_{setting.upper()}`" in row[1] or "argument only" in row[1]


@pytest.mark.parametrize("option", config.WORKER_OPTIONS)
def test_every_option_of_a_worker_is_in_the_reference_with_its_variable(option: str) -> None:
    assert re.search(rf"^\| `{option}` \| `TASKQ_{option.upper()}` \|", CONFIGURATION, re.MULTILINE)


@pytest.mark.parametrize("setting", ["result_ttl", "max_body", "max_result", "call_deadline", "heartbeat", "lease"])
def test_the_defaults_of_the_reference_are_those_of_the_code(setting: str) -> None:
    row = re.search(rf"^\| `{setting}` \| \S+ \| (\S+) \|", CONFIGURATION, re.MULTILINE)
    assert row
    assert float(row[1]) == getattr(config.Settings("x"), setting)


def test_every_fixed_build_is_in_the_reference() -> None:
    builds = [f"{line[0]}.{line[1]}.{patch}" for fixes in LUA_FIXES.values() for line, patch in fixes.items()]
    assert [build for build in builds if build not in COMMANDS] == []


def variables() -> set[str]:
    return set(re.findall(r"`(TASKQ_[A-Z_]+)", CONFIGURATION)) - {"TASKQ_"}


@pytest.mark.parametrize("variable", sorted(variables()))
def test_every_variable_of_the_reference_is_known(variable: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("", "utf-8")
    problem = ""
    try:
        config.resolve("x", {}, environ={variable: "?"}, project=tmp_path / "pyproject.toml")
    except TaskqError as error:
        problem = str(error)  # its value may be no good, its name must be
    assert "is unknown" not in problem
