"""Every Lua file says what it does and keeps to the rules that make scripts safe."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from broker_kit import CLOCK

from taskq.broker import scripts

LUA = files("taskq.broker") / "lua"
NAMES = sorted(entry.name[:-4] for entry in LUA.iterdir() if entry.name.endswith(".lua"))
INCLUDES = sorted(entry.name[:-4] for entry in (LUA / "include").iterdir() if entry.name.endswith(".lua"))
ALL = [*NAMES, *(f"include/{name}" for name in INCLUDES)]
FLAGS = {"none", "allow-oom", "no-writes"}
PLACES = {"new", "ready", "delayed", "leased", "suspect", "dead", "ended", "quarantine", "done"}

# Names of parameters and loop variables that hold declared keys, and where they are bound to them.
PASSED_KEYS = {"key", "source", "place", "result_key", "mark_key", "note_key"}
CALL = re.compile(r"redis\.p?call\(\s*([^,()]+(?:\([^()]*\))?[^,()]*?)\s*(?:,\s*([^,)\]]+\]?)(?:,\s*([^,)\]]+))?|\))")
CODE = re.compile(r"--[^\n]*")


def code(path: str) -> str:
    return CODE.sub("", scripts.read_lua(path))


def test_the_scripts_are_those_that_are_loaded():
    assert sorted(scripts.load()) == NAMES
    assert {"enqueue", "step", "end", "reap"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_begins_with_its_name_and_purpose(name):
    first = scripts.read_lua(name).partition("\n")[0]
    assert re.fullmatch(rf"-- {name}: [a-z].{{15,130}}\.", first)


@pytest.mark.parametrize("name", INCLUDES)
def test_an_include_begins_with_its_purpose(name):
    assert re.match(r"-- [A-Z].{20,}", scripts.read_lua(f"include/{name}"))


@pytest.mark.parametrize("name", NAMES)
def test_a_header_has_every_field(name):
    fields = scripts.header(scripts.read_lua(name))
    assert set(fields) == set(scripts.HEADER_FIELDS)
    assert all(fields.values())
    assert fields["Flags"] in FLAGS
    assert fields["Moves"] == "none" or set(re.findall(r"[a-z]+", fields["Moves"])) <= PLACES


@pytest.mark.parametrize("name", NAMES)
def test_the_session_comes_first_or_not_at_all(name):
    script = scripts.build(name)
    if script.has_session:
        assert script.keys[0] == "session"
        assert script.arguments[:2] == ("seq", "first")
    else:
        assert "seq" not in script.arguments


@pytest.mark.parametrize("name", NAMES)
def test_every_declared_name_is_used_and_every_used_name_declared(name):
    script = scripts.build(name)
    body = CODE.sub("", script.source).split("local FIXED, REST", 1)[1]
    for prefix, declared in (("key", script.keys), ("arg", script.arguments)):
        used = set(re.findall(rf"\b{prefix}_(\w+)", body))
        functions = set(re.findall(rf"\blocal {prefix}_(\w+)", body))
        passed = {name.removeprefix(f"{prefix}_") for name in PASSED_KEYS}
        assert set(declared) - used == set(), f"declared and not used as {prefix}_"
        assert used - set(declared) - functions - passed <= reach(name, prefix), f"used and not declared as {prefix}_"


def reach(name: str, prefix: str) -> set[str]:
    """Names used only in functions of includes that the script does not call; a run with them would stop at once."""
    text = code(name)
    included = re.findall(r"^-- include (\w+)$", scripts.read_lua(name), re.MULTILINE)
    bodies = {}
    for include in included:
        for function, body in re.findall(
            r"^local function (\w+)\((.*?)^end", code(f"include/{include}"), re.MULTILINE | re.DOTALL
        ):
            bodies[function] = body
    called: set[str] = set()
    pending = [text] + [
        re.sub(r"^local function .*?^end", "", code(f"include/{i}"), flags=re.MULTILINE | re.DOTALL) for i in included
    ]
    while pending:
        words = set(re.findall(r"\b(\w+)\b", pending.pop()))
        for function in words & (set(bodies) - called):
            called.add(function)
            pending.append(bodies[function])
    idle = [body for function, body in bodies.items() if function not in called]
    return {found for body in idle for found in re.findall(rf"\b{prefix}_(\w+)", body)}


@pytest.mark.parametrize("path", ALL)
def test_a_file_is_short(path):
    assert len(scripts.read_lua(path).splitlines()) < 80


@pytest.mark.parametrize("path", ALL)
def test_nothing_is_decoded_inside_the_server(path):
    assert not re.search(r"cjson|cmsgpack|\bstruct\b|\bbit\.|loadstring|\berror\(", code(path))


@pytest.mark.parametrize("path", ALL)
def test_every_key_of_a_command_is_a_declared_name(path):
    for command, first, _ in CALL.findall(code(path)):
        if command in {"'TIME'", "'PUBLISH'"}:
            continue
        assert first.startswith(("key_", "KEYS[")) or first in PASSED_KEYS, f"{command} touches {first}"


@pytest.mark.parametrize("path", ALL)
def test_every_call_of_a_command_was_looked_at(path):
    text = code(path)
    assert len(CALL.findall(text)) == len(re.findall(r"redis\.p?call\(", text))


@pytest.mark.parametrize("name", NAMES)
def test_a_script_that_says_so_does_not_write(name):
    if "no-writes" not in scripts.header(scripts.read_lua(name))["Flags"]:
        return
    commands = set(re.findall(r"redis\.p?call\('(\w+)'", code(name)))
    hashes, sets = (
        {"HGET", "HMGET", "HGETALL", "HLEN", "HEXISTS", "HRANDFIELD", "HSCAN"},
        {"ZRANGE", "ZSCORE", "ZMSCORE", "ZCARD", "ZCOUNT", "SCARD"},
    )
    assert commands <= {"TIME", "GET", "TYPE", "PTTL", "LLEN"} | hashes | sets


@pytest.mark.parametrize("name", NAMES)
def test_the_time_is_read_once(name):
    source = CODE.sub("", scripts.build(name).source)
    assert source.count("'TIME'") <= 1
    assert "TIME" not in code(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_scripts_do_not_know_the_tests_clock(name):
    assert CLOCK not in scripts.load()[name].source


@pytest.mark.parametrize("name", INCLUDES)
def test_every_include_is_included(name):
    assert any(f"-- include {name}\n" in scripts.read_lua(script) for script in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_script_has_its_tests(name):
    assert (files("taskq.broker") / "../../tests/scripts" / f"test_{name}.py").is_file()
