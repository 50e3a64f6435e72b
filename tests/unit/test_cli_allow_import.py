"""Where ``taskq worker`` reads which modules' functions may be called."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskq import TaskQ, config
from taskq.cli.worker import _allowed
from taskq.config import worker_values
from taskq.errors import InvalidOption


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, in which the command is given."""
    file = tmp_path / "pyproject.toml"
    file.write_text("", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TASKQ_ALLOW_IMPORT", raising=False)
    return file


def allowed(*typed: str) -> tuple[str, ...]:
    """The patterns that the command takes where these are on its line."""
    return _allowed(worker_values({"allow_import": ",".join(typed)} if typed else {}).get("allow_import"))


def test_nothing_is_allowed_where_nothing_is_said() -> None:
    assert allowed() == ()


def test_the_option_may_be_repeated_and_have_commas() -> None:
    assert allowed("a.*", "b, c.?") == ("a.*", "b", "c.?")


@pytest.mark.parametrize("value", ["['a.*', 'b']", "'a.*, b'"])
def test_the_project_may_say_it(project: Path, value: str) -> None:
    project.write_text(f"[tool.taskq]\nallow_import = {value}\n", "utf-8")
    assert allowed() == ("a.*", "b")


def test_the_variable_comes_before_the_project_and_the_option_before_both(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_text("[tool.taskq]\nallow_import = ['file']\n", "utf-8")
    monkeypatch.setenv("TASKQ_ALLOW_IMPORT", "variable")
    assert (allowed(), allowed("option")) == (("variable",), ("option",))


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_ALLOW_IMPORT", " ")
    assert allowed() == ()


@pytest.mark.parametrize("value", ["3", "true", "[1]", "{}", "''", "['a b']"])
def test_what_is_no_list_of_patterns_is_refused(project: Path, value: str) -> None:
    project.write_text(f"[tool.taskq]\nallow_import = {value}\n", "utf-8")
    with pytest.raises(InvalidOption, match=r"allow.import"):
        allowed()


@pytest.mark.parametrize("option", ["", "a,", "os;sys"])
def test_a_pattern_that_matches_no_module_is_refused(option: str) -> None:
    with pytest.raises(InvalidOption, match=r"allow.import"):
        allowed(option)


def test_apps_know_the_key_and_the_variable(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write_text("[tool.taskq]\nallow_import = ['a']\n", "utf-8")
    monkeypatch.setenv("TASKQ_ALLOW_IMPORT", "b")
    settings = TaskQ("x", "redis://localhost").settings
    assert not hasattr(settings, "allow_import")
    assert isinstance(settings, config.Settings)
