"""The reference of the public API names everything that is public, and nothing that is not there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import taskq
from taskq import errors
from taskq.app import AppOptions
from taskq.client.control import Control
from taskq.client.hooks import Hooks
from taskq.client.inspection import Inspect
from taskq.client.options import CallKeywords, TaskKeywords

API = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
ERRORS = [one for one in vars(errors).values() if inspect.isclass(one) and one.__module__ == errors.__name__]
CLASSES = {name: getattr(taskq, name) for name in (
    "TaskQ", "Task", "AsyncResult", "ResultSet", "Executor", "Signature", "Queue", "JobContext",
)} | {"inspect": Inspect, "control": Control}  # fmt: skip


def section(title: str) -> str:
    found = re.search(rf"^## {title}(?:(?:,| and) .*?)?$(.*?)(?=^## |\Z)", API, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def is_named(name: str, text: str) -> bool:
    """Tell whether ``name`` begins a piece of code in ``text``, as in `name` or `name(...)`."""
    return re.search(rf"`(?:\w+\.)?{re.escape(name)}[`(]", text) is not None


def members() -> Iterator[tuple[str, str]]:
    for name, cls in CLASSES.items():
        yield from ((name, member) for member in dir(cls) if not member.startswith("_"))


@pytest.mark.parametrize("name", taskq.__all__)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    assert is_named(name, API.split("## ", 1)[0])


@pytest.mark.parametrize(("owner", "member"), sorted(members()))
def test_every_public_member_is_in_the_section_of_its_class(owner: str, member: str) -> None:
    assert is_named(member, section(owner))


@pytest.mark.parametrize("option", [*AppOptions.__annotations__, "name", "url", "namespace"])
def test_every_argument_of_an_app_is_in_the_reference(option: str) -> None:
    assert is_named(option, section("TaskQ"))


@pytest.mark.parametrize("option", [*TaskKeywords.__annotations__, "bind"])
def test_every_option_of_a_task_is_in_the_reference(option: str) -> None:
    assert is_named(option, section("Task options"))


@pytest.mark.parametrize("option", list(CallKeywords.__annotations__))
def test_every_option_of_a_call_is_in_the_reference(option: str) -> None:
    assert is_named(option, section("Call options"))


@pytest.mark.parametrize("place", list(vars(Hooks())))
def test_every_hook_is_in_the_reference(place: str) -> None:
    assert is_named(place, section("Hooks"))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_has_its_row(error: type) -> None:
    assert re.search(rf"^\| `{error.__name__}` \| ", section("Errors"), re.MULTILINE)


def test_no_row_names_an_error_that_is_not_there() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ", section("Errors"), re.MULTILINE)
    assert sorted(rows) == sorted(error.__name__ for error in ERRORS)


@pytest.mark.parametrize("base", [one for one in ERRORS if one.__subclasses__() and one is not errors.TaskqError])
def test_the_number_of_errors_below_a_base_is_right(base: type) -> None:
    words = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    number = len(base.__subclasses__())
    if number >= 2:
        assert re.search(rf"^\| `{base.__name__}` \|.* base of the following {words[number - 2]} \|", API, re.MULTILINE)
