"""Which functions a worker calls because a message names them."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

from taskq import TaskQ
from taskq.client.importable import CALL_TASK, call_task, reference
from taskq.errors import CallRefused, InvalidOption, InvalidTask
from taskq.model.job import Body
from taskq.model.serializer import Serializers
from taskq.worker.importing import find_function, install, refuse
from taskq.worker.options import WorkerOptions, parse_patterns

APPS = str(Path(__file__).parents[1] / "apps")


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.syspath_prepend(APPS)
    from calls import plain

    return plain


def local() -> None:
    """At the top of this module."""


# -- in the worker ---


@pytest.mark.parametrize("pattern", ["calls.plain", "calls.*", "*", "ca[l]ls.?lain"])
def test_a_function_of_an_allowed_module_is_found(plain, pattern):
    assert find_function("calls.plain", "double", ("other", pattern)) is plain.double


@pytest.mark.parametrize("pattern", ["calls", "calls.plai", "plain", "CALLS.*", "calls.plain.*"])
def test_a_module_that_no_pattern_allows_is_refused_with_the_option(pattern):
    with pytest.raises(CallRefused, match=r"'calls\.plain\.double' may not run here: .*--allow-import 'calls\.plain'"):
        find_function("calls.plain", "double", (pattern,))


def test_a_module_that_no_pattern_allows_is_not_imported():
    sys.modules.pop("twoapps", None)
    with pytest.raises(CallRefused):
        find_function("twoapps", "f", ("calls.*",))
    assert "twoapps" not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        "Thing", "static", "Thing.static", "dedent", "short", "imported", "os", "missing", "__doc__", "__builtins__",
        "coroutine", "generator", "renamed", "inner", "", "double\n", "a b",
    ],
)  # fmt: skip
def test_what_is_no_plain_function_of_that_very_module_is_refused(name):
    with pytest.raises(CallRefused):
        find_function("calls.plain", name, ("*",))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "remove"), ("os", "system"), ("os.path", "join"), ("builtins", "eval"), ("subprocess", "Popen"),
        ("__main__", "main"), ("calls.plain.Thing", "method"), ("calls..plain", "double"), (".plain", "double"),
        ("calls/plain", "double"), ("", "double"), ("no_such_module", "f"), ("brokenapp", "f"),
    ],
)  # fmt: skip
def test_no_other_place_leads_to_a_function(module, name):
    with pytest.raises(CallRefused):
        find_function(module, name, ("*",))


def test_a_decorated_function_is_found(plain):
    assert find_function("calls.plain", "wrapped", ("calls.*",)) is plain.wrapped


def test_a_refusal_is_one_line():
    with pytest.raises(CallRefused) as raised:
        find_function("a\nb", "c\nd", ("*",))
    assert "\n" not in str(raised.value)


def test_the_task_is_there_with_patterns_alone():
    with_patterns, without = TaskQ("a", "redis://localhost"), TaskQ("b", "redis://localhost")
    install(with_patterns, ("calls.*",))
    install(without, ())
    assert (list(with_patterns.tasks), list(without.tasks)) == ([CALL_TASK], [])


def test_the_task_calls_the_function():
    app = TaskQ("a", "redis://localhost")
    install(app, ("calls.*",))
    assert app.tasks[CALL_TASK]("calls.plain", "double", [4], {"plus": 1}) == 9


def test_a_worker_without_patterns_names_function_and_option():
    app = TaskQ("a", "redis://localhost")
    task = call_task(app)
    payload = task.signature.encode_arguments(task.codec, ("shop.jobs", "clean", [], {}), {})
    text = str(refuse(Body(CALL_TASK, payload), Serializers()))
    assert ("shop.jobs.clean" in text, "--allow-import" in text) == (True, True)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x90"])
def test_a_damaged_call_is_refused_too(payload):
    assert "--allow-import" in str(refuse(Body(CALL_TASK, payload), Serializers()))


def test_patterns_may_be_one_text():
    assert parse_patterns(["a.*, b", "c", "b"]) == ("a.*", "b", "c")


@pytest.mark.parametrize("text", ["", "a,,b", "a b", "a;b", "x" * 201])
def test_a_pattern_that_matches_nothing_is_refused(text):
    with pytest.raises(InvalidOption, match="allow-import"):
        parse_patterns([text])


def test_nothing_is_allowed_by_default():
    assert WorkerOptions("app").allow_import == ()


# -- in the producer ---


def test_a_function_is_known_by_module_and_name(plain):
    assert reference(plain.double) == ("calls.plain", "double")


def test_a_function_of_a_test_module_has_a_reference_too():
    assert reference(local) == (__name__, "local")


def in_main():
    made = type(local)(local.__code__, {"__name__": "__main__"}, "made")
    made.__module__ = "__main__"
    return made


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda plain: plain.short, "lambda"),
        (lambda plain: plain.outer(), "at the module's top"),
        (lambda plain: functools.partial(plain.double, 1), "partial"),
        (lambda plain: plain.Thing().method, "method"),
        (lambda plain: plain.Thing, "no plain function"),
        (lambda plain: plain.Thing.static, "at the module's top"),
        (lambda plain: plain.coroutine, "coroutine"),
        (lambda plain: plain.generator, "generator"),
        (lambda plain: len, "no plain function"),
        (lambda plain: in_main(), "main module"),
        (lambda plain: None, "no plain function"),
        (lambda plain: "calls.plain.double", "no plain function"),
    ],
)
def test_what_a_worker_could_not_find_is_refused_at_once(plain, make, why):
    with pytest.raises(InvalidTask, match=why):
        reference(make(plain))
