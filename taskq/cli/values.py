"""Texts of the command line as values; each error names the option and what was given."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from taskq.errors import BadArguments, InvalidOption, shorten

_SIZE = re.compile(r"(\d{1,15})([kmgt]?)(i?b)?", re.IGNORECASE | re.ASCII)
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
