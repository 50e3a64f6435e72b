"""What can be a task, what it may be called with, and what it returns."""

from __future__ import annotations

import collections.abc
import functools

import pytest
from signature_kit import CODEC, JSON, Colour, Point, User, misfit, sent

from taskq.errors import BadArguments, InvalidTask, SerializationError
from taskq.model.signature import Signature, check_task, plain_signature

# Binding ------------------------------------------------------------------------------------------------------------


def mixed(a, b=1, /, c=2, *rest, d, e=4, **extra):
    pass


def simple(url: str, depth: int = 0, *, force: bool = False):
    pass


GOOD_CALLS = [
    (simple, ("u",), {}),
    (simple, ("u", 1), {}),
    (simple, ("u",), {"depth": 1}),
    (simple, (), {"depth": 1, "url": "u", "force": True}),
    (mixed, (1,), {"d": 1}),
    (mixed, (1, 2, 3, 4, 5), {"d": 1, "x": 2}),
    (mixed, (1,), {"d": 1, "a": 5, "b": 6}),
    (mixed, (1,), {"c": 1, "d": 1}),
    (lambda: None, (), {}),
    (lambda *a: None, (1, 2, 3), {}),
    (lambda **k: None, (), {"a": 1, "args": [1], "kwargs": {}}),
]
BAD_CALLS = [
    (simple, (), {}, "lacks argument 'url'"),
    (simple, ("u", 1, 2), {}, "takes at most 2 positional arguments, got 3: 2 is too many"),
    (simple, ("u",), {"url": "u"}, "got argument 'url' twice"),
    (simple, ("u",), {"dept": 1}, "has no argument 'dept'; did you mean 'depth'?"),
    (simple, ("u",), {"zzz": 1}, "has no argument 'zzz'; its signature is (url: 'str', depth: 'int' = 0"),
    (simple, ("u",), {"a\nb": 1}, r"has no argument 'a\nb'"),
    (mixed, (), {"d": 1}, "lacks argument 'a'"),
    (mixed, (), {"a": 1, "d": 1}, "lacks argument 'a'"),
    (mixed, (1,), {}, "lacks argument 'd'"),
    (mixed, (1, 2, 3), {"c": 1, "d": 1}, "got argument 'c' twice"),
    (lambda: None, (1,), {}, "takes at most 0 positional arguments"),
    (lambda: None, (), {"a": 1}, "has no argument 'a'"),
    (lambda *, a: None, (1,), {}, "takes at most 0 positional arguments"),
    (lambda a, /: None, (), {"a": 1}, "has no argument 'a'"),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), GOOD_CALLS)
def test_a_call_that_python_takes_is_taken_and_arrives_as_it_was(function, args, kwargs):
    function(*args, **kwargs)
    assert sent(Signature.of(function), *args, **kwargs) == (args, kwargs)


@pytest.mark.parametrize(("function", "args", "kwargs", "text"), BAD_CALLS)
def test_a_call_that_python_refuses_is_refused_with_the_reason(function, args, kwargs, text):
    with pytest.raises(TypeError):
        function(*args, **kwargs)
    message = misfit(Signature.of(function, name="my.task"), *args, **kwargs)
    assert message.startswith("task 'my.task' ")
    assert text in message


def test_arguments_may_come_as_any_sequence_and_mapping():
    assert Signature.of(simple).bind(["u"], collections.ChainMap({"depth": 1})) == (("u",), {"depth": 1})


def test_a_keyword_that_is_no_string_is_refused():
    with pytest.raises(BadArguments, match="has no argument 1"):
        Signature.of(lambda **k: None).bind((), {1: 2})


def test_a_bound_tasks_context_is_no_argument():
    signature = Signature.of(lambda job, x: None, name="t", skip_first=True)
    assert [parameter.name for parameter in signature.parameters] == ["x"]
    assert sent(signature, 1) == ((1,), {})
    assert "lacks argument 'x'" in misfit(signature)
    assert "has no argument 'job'" in misfit(signature, 1, job=2)


@pytest.mark.parametrize("function", [lambda: None, lambda *, job: None, lambda **k: None])
def test_a_bound_task_needs_a_place_for_the_context(function):
    with pytest.raises(InvalidTask, match=r"^task 't' is bound: it needs a first parameter"):
        Signature.of(function, name="t", skip_first=True)


def test_a_bound_task_may_take_the_context_among_others():
    assert sent(Signature.of(lambda *all: None, skip_first=True), 1, 2) == ((1, 2), {})


def test_parameters_are_described_for_a_command_line():
    signature = Signature.of(mixed)
    assert [(p.name, p.required, p.text) for p in signature.parameters] == [
        ("a", True, "a"),
        ("b", False, "b=1"),
        ("c", False, "c=2"),
        ("rest", False, "*rest"),
        ("d", True, "d"),
        ("e", False, "e=4"),
        ("extra", False, "**extra"),
    ]
    assert (signature.has_varargs, signature.has_varkw) == (True, True)
    assert str(signature) == "(a, b=1, /, c=2, *rest, d, e=4, **extra)"


