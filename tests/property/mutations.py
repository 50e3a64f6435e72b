"""What programs and hands make of bytes that were good: cut, flipped, doubled, mixed, with numbers without end."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from machines import SOAK

from taskq.errors import clean

SHARES = 20  # of a soak's examples that each gets: there are some two hundred fuzz tests, not four machines
REASONS = [b"cancelled", b"purged", b"expired", b"crashed", b"lost", b"unknown", b"moved next b 1800000000000000",
           b"moved next b dead"]  # fmt: skip
DEEP = (b"\x91" * 3000, b"\x81\xa1x" * 3000, b"\xd4\x01\x90" * 200)
ENDLESS = (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
           b"\xc9\xff\xff\xff\xff\x01", b"\xdd\x00\xff\xff\xff" * 100, b"\xdc\xff\xff" * 100)  # fmt: skip
NUMBERS = (b"9" * 40, b"9" * 400, b"9" * 5000, b"-1", b"0", b"nan", b"inf", b"1e999", b"0x10", b" 7 ", b"1_0", b"",
           b"\xcb\x7f\xf0" + bytes(6), b"\xcb\x7f\xf8" + bytes(6), b"\xcb\x7e\x37" + b"\xe4" * 6, b"\xcf" + b"\xff" * 8,
           b"\xd3\x80" + bytes(7))  # fmt: skip
SIGNS = (
    b"\n",
    b";",
    b"\x00",
    b"\r\n",
    b"/",
    b"~",
    b"\xff\xfe",
    b"\x1b[31m",
    b"\xe2\x80\xae",
    b"\xc0",
    b"\xc1",
    b"\x80",
)
HOSTILE = (*DEEP, *ENDLESS, *NUMBERS, *SIGNS)


def fuzzed(examples: int) -> settings:
    """Return how one of the fuzz tests runs: in a soak with its share of the examples, at least ``examples``."""
    return settings(
        max_examples=max(examples, SOAK // SHARES),
        deadline=None,
        database=None,
        derandomize=os.environ.get("CI") == "true" and not SOAK,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


@st.composite
def mutated(draw: Any, seeds: Sequence[bytes], most: int = 3) -> bytes:
    """Return one of ``seeds`` after up to ``most`` changes; seldom any bytes at all."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=60))
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 12)))
        data = draw(st.sampled_from(CHANGES))(draw, seeds, data, at, to)
    return data


def _flip(draw: Any, seeds: Sequence[bytes], data: bytes, at: int, to: int) -> bytes:
    return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]


def _cut(draw: Any, seeds: Sequence[bytes], data: bytes, at: int, to: int) -> bytes:
    return data[:at]


def _remove(draw: Any, seeds: Sequence[bytes], data: bytes, at: int, to: int) -> bytes:
    return data[:at] + data[to:]


def _double(draw: Any, seeds: Sequence[bytes], data: bytes, at: int, to: int) -> bytes:
    return data[:to] + data[at:]


def _splice(draw: Any, seeds: Sequence[bytes], data: bytes, at: int, to: int) -> bytes:
    other = draw(st.sampled_from(seeds))
    return data[:at] + other[draw(st.integers(0, len(other))) :]


def _insert(draw: Any, seeds: Sequence[bytes], data: bytes, at: int, to: int) -> bytes:
    return data[:at] + draw(st.sampled_from(HOSTILE)) + data[at:]


def _replace(draw: Any, seeds: Sequence[bytes], data: bytes, at: int, to: int) -> bytes:
    return data[:at] + draw(st.sampled_from(HOSTILE)) + data[to:]


def _field(draw: Any, seeds: Sequence[bytes], data: bytes, at: int, to: int) -> bytes:
    """Put something else into one of the fields of a header or a state."""
    fields = data.split(b";", 6)
    fields[draw(st.integers(0, len(fields) - 1))] = draw(st.sampled_from(HOSTILE))
    return b";".join(fields)


CHANGES: tuple[Callable[[Any, Sequence[bytes], bytes, int, int], bytes], ...] = (
    _flip, _cut, _remove, _double, _splice, _insert, _replace, _field,
)  # fmt: skip


def is_one_line(text: object, most: int = 1000) -> bool:
    """Tell whether a message fits on one line of a terminal or log, and steers neither."""
    shown = str(text)
    return clean(shown) == shown and "\n" not in shown and len(shown) <= most


def peak_of(function: Callable[[], object]) -> int:
    """Return the bytes that a call allocates at most at a time, whether it raises or not."""
    tracemalloc.start()
    try:
        function()
    except Exception:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak
