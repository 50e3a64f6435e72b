"""Texts of the command line as values; each error names the option and what was given."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from taskq.errors import BadArguments, InvalidOption, shorten

_SIZE = re.compile(r"(\d{1,15})([kmgt]?)(i?b)?", re.IGNORECASE | re.ASCII)
_SPAN = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]{1,9})?[smhdw])+", re.ASCII)
_SPANS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}  # seconds
MAX_SPAN = 10 * 366 * 86_400.0  # seconds; ten years, longer than anything is kept
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def whole(option: str, text: str, low: int, high: int) -> int:
    """Return a whole number.

    Raises:
        InvalidOption: it is none, or not from ``low`` to ``high``.
    """
    bare = text.strip()
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", bare) or not low <= int(bare) <= high:
        raise InvalidOption(f"{option} {_shown(text)} must be a whole number from {low} to {high}")
    return int(bare)


def seconds(option: str, text: str, low: float, high: float) -> float:
    """Return a finite number of seconds.

    Raises:
        InvalidOption: it is none, or not from ``low`` to ``high``.
    """
    number = _float(text)
    if not low <= number <= high:  # NaN is in no range
        raise InvalidOption(f"{option} {_shown(text)} must be a number of seconds from {low:g} to {high:g}")
    return number


def span(option: str, text: str, low: float = 0.0, high: float = MAX_SPAN) -> float:
    """Return a time span such as ``90s``, ``10m``, ``1h30m`` or ``1d`` in seconds; a bare number is seconds.

    Raises:
        InvalidOption: it is none, or not from ``low`` to ``high`` seconds.
    """
    bare = text.strip().lower()
    if _SPAN.fullmatch(bare):
        found = sum(float(part) * _SPANS[unit] for part, unit in re.findall(r"([0-9.]+)([smhdw])", bare))
    else:
        found = _float(bare)
    if not low <= found <= high:  # NaN is in no range
        raise InvalidOption(
            f"{option} {_shown(text)} must be a time span from {low:g}s to {high / 86_400:g}d, such as 90s or 1h30m"
        )
    return found


def when(option: str, text: str) -> float | timedelta:
    """Return a moment: how long ago, as ``span`` reads it, or a date and time as seconds since 1970.

    A time without a zone is this machine's.

    Raises:
        InvalidOption: it is neither.
    """
    try:
        return timedelta(seconds=span(option, text))
    except InvalidOption:
        pass
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        way_out = "90s, 10m, 2h or 1d ago, or a time such as 2026-11-20T10:00"
        raise InvalidOption(f"{option} {_shown(text)} must be a time: {way_out}") from None


def moment(option: str, text: str, now: float) -> float:
    """Return the seconds since 1970 of what ``when`` reads, counted from ``now``; raises as it does."""
    found = when(option, text)
    return now - found.total_seconds() if isinstance(found, timedelta) else found


def number(option: str, text: str) -> float:
    """Return a number, whole where it is written so.

    Raises:
        InvalidOption: it is none.
    """
    if re.fullmatch(r"[+-]?[0-9]{1,300}", text.strip()):
        return int(text)
    found = _float(text)
    if math.isnan(found):
        raise InvalidOption(f"{option} {_shown(text)} must be a number")
    return found


def kibibytes(option: str, text: str, low: int, high: int) -> int:
    """Return a size such as ``200M`` (binary units; without one it is bytes) in KiB, rounded up.

    Raises:
        InvalidOption: it is none, or not from ``low`` to ``high`` KiB.
    """
    match = _SIZE.fullmatch(text.strip())
    size = -(-int(match[1]) * 1024 ** _POWERS[match[2].lower()] // 1024) if match else -1
    if not low <= size <= high:
        span = f"from {low // 1024}M to {high // 1024**2}G"
        raise InvalidOption(f"{option} {_shown(text)} must be a size {span}, such as 200M or 1G")
    return size


def listed(option: str, text: str) -> list[str]:
    """Return the words of a list with commas.

    Raises:
        InvalidOption: one is empty.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise InvalidOption(f"{option} {shorten(text)} must be words with commas between")
    return words


def argument(text: str) -> Any:
    """Return a job's argument: what ``text`` means as JSON, else the text itself.

    Raises:
        BadArguments: it is JSON that is nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:  # NaN and Infinity are no JSON either
        return text
    except RecursionError:
        raise BadArguments(f"argument {shorten(text)} is nested too deeply") from None


def keywords(pairs: Sequence[str]) -> dict[str, Any]:
    """Return keyword arguments of ``name=value`` texts.

    Raises:
        BadArguments: one has no ``=`` or no usable name, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise BadArguments(f"--kwarg {shorten(pair)} is not of the form name=value")
        if name in found:
            raise BadArguments(f"--kwarg {name} is given twice")
        found[name] = argument(text)
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _float(text: str) -> float:
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan


def _shown(text: str) -> str:
    """Return a number as it was typed, anything else quoted."""
    return text if re.fullmatch(r"[+-]?[0-9.]{1,80}", text) else shorten(text)
