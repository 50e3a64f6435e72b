"""Follow-ups that are given a value as their first argument."""

from __future__ import annotations

import logging

import pytest

from taskq import TaskQ
from taskq.client.canvas import Signature
from taskq.model.following import after_failure, derived_id, taking, with_first
from taskq.model.job import decode_body, encode_body, encode_header
from taskq.model.outcome import ErrorInfo
from taskq.model.serializer import Serializers
from taskq.model.signature import plain_signature
from taskq.model.signing import Signer

ANY = plain_signature("any")
SERIALIZERS = Serializers()
HEAD = encode_header(expires_ms=5).encode()
FAILURE = ErrorInfo("ValueError", "why", "Traceback: there")


def job(args, kwargs, codec=""):
    payload = ANY.encode_arguments(SERIALIZERS.codec(codec), args, kwargs)
    return HEAD + encode_body("next", payload, codec, {"parent": "q/1"})


def call(data, codec=""):
    return ANY.decode_arguments(SERIALIZERS.codec(codec), decode_body(data.partition(b"\n")[2]).payload)


def value(found, codec=""):
    return ANY.encode_result(SERIALIZERS.codec(codec), found)


@pytest.mark.parametrize("codec", ["", "json"])
@pytest.mark.parametrize("kwargs", [{}, {"key": [1, {"a": None}]}], ids=["alone", "kwargs"])
@pytest.mark.parametrize("count", [0, 1, 2, 14, 15, 16, 17, 255, 65_535, 65_536])
def test_the_value_comes_before_all_arguments(codec, kwargs, count):
    args = tuple(range(count))
    data = with_first(job(args, kwargs, codec), value({"x": ["y"]}, codec), codec)
    assert call(data, codec) == (({"x": ["y"]}, *args), kwargs)


@pytest.mark.parametrize("found", [None, 0, "text", b"bytes", (1, 2), {1, 2}, [], {}, {1: 2}, 2**70], ids=repr)
def test_any_value_arrives_as_it_was(found):
    assert call(with_first(job((5,), {}), value(found), "")) == ((found, 5), {})


def test_values_may_be_given_one_after_the_other():
    data = job((), {"a": 1})
    for number in range(20):
        data = with_first(data, value(number), "")
    assert call(data) == (tuple(reversed(range(20))), {"a": 1})


def test_all_else_of_the_job_stays():
    data = with_first(job((), {}), value(1), "")
    body = decode_body(data.partition(b"\n")[2])
    assert (data.partition(b"\n")[0] + b"\n", body.task, body.meta) == (HEAD, "next", {"parent": "q/1"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD + b"\xc1",
        HEAD + encode_body("next", b""),
        HEAD + encode_body("next", b"\x80"),
        HEAD + encode_body("next", b"[]", "json"),
        HEAD + encode_body("next", b"\x90", "pickle"),
    ],
)
def test_a_job_that_can_take_no_value_is_refused(data):
    with pytest.raises(ValueError, match=r"damaged|serializer"):
        with_first(data, b"\x01", "")


def test_damaged_json_is_refused():
    with pytest.raises(ValueError, match="damaged"):
        with_first(HEAD + encode_body("next", b"{}", "json"), b"1", "json")


@pytest.mark.parametrize("meta", [{}, {"takes": 1}, {"takes": {}}, {"takes": {"link": 3}}, {"takes": {"link": ["a"]}}])
def test_nothing_takes_a_value_that_is_not_said_to(meta):
    assert taking(meta, "link") == frozenset()


@pytest.mark.parametrize("codec", ["", "json"])
def test_a_failure_is_a_dict_of_texts(codec):
    meta = {"link_error": [("q", "e0", 0, job((1,), {}, codec))], "takes": {"link_error": [0]}}
    ((queue, unique, delay, data),) = after_failure(meta, "q/1", "t", "failed", FAILURE)
    failure = {
        "id": "q/1", "task": "t", "ending": "failed",
        "type": "ValueError", "message": "why", "traceback": "Traceback: there",
    }  # fmt: skip
    assert ((queue, unique, delay), call(data, codec)) == (("q", "e0", 0), ((failure, 1), {}))


def test_who_does_not_ask_for_the_failure_is_left_as_it_is():
    links = [("q", "e0", 0, job((1,), {})), ("q", "e1", 0, job((), {}))]
    found = after_failure({"link_error": links, "takes": {"link_error": [1]}}, "q/1", "t", "failed", FAILURE)
    assert (found[0], found[1] != links[1]) == (links[0], True)


def test_one_that_cannot_take_the_failure_stops_no_other(caplog):
    links = [("q", "e0", 0, b"damaged"), 7, ("q", "e2", 0, job((), {})), "x"]
    meta = {"link_error": links, "takes": {"link_error": [0, 1, 2, 3]}}
    with caplog.at_level(logging.ERROR):
        found = after_failure(meta, "q/1", "t", "failed", FAILURE)
    assert ([link[1] for link in found], caplog.text.count("left out")) == (["e2"], 3)


LONG = "j" * 64


@pytest.mark.parametrize(
    ("was", "parent", "lives", "now"),
    [
        ("1.e0", "1", 0, "1.e0"),
        ("1.e0", "1", 1, "1.e0.2"),
        ("1.e0", "1", 2, "1.e0.3"),
        ("u", "1", 0, "u"),  # made by hand
        ("u", "1", 1, "1.e0.2"),
        ("1.e0", "2", 0, "2.e0"),  # the parent was moved
        (derived_id(LONG, "link_error", 0), LONG, 0, derived_id(LONG, "link_error", 0)),
        (derived_id(LONG, "link_error", 0), LONG, 9, derived_id(LONG, "link_error", 0) + ".10"),
    ],
)
@pytest.mark.parametrize("takes", [[], [0]])
def test_what_follows_each_final_failure_has_an_id_of_its_own(was, parent, lives, now, takes):
    meta = {"link_error": [["q", was, 0, job((), {})]], "takes": {"link_error": takes}}
    (found,) = after_failure(meta, f"q/{parent}", "t", "failed", FAILURE, lives=lives)
    assert found[1] == now


def test_without_the_key_what_is_signed_keeps_its_id():
    signed = Signer("n", ["k" * 32]).sign_again("q", "1.e0", job((), {}))
    links = [["q", "1.e0", 0, signed]]
    assert after_failure({"link_error": links}, "q/1", "t", "failed", FAILURE, lives=1) == links


def test_damaged_follow_ups_stay_damaged_in_every_life():
    links = [7, "x", ["q", 3, 0, b""], ["q", "u", 0, "text"], []]
    assert after_failure({"link_error": links}, "q/1", "t", "failed", FAILURE, lives=1) == links


def test_without_links_nothing_follows():
    assert after_failure({}, "q/1", "t", "failed", FAILURE) == []


def test_a_signature_is_a_value():
    task = TaskQ("x", "redis://localhost").task(name="t")(sum)
    given = {"a": 1}
    made = task.s(1, **given)
    given["a"] = 2
    assert made == Signature(task, (1,), {"a": 1})
    assert (repr(made), repr(task.si(1))) == ("t.s(1, a=1)", "t.si(1)")
    with pytest.raises(TypeError):
        made.kwargs["a"] = 3
