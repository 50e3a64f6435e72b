"""Whatever comes through the socket between a supervisor and its child: frames, or one line of ProtocolError."""

# ruff: noqa: PT017 (what must hold for an error holds for each that comes, and damaged bytes may well be data)

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import TIMED
from mutations import DEEP, ENDLESS, HOSTILE, fuzzed, is_one_line, mutated, peak_of

from taskq.errors import ProtocolError
from taskq.worker.children import Child
from taskq.worker.protocol import (
    IGNORABLE,
    MAX_FRAME,
    Done,
    Ended,
    Frame,
    FrameReader,
    Hello,
    Holding,
    Holdings,
    JobFrame,
    Jobs,
    JobTally,
    TaskInfo,
    encode_frame,
)

pytestmark = TIMED
HEAD = struct.Struct("<IB")
TO_CHILD = [
    (Frame.JOBS, Jobs(-5, 6, [JobFrame(1, "q", "u", 2, b"1;0;0;0;0", b"data"), JobFrame(2, "q", "v", 3, b"", b"")])),
    (Frame.RECALL, None),
    (Frame.CANCEL, [1, 2, 70_000]),
    (Frame.STOP, None),
    (Frame.LOST, ["address", "other"]),
]
FROM_CHILD = [
    (Frame.HELLO, Hello(1, "0.1", 7, tasks={"t": TaskInfo(1, 0.5, 0.1, True, 9, False)}, queues=[("q", "fifo", 0)])),
    (Frame.DONE, Done([1], [Ended(3, "f", b"r", 4, 5, b"e", "c", [("q", "u", 6, b"d")])], 8,
                      [JobTally("q", "t", "done", 1, [1], 0.5, [0], 0.25)])),
    (Frame.BACK, [5, 6]),
    (Frame.HOLDINGS, Holdings([Holding("lock", "t", "a", 5.0, 1)], ["b"])),
]  # fmt: skip
FRAMES = [encode_frame(kind, payload) for kind, payload in TO_CHILD + FROM_CHILD]
KINDS = [*Frame, 0, 31, 99, 255]
BEFORE = {
    "instead": b"",
    "fourth": b"\x94\x90\x90\x00",
    "fifth": b"\x95\x90\x90\x00\x90",
    "named": b"\x84\xa8protocol\x01\xa7version\xa0\xa3pid\x01\xa3new",
}
MIB = 1 << 20


def feed(*pieces: bytes) -> tuple[list[tuple[Frame, Any]], int]:
    reader = FrameReader()
    return [frame for piece in pieces for frame in reader.feed(piece)], reader.pending


def packed(kind: int, payload: bytes) -> bytes:
    return HEAD.pack(len(payload) + 1, kind) + payload


@fuzzed(400)
@given(mutated([b"".join(FRAMES), *FRAMES], most=4), st.integers(0, 400), st.integers(0, 400))
def test_a_damaged_stream_is_frames_or_one_line_however_it_is_cut(stream, first, second):
    pieces = [stream[a:b] for a, b in itertools.pairwise([0, *sorted((first, second)), max(len(stream), 401)])]
    try:
        frames, pending = feed(*pieces)
    except ProtocolError as error:
        assert is_one_line(error, 400)
        return
    assert pending <= len(stream)
    for kind, payload in frames:
        assert feed(encode_frame(kind, payload))[0][0][0] is kind  # what was read can be written


@fuzzed(300)
@given(st.sampled_from(KINDS), mutated([frame[HEAD.size :] for frame in FRAMES], most=4))
def test_a_payload_of_any_type_is_a_frame_or_one_line(kind, payload):
    try:
        frames, pending = feed(packed(kind, payload))
    except ProtocolError as error:
        assert is_one_line(error, 400)
        return
    assert pending == 0
    assert frames or kind & IGNORABLE


@pytest.mark.parametrize("kind", [kind for kind, _ in TO_CHILD + FROM_CHILD], ids=lambda kind: kind.name)
@pytest.mark.parametrize("hostile", DEEP[:2], ids=["arrays", "maps"])
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_data_nested_without_end_is_one_line(kind, hostile, before):
    with pytest.raises(ProtocolError, match=f"frame {kind.name} is broken") as caught:
        feed(packed(kind, before + hostile))
    assert is_one_line(caught.value, 400)


@pytest.mark.parametrize("kind", [kind for kind, _ in TO_CHILD + FROM_CHILD], ids=lambda kind: kind.name)
def test_a_length_inside_a_payload_that_lies_takes_no_memory(kind):
    for hostile in ENDLESS:
        for before in (b"", b"\x93\x00\x00", b"\x93", b"\x94\x90\x90\x00", b"\x91"):
            stream = packed(kind, before + hostile)
            assert peak_of(lambda stream=stream: feed(stream)) < MIB, (kind, before, hostile[:9])


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("whole_head", [True, False])
def test_a_length_that_no_frame_has_takes_no_memory(length, whole_head):
    """It is refused as soon as the head is there, and not looked at before."""
    head = HEAD.pack(length, Frame.DONE)[: None if whole_head else -1]
    reader = FrameReader()
    assert peak_of(lambda: list(reader.feed(head))) < MIB
    assert reader.pending <= HEAD.size
    if not whole_head:
        with pytest.raises(ProtocolError, match=f"frame of {length} bytes"):
            list(reader.feed(bytes([Frame.DONE])))


def test_a_frame_that_never_becomes_whole_keeps_no_more_than_what_came():
    reader = FrameReader()
    assert list(reader.feed(HEAD.pack(MAX_FRAME, Frame.DONE))) == []
    for _ in range(100):
        assert list(reader.feed(b"x" * 1000)) == []
    assert reader.pending == HEAD.size + 100_000


@fuzzed(300)
@given(mutated(FRAMES, most=2))
def test_a_supervisor_takes_only_frames_of_a_child(stream):
    child = Child.__new__(Child)
    child._reader = FrameReader()
    try:
        frames = child._parse(stream)
    except ProtocolError as error:
        assert is_one_line(error, 400)
        return
    assert all(kind >= Frame.HELLO for kind, _ in frames)


@pytest.mark.parametrize(("kind", "payload"), TO_CHILD[:-1], ids=lambda value: getattr(value, "name", ""))
def test_a_frame_that_goes_to_a_child_does_not_come_from_one(kind, payload):
    child = Child.__new__(Child)
    child._reader = FrameReader()
    with pytest.raises(ProtocolError, match=f"frame {kind.name} does not come from a child"):
        child._parse(encode_frame(kind, payload))


def test_every_hostile_piece_in_every_place_of_every_frame_is_frames_or_one_line():
    for frame, hostile in itertools.product(FRAMES, HOSTILE):
        payload, kind = frame[HEAD.size :], frame[4]
        for at in range(0, len(payload) + 1, 3):
            try:
                feed(packed(kind, payload[:at] + hostile + payload[at:]))
            except ProtocolError as error:
                assert is_one_line(error, 400)
