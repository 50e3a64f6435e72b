"""The page: one file for any browser, without a network. What others wrote enters it as data only."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from importlib.resources import files

from taskq.report.columns import page_data
from taskq.report.report import Report

SCRIPTS = ("data", "draw", "charts", "lanes", "tables", "main")  # in the order in which they use each other
_PLACE = re.compile(r"{{(\w+)}}")
# Written as JSON in ASCII, these are all that could end the script element that holds the data, or open a comment.
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def render_page(report: Report) -> Iterator[str]:
    """Yield the parts of the page, in ASCII."""
    css, script = _asset("page.css"), _script()
    # Nothing may run, be fetched or be sent but our own script and style: a second wall behind the escaping.
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(css)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    parts = {"css": css, "script": script, "policy": policy, "data": as_data(page_data(report))}
    for number, piece in enumerate(_PLACE.split(_asset("page.html"))):
        yield parts[piece] if number % 2 else piece


def as_data(value: object) -> str:
    """Return JSON that can stand inside a script element, whatever texts are in it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


def _script() -> str:
    body = "".join(_asset(f"{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def _asset(name: str) -> str:
    return files("taskq.report").joinpath("assets", name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
