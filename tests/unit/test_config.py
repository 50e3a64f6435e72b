"""Where settings come from, and what is wrong with them."""

from __future__ import annotations

import pytest

from taskq.config import Settings, find_project, resolve
from taskq.errors import ConfigError, InvalidOption, InvalidTimeout


def project(tmp_path, text):
    file = tmp_path / "pyproject.toml"
    file.write_text(text)
    return file


@pytest.fixture
def resolved(tmp_path):
    """Resolve with a pyproject.toml of these lines in its [tool.taskq]."""

    def make(given=None, environ=None, lines="") -> Settings:
        return resolve("app", given or {}, environ=environ or {}, project=project(tmp_path, f"[tool.taskq]\n{lines}"))

    return make


def test_nothing_said_gives_the_defaults(resolved):
    settings = resolved()
    assert (settings.namespace, settings.result_ttl, settings.max_body) == ("taskq", 3600.0, 1024 * 1024)
    assert settings.sources["namespace"] == "default"


def test_the_project_file_comes_before_the_default(resolved, tmp_path):
    settings = resolved(lines="namespace = 'shop'")
    assert settings.namespace == "shop"
    assert settings.sources["namespace"] == str(tmp_path / "pyproject.toml")


def test_the_environment_comes_before_the_project_file(resolved):
    settings = resolved(environ={"TASKQ_RESULT_TTL": "60"}, lines="result_ttl = 10")
    assert settings.result_ttl == 60.0
    assert settings.sources["result_ttl"] == "TASKQ_RESULT_TTL"


def test_the_argument_comes_before_the_environment(resolved):
    settings = resolved({"max_body": 4096}, {"TASKQ_MAX_BODY": "8192"})
    assert settings.max_body == 4096
    assert settings.sources["max_body"] == "argument"


def test_an_url_of_none_is_not_said(resolved):
    assert resolved({"url": None}, {"TASKQ_URL": "redis://a"}).url == "redis://a"


def test_an_empty_variable_is_not_said(resolved):
    assert resolved(environ={"TASKQ_NAMESPACE": " "}).namespace == "taskq"


@pytest.mark.parametrize(("word", "value"), [("1", True), ("Yes", True), ("off", False), ("false", False)])
def test_a_flag_is_read_from_the_environment(resolved, word, value):
    assert resolved(environ={"TASKQ_ALLOW_PICKLE": word}).allow_pickle is value


def test_exception_classes_are_taken_as_an_argument(resolved):
    assert resolved({"exceptions": [ValueError, OSError]}).exceptions == (ValueError, OSError)


@pytest.mark.parametrize(
    ("given", "environ", "lines", "said"),
    [
        ({"result_tll": 1}, {}, "", "option 'result_tll' is unknown, did you mean 'result_ttl'?"),
        ({}, {"TASKQ_BROKR": "x"}, "", "environment variable 'TASKQ_BROKR' is unknown"),
        ({}, {"TASKQ_NAMESPAC": "x"}, "", "did you mean 'TASKQ_NAMESPACE'?"),
        ({}, {}, "nmespace = 'x'", "did you mean 'namespace'?"),
        ({}, {}, "exceptions = ['ValueError']", "'exceptions' is unknown"),
        ({"max_body": 10}, {}, "", "max_body: 10 is no whole number of bytes"),
        ({"max_body": 2048.5}, {}, "", "max_body: 2048.5"),
        ({}, {"TASKQ_MAX_BODY": "many"}, "", "TASKQ_MAX_BODY: 'many' is no number"),
        ({"allow_pickle": "perhaps"}, {}, "", "allow_pickle: 'perhaps'"),
        ({"namespace": 5}, {}, "", "namespace: 5 is no text"),
        ({"exceptions": (int,)}, {}, "", "exceptions: (<class 'int'>,)"),
        ({"exceptions": (KeyboardInterrupt,)}, {}, "", "exceptions:"),
        ({}, {}, "max_body = true", "tool.taskq.max_body: True"),
    ],
)
def test_what_cannot_be_used_is_named(resolved, given, environ, lines, said):
    with pytest.raises(InvalidOption) as raised:
        resolved(given, environ, lines)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "x", None, True, 1e300])
@pytest.mark.parametrize("name", ["result_ttl", "call_deadline", "heartbeat", "lease"])
def test_a_time_out_of_range_is_refused(resolved, name, value):
    with pytest.raises(InvalidTimeout, match=name):
        resolved({name: value})


def test_a_lease_below_five_heartbeats_is_refused(resolved):
    with pytest.raises(InvalidTimeout, match="at least 5 heartbeats"):
        resolved({"heartbeat": 6.0})


def test_all_problems_are_said_at_once(resolved):
    with pytest.raises(InvalidOption) as raised:
        resolved({"max_body": 0}, {"TASKQ_LEASE": "x"}, "nonsense = 1")
    assert all(name in str(raised.value) for name in ("max_body", "TASKQ_LEASE", "nonsense"))


def test_an_url_is_never_shown(resolved):
    with pytest.raises(InvalidOption) as raised:
        resolved({"url": b"redis://:secret@host"})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["", " ", None, 7])
def test_an_app_needs_a_name(name):
    with pytest.raises(InvalidOption, match="name"):
        resolve(name, {}, environ={})


@pytest.mark.parametrize(
    "variable", ["TASKQ_APP", "TASKQ_EMBEDDED", "TASKQ_EMBEDDED_SERVER", "TASKQ_LOG_LEVEL", "TASKQ_SOAK", "PATH"]
)
def test_variables_of_others_are_left_alone(resolved, variable):
    assert resolved(environ={variable: "x"}).sources["url"] == "default"


def test_the_app_key_of_the_project_belongs_to_the_command_line(resolved):
    assert resolved(lines="app = 'shop:app'").namespace == "taskq"


@pytest.mark.parametrize("text", ["[tool.taskq", "[tool]\ntaskq = 5", "tool = 1"])
def test_a_broken_project_file_is_named(tmp_path, text):
    file = project(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        resolve("app", {}, environ={}, project=file)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_nearest_project_file_counts(tmp_path):
    project(tmp_path, "")
    inner = tmp_path / "a"
    (inner / "b").mkdir(parents=True)
    nearest = project(inner, "")
    assert find_project(inner / "b") == nearest
