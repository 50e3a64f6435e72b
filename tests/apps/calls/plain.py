"""Functions that an executor sends by module and name."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from functools import wraps
from os import path as alias
from textwrap import dedent


def double(number: int, *, plus: int = 0) -> int:
    return 2 * number + plus


def add(a: int, b: int) -> int:
    return a + b


def name_of(queue) -> str:
    return queue.name


def fail(text: str) -> None:
    raise LookupError(text)


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def _decorated(function):
    @wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@_decorated
def wrapped(number: int) -> int:
    return number


class Thing:
    def method(self) -> None: ...

    @staticmethod
    def static() -> None: ...


async def coroutine() -> None:
    await asyncio.sleep(0)


def generator() -> Iterator[int]:
    yield 1


def outer():
    def inner() -> None: ...

    return inner


renamed = double
short = lambda: None  # noqa: E731
imported = (os, subprocess, alias, dedent)
