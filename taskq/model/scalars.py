"""The extensions of msgpack: their codes, and single values that msgpack has no type for as bytes and back.

Only the standard library's exact types are known here: a subclass would come back as its base, so it is refused.
"""

from __future__ import annotations

import os
import pathlib
import re
import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import ormsgpack

# Extension codes. They are stored in queues and results: a number is never given to another type.
TUPLE: Final = 1
SET: Final = 2
FROZENSET: Final = 3
MAP: Final = 4  # a dict with keys that msgpack cannot carry: key, value, key, value, ...
CLASS: Final = 5  # an instance of a class of the annotations: name, data
INT: Final = 6
COMPLEX: Final = 7
DATETIME: Final = 8
DATE: Final = 9
TIME: Final = 10
TIMEDELTA: Final = 11
DECIMAL: Final = 12
UUID_: Final = 13
PATH: Final = 14

# Everything that ormsgpack would flatten to something else goes through the hook instead.
PACK_OPTIONS: Final = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)
CONTAINERS: Final[Mapping[type, int]] = MappingProxyType({tuple: TUPLE, set: SET, frozenset: FROZENSET})
# Containers inside each other that always pass. Real data has a dozen levels; the reader spends up to four of Python's
# 1000 stack entries on each, and its caller has used some of them already.
MAX_DEPTH: Final = 100

_COMPLEX = struct.Struct(">dd")
# What a key of the tz database is made of. A dot would let a key leave the database's folder.
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")

_Clock = TypeVar("_Clock", datetime, time)


def _write_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _read_int(data: memoryview) -> int:
    return int.from_bytes(data, "big", signed=True)


def _write_complex(value: complex) -> bytes:
    return _COMPLEX.pack(value.real, value.imag)


def _read_complex(data: memoryview) -> complex:
    return complex(*_COMPLEX.unpack(data))


def _write_clock(value: datetime | time) -> bytes:
    """Return ``ISO [fold [zone]]``; zone is a key of the tz database, or a fixed offset that ISO does not hold."""
    zone, name, text = value.tzinfo, "", value.isoformat()
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        given = zone.tzname(None)
        named = given != timezone(offset).tzname(None)
        if named or offset.microseconds:  # fromisoformat loses an offset of less than a second
            name = f"={offset // timedelta(microseconds=1)}{f'={given}' if named else ''}"
    elif type(zone) is ZoneInfo and zone.key and _ZONE_KEY.fullmatch(zone.key):
        name = zone.key
    elif zone is not None:
        raise TypeError(f"time zone {type(zone).__name__} cannot be named; use datetime.timezone or ZoneInfo(key)")
    if name:
        return f"{value.replace(tzinfo=None).isoformat()} {value.fold} {name}".encode()
    return f"{text} 1".encode() if value.fold else text.encode()


def _read_clock(kind: type[_Clock], data: memoryview) -> _Clock:
    text, *rest = str(data, "utf-8").split(" ", 2)
    value = kind.fromisoformat(text)
    if not rest:
        return value
    zone = _read_zone(rest[1]) if len(rest) > 1 else value.tzinfo
    return value.replace(tzinfo=zone, fold=int(rest[0]))


def _read_zone(name: str) -> tzinfo:
    if name.startswith("="):
        offset, *given = name[1:].split("=", 1)
        return timezone(timedelta(microseconds=int(offset)), *given)
    if _ZONE_KEY.fullmatch(name) is None:
        raise ValueError("time zone is no key of the tz database")
    return ZoneInfo(name)


def _read_datetime(data: memoryview) -> datetime:
    return _read_clock(datetime, data)


def _read_time(data: memoryview) -> time:
    return _read_clock(time, data)


def _write_date(value: date) -> bytes:
    return value.isoformat().encode()


def _read_date(data: memoryview) -> date:
    return date.fromisoformat(str(data, "ascii"))


def _write_timedelta(value: timedelta) -> bytes:
    return b"%d %d %d" % (value.days, value.seconds, value.microseconds)


def _read_timedelta(data: memoryview) -> timedelta:
    days, seconds, microseconds = map(int, bytes(data).split())
    return timedelta(days, seconds, microseconds)


def _write_decimal(value: Decimal) -> bytes:
    return str(value).encode()


def _read_decimal(data: memoryview) -> Decimal:
    return Decimal(str(data, "ascii"))


def _write_uuid(value: UUID) -> bytes:
    return value.bytes


def _read_uuid(data: memoryview) -> UUID:
    return UUID(bytes=bytes(data))


def _write_path(value: pathlib.PurePath) -> bytes:
    kind = "p"
    if isinstance(value, pathlib.PureWindowsPath):
        kind = "w"
        if type(value)(str(value)) != value:  # a share without its folder, such as //server/
            raise ValueError("this path changes when it is written and read; name the whole share")
    flavour = kind if isinstance(value, pathlib.Path) else kind.upper()
    return (flavour + str(value)).encode("utf-8", "surrogatepass")  # file names that are no UTF-8 hold surrogates


def _read_path(data: memoryview) -> pathlib.PurePath:
    """Read a path; where the other system's ``Path`` cannot be made, its pure flavour takes its place."""
    flavour, text = bytes(data[:1]), str(data[1:], "utf-8", "surrogatepass")
    if flavour == (b"w" if os.name == "nt" else b"p"):
        return pathlib.Path(text)
    return pathlib.PureWindowsPath(text) if flavour in {b"w", b"W"} else pathlib.PurePosixPath(text)


WRITERS: Mapping[type, tuple[int, Callable[..., bytes]]] = MappingProxyType(
    {
        int: (INT, _write_int),  # beyond 64 bits; smaller ones never come here
        complex: (COMPLEX, _write_complex),
        datetime: (DATETIME, _write_clock),
        date: (DATE, _write_date),
        time: (TIME, _write_clock),
        timedelta: (TIMEDELTA, _write_timedelta),
        Decimal: (DECIMAL, _write_decimal),
        UUID: (UUID_, _write_uuid),
        pathlib.PosixPath: (PATH, _write_path),
        pathlib.WindowsPath: (PATH, _write_path),
        pathlib.PurePosixPath: (PATH, _write_path),
        pathlib.PureWindowsPath: (PATH, _write_path),
    }
)
READERS: Mapping[int, Callable[[memoryview], object]] = MappingProxyType(
    {
        INT: _read_int,
        COMPLEX: _read_complex,
        DATETIME: _read_datetime,
        DATE: _read_date,
        TIME: _read_time,
        TIMEDELTA: _read_timedelta,
        DECIMAL: _read_decimal,
        UUID_: _read_uuid,
        PATH: _read_path,
    }
)
