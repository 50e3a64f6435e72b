"""Frames between supervisor and child, and the slot table."""

from __future__ import annotations

import itertools
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.errors import ProtocolError
from taskq.worker.protocol import (
    IGNORABLE,
    MAX_FRAME,
    Done,
    Ended,
    Frame,
    FrameReader,
    Hello,
    JobFrame,
    Jobs,
    SlotTable,
    encode_frame,
)

FRAMES = [
    (Frame.HELLO, Hello(1, "0.1.0", 7, tasks={}, queues=[("q", "fifo", 0)])),
    (Frame.JOBS, Jobs(-5, 6, [JobFrame(1, "q", "u", 2, b"", b"data"), JobFrame(2, "q", "v", 3, b"\x00", b"")])),
    (Frame.RECALL, None),
    (Frame.DONE, Done([1, 2], [Ended(3, "f", b"r", 4, 5, b"e", "chan", [("q", "u", 6, b"d")])], 8)),
    (Frame.CANCEL, [1, 2]),
    (Frame.BACK, []),
    (Frame.STOP, None),
]
STREAM = b"".join(encode_frame(kind, payload) for kind, payload in FRAMES)
HEAD = struct.Struct("<IB")


def read(*pieces):
    reader = FrameReader()
    return [frame for piece in pieces for frame in reader.feed(piece)], reader


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_frames_come_out_whole_however_the_stream_is_cut(cuts):
    places = [0, *sorted(cuts), len(STREAM)]
    frames, reader = read(*(STREAM[a:b] for a, b in itertools.pairwise(places)))
    assert (frames, reader.pending) == (FRAMES, 0)


def test_frames_come_out_whole_byte_by_byte():
    frames, _ = read(*(STREAM[i : i + 1] for i in range(len(STREAM))))
    assert frames == FRAMES


@given(st.integers(1, len(STREAM) - 1))
def test_unfinished_frame_is_kept_back(end):
    frames, reader = read(STREAM[:end])
    assert frames == FRAMES[: len(frames)]
    rest = list(reader.feed(STREAM[end:]))
    assert frames + rest == FRAMES


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 2**32 - 1])
def test_length_that_no_frame_has_is_refused_before_anything_is_kept(length):
    with pytest.raises(ProtocolError, match=f"frame of {length} bytes"):
        read(HEAD.pack(length, Frame.DONE))


def test_length_that_lies_short_is_refused():
    frame = encode_frame(Frame.CANCEL, [1, 2, 300])
    with pytest.raises(ProtocolError, match="CANCEL is broken"):
        read(HEAD.pack(len(frame) - 6, Frame.CANCEL) + frame[HEAD.size :])


def test_length_that_lies_long_is_refused_when_its_bytes_are_there():
    frame = encode_frame(Frame.CANCEL, [1])
    with pytest.raises(ProtocolError, match="CANCEL is broken"):
        read(HEAD.pack(len(frame) - 4 + 1, Frame.CANCEL) + frame[HEAD.size :] + b"\x00")


@given(st.integers(0, 255), st.binary(max_size=40))
def test_any_bytes_give_frames_or_a_protocol_error(kind, payload):
    try:
        frames, reader = read(HEAD.pack(len(payload) + 1, kind) + payload)
    except ProtocolError:
        return
    assert (len(frames), reader.pending) == (0 if kind & IGNORABLE else 1, 0)


@given(st.binary(max_size=200))
def test_junk_never_raises_anything_but_a_protocol_error(junk):
    reader = FrameReader()
    try:
        list(reader.feed(junk))
    except ProtocolError:
        return
    assert reader.pending <= len(junk)


@pytest.mark.parametrize("kind", [Frame.EXTEND, 0, 31, 99])
def test_unknown_type_is_refused(kind):
    with pytest.raises(ProtocolError, match=f"unknown type {int(kind)}"):
        read(HEAD.pack(1, kind))


@pytest.mark.parametrize("kind", [Frame.LOG, Frame.CHUNK, 0xFF])
def test_unknown_type_that_may_be_skipped_is_skipped(kind):
    frames, _ = read(HEAD.pack(4, kind) + b"abc" + encode_frame(Frame.STOP))
    assert frames == [(Frame.STOP, None)]


def test_payload_of_another_shape_is_refused():
    with pytest.raises(ProtocolError, match="DONE is broken"):
        read(encode_frame(Frame.DONE, ["no", "such", "thing"]))


def test_frame_over_the_limit_is_not_sent():
    with pytest.raises(ProtocolError, match="over the limit"):
        encode_frame(Frame.DONE, b"x" * MAX_FRAME)


def test_slot_table_tells_what_runs_where():
    table, fd = SlotTable.create(3)
    table.start(0, 11, 1.5, 0.0)
    table.start(2, 12, 2.5, 9.5)
    table.finish(0, 11)
    assert table.running() == [(12, 2.5, 9.5)]
    assert table.row(0)[2:] == (0, 11)
    table.close()
    os.close(fd)


def test_slot_table_is_seen_through_both_of_its_ends():
    table, fd = SlotTable.create(2)
    other = SlotTable(fd, 2)
    table.start(1, 2**64 - 1, 1.0, 2.0)
    assert other.running() == [(2**64 - 1, 1.0, 2.0)]
    other.close()
    table.close()
    os.close(fd)