def test_a_partial_takes_what_is_left():
    signature = Signature.of(functools.partial(simple, "u", force=True), name="t")
    assert sent(signature, 3) == ((3,), {})
    assert misfit(signature, "x") == "argument 'depth' of task 't' expects int, got 'x'"


def test_a_wrapper_is_checked_by_the_function_that_it_wraps():
    @functools.wraps(simple)
    def wrapper(*args, **kwargs):
        pass

    assert misfit(Signature.of(wrapper, name="t"), 1) == "argument 'url' of task 't' expects str, got 1"


def test_star_arguments_are_checked_one_by_one():
    def task(*numbers: int, **names: str):
        pass

    signature = Signature.of(task, name="t")
    assert sent(signature, 1, 2, a="b") == ((1, 2), {"a": "b"})
    assert misfit(signature, 1, "x") == "argument '*1' of task 't' expects int, got 'x'"
    assert misfit(signature, a=1) == "argument 'a' of task 't' expects str, got 1"


def test_an_argument_that_is_no_data_is_refused_with_its_path():
    signature = plain_signature("t")
    with pytest.raises(SerializationError, match=r"^args\[1\]\['f'\] is <function "):
        signature.encode_arguments(CODEC, (1, {"f": lambda: 0}), {})
    with pytest.raises(SerializationError, match=r"^args\[1\] is <function "):
        signature.encode_arguments(CODEC, (1, len.__class__ and (lambda: 0)), {"x": 1})
    with pytest.raises(SerializationError, match=r"^kwargs\['x'\]\[0\] is <function "):
        signature.encode_arguments(CODEC, (1,), {"x": [lambda: 0]})


@pytest.mark.parametrize("payload", [1, None, "a", {}, {"args": 1}, {"kwargs": []}, {"args": [], "other": 1}, {"x": 1}])
def test_a_payload_that_is_no_call_is_refused(payload):
    with pytest.raises(SerializationError, match=r"^payload of task 't' holds no arguments"):
        plain_signature("t").decode_arguments(CODEC, CODEC.encode(payload, plain_signature("t").classes, "x"))


@pytest.mark.parametrize("args", [(), ([],), ({},), ([1], {"a": 1}), ({"args": [1], "kwargs": {"x": 1}},)])
@pytest.mark.parametrize("kwargs", [{}, {"args": [1]}, {"kwargs": {}, "args": 2}])
def test_arguments_that_look_like_a_payload_are_not_taken_for_one(args, kwargs):
    signature = plain_signature("t")
    for codec in (CODEC, JSON):
        assert signature.decode_arguments(codec, signature.encode_arguments(codec, args, kwargs)) == (args, kwargs)


# Results ------------------------------------------------------------------------------------------------------------


def found() -> list[Point | Colour]:
    return []


async def coming() -> User:
    return User(name="a")


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (found, [Point(1), Colour.RED]),
        (found, "not as promised"),
        (found, (1, 2)),
        (coming, User(name="a")),
        (found, None),
    ],
)
def test_a_result_comes_back_as_it_was(function, value):
    signature = Signature.of(function)
    back = signature.decode_result(CODEC, signature.encode_result(CODEC, value))
    assert back == value
    assert type(back) is type(value)


def test_a_result_without_the_class_is_plain_data():
    data = Signature.of(found).encode_result(CODEC, [Point(1), Colour.RED])
    assert plain_signature("t").decode_result(CODEC, data) == [{"x": 1, "y": 0}, "red"]


def test_a_result_that_is_no_data_is_refused_with_its_path():
    with pytest.raises(SerializationError, match=r"^result\[0\]\.y is <function "):
        Signature.of(found).encode_result(CODEC, [Point(1, lambda: 0)])


# What can be a task -------------------------------------------------------------------------------------------------


class Service:
    def run(self):
        pass

    @classmethod
    def make(cls):
        pass

    @staticmethod
    def free():
        pass

    def __call__(self):
        pass


def generator():
    yield


async def async_generator():
    yield


NO_TASKS = [
    (Service, "it is a class"), (lambda: 0, "a lambda"), (generator, "it is a generator"),
    (async_generator, "it is a generator"),
    (Service().run, "it is a method"), (Service.run, "it is a method"), (Service.make, "it is a method"),
    ([].append, "it is a method"),
    (staticmethod(simple), "it is a method"), (classmethod(simple), "it is a method"),
    (Service(), "a Service is no function"),
    (1, "a int is no function"), (None, "a NoneType is no function"), ("name", "a str is no function"),
    (max, "it has no signature"), (functools.partial(lambda x: 0, 1), "a lambda"),
    (functools.partial(generator), "it is a generator"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "reason"), NO_TASKS)
def test_what_cannot_be_a_task_is_refused_with_the_reason(function, reason):
    with pytest.raises(InvalidTask) as caught:
        check_task(function)
    assert f" cannot be a task: {reason}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "function", [simple, coming, Service.free, functools.partial(simple, "u"), functools.lru_cache(found), abs, mixed]
)
def test_a_function_can_be_a_task(function):
    check_task(function)
    Signature.of(function)


def test_a_function_without_a_signature_is_refused():
    with pytest.raises(InvalidTask, match="it has no signature"):
        Signature.of(max)
