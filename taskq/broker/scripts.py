"""Loads the Lua scripts: one move per file, with shared includes and a header that says what KEYS and ARGV are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

HEADER_FIELDS = ("Flags", "Moves", "KEYS", "ARGV", "Returns")
_INCLUDE = re.compile(r"^-- include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One script as it is sent: ``keys`` and ``arguments`` are the fixed ones, by name and in order.

    ``read_only`` ones write nothing; the server knows by their flags.
    """

    name: str
    source: str
    sha: str
    keys: tuple[str, ...]
    arguments: tuple[str, ...]
    read_only: bool = False

    @property
    def has_session(self) -> bool:
        """Whether a repeated call is answered from the stored reply."""
        return "session" in self.keys


def read_lua(path: str) -> str:
    """Return the text of ``lua/<path>.lua``."""
    return (files("taskq.broker") / "lua" / f"{path}.lua").read_text("utf-8")


def header(text: str) -> dict[str, str]:
    """Return the fields of a script's header, each on one line."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        name, colon, value = line[3:].partition(":")
        if colon and name in HEADER_FIELDS:
            found[name] = value.strip()
    return found


def _names(field: str) -> tuple[str, ...]:
    return tuple(field.split("then", maxsplit=1)[0].split())


def build(name: str, read: Callable[[str], str] = read_lua) -> Script:
    """Expand one script: shebang, names for KEYS and ARGV, includes in place.

    Args:
        name: the script's file name without its ending.
        read: gives the text of a file; tests pass one with another clock.
    """
    text = read(name)
    fields = header(text)
    keys, arguments = _names(fields["KEYS"]), _names(fields["ARGV"])
    flags = "" if fields["Flags"] == "none" else f" flags={fields['Flags']}"
    lines = [f"#!lua{flags}"]
    for prefix, source, names in (("key", "KEYS", keys), ("arg", "ARGV", arguments)):
        if names:
            left = ", ".join(f"{prefix}_{name}" for name in names)
            right = ", ".join(f"{source}[{i}]" for i in range(1, len(names) + 1))
            lines.append(f"local {left} = {right}")
    lines.append(f"local FIXED, REST = {len(keys)}, {len(arguments)}")
    lines.append(_INCLUDE.sub(lambda match: read(f"include/{match[1]}"), text))
    source = "\n".join(lines)
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return Script(name, source, sha, keys, arguments, "no-writes" in fields["Flags"].split(","))


@cache
def load() -> Mapping[str, Script]:
    """Return all scripts by name."""
    folder = files("taskq.broker") / "lua"
    names = sorted(entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".lua"))
    return {name: build(name) for name in names}
