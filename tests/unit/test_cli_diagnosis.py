"""What the doctor makes of what a server says."""

from __future__ import annotations

from typing import Any

import pytest

from taskq.broker.address import parse_url
from taskq.broker.diagnosis import LUA_FIXES, Facts, Finding, check
from taskq.broker.doctor import QUEUE_TYPES, refuse
from taskq.broker.scripts import load
from taskq.errors import AuthenticationFailed, SchemaTooNew, WrongServer, WrongType

GOOD = {
    "redis_version": "8.4.0",
    "redis_mode": "standalone",
    "role": "master",
    "connected_slaves": "0",
    "maxmemory": "104857600",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
}


def facts(url: str = "redis://localhost", info: dict[str, str] | None = None, **fields: Any) -> Facts:
    return Facts(parse_url(url), GOOD | (info or {}), **fields)


def levels(found: list[Finding]) -> dict[str, str]:
    return {one.name: one.level for one in found if one.level != "ok"}


def test_a_good_server_is_all_ok() -> None:
    assert levels(check(facts())) == {}


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ({"redis_version": "6.2.20"}, "refuse"),
        ({"redis_version": "7.0.0"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.0"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.0"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "7.0.9"}, "refuse"),
        ({"redis_version": "unstable"}, "refuse"),
        ({"redis_version": "255.255.255"}, "ok"),
    ],
)
def test_the_version_is_judged_by_the_product(said: dict[str, str], level: str) -> None:
    found = {one.name: one for one in check(facts(info=said))}
    assert found["version"].level == level


@pytest.mark.parametrize(
    ("product", "version", "level"),
    [
        ("redis", "7.0.15", "warn"),
        ("redis", "7.2.10", "warn"),
        ("redis", "7.2.11", "ok"),
        ("redis", "7.4.5", "warn"),
        ("redis", "8.0.4", "ok"),
        ("redis", "8.2.1", "warn"),
        ("redis", "8.2.2", "ok"),
        ("redis", "8.4.0", "ok"),
        ("valkey", "8.0.5", "warn"),
        ("valkey", "8.1.4", "ok"),
        ("valkey", "9.0.0", "ok"),
    ],
)
def test_builds_below_the_fixes_of_the_lua_engine_are_warned_of(product: str, version: str, level: str) -> None:
    found = {one.name: one for one in check(facts(info={f"{product}_version": version}))}
    assert found["security"].level == level


def test_the_warning_names_the_version_to_upgrade_to() -> None:
    found = {one.name: one for one in check(facts(info={"redis_version": "7.2.4"}))}
    assert f"7.2.{LUA_FIXES['redis'][7, 2]}" in found["security"].text


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, {"memory-policy": "refuse"}),
        ({"maxmemory_policy": "volatile-ttl"}, {"memory-policy": "warn"}),
        ({"maxmemory_policy": ""}, {"memory-policy": "warn"}),
        ({"role": "slave", "master_host": "h", "master_port": "1"}, {"role": "refuse"}),
        ({"redis_mode": "sentinel"}, {"role": "refuse"}),
        ({"maxmemory": "0"}, {"memory-limit": "warn"}),
        ({"aof_enabled": "0"}, {"persistence": "warn"}),
    ],
)
def test_each_bad_sign_has_its_finding(said: dict[str, str], expected: dict[str, str]) -> None:
    assert levels(check(facts(info=said))) == expected


def test_a_replica_is_told_with_its_master() -> None:
    said = {"role": "slave", "master_host": "db1", "master_port": "6380"}
    found = {one.name: one for one in check(facts(info=said))}
    assert "db1:6380" in found["role"].text


def test_a_cluster_of_several_masters_is_refused() -> None:
    assert levels(check(facts(masters=3))) == {"role": "refuse"}


@pytest.mark.parametrize(
    ("snapshots", "names"),
    [(True, {"persistence"}), (False, {"persistence", "replicas"}), (None, {"persistence", "replicas"})],
)
def test_replicas_of_a_server_without_persistence_are_warned_of(snapshots: bool | None, names: set[str]) -> None:
    said = {"aof_enabled": "0", "connected_slaves": "2"}
    assert set(levels(check(facts(info=said, snapshots=snapshots)))) == names


@pytest.mark.parametrize(("ahead", "expected"), [(1.9, {}), (2.1, {"clock": "warn"}), (-2.1, {"clock": "warn"})])
def test_a_clock_that_differs_by_over_two_seconds_is_warned_of(ahead: float, expected: dict[str, str]) -> None:
    assert levels(check(facts(clock_ahead=ahead))) == expected


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("redis://localhost", set()),
        ("redis://127.0.0.9", set()),
        ("redis://[::1]:6379", set()),
        ("unix:///run/redis.sock", set()),
        ("redis://db1", {"password", "encryption"}),
        ("redis://10.0.0.1", {"password", "encryption"}),
        ("redis://:secret@db1", {"encryption"}),
        ("rediss://db1", {"password"}),
        ("rediss://:secret@db1", set()),
    ],
)
def test_access_from_elsewhere_needs_a_password_and_tls(url: str, names: set[str]) -> None:
    assert set(levels(check(facts(url)))) == names


def test_no_finding_shows_the_password() -> None:
    assert "secret" not in repr(check(facts("redis://:secret@db1")))


def test_a_server_that_denies_info_is_a_warning() -> None:
    found = check(Facts(parse_url("redis://localhost"), {}))
    assert levels(found) == {"server": "warn"}


@pytest.mark.parametrize("schema", ["2", "99", "text", "", "-1"])
def test_a_newer_schema_is_refused(schema: str) -> None:
    found = check(facts(schemas={"old": "1", "mail": schema}))
    assert levels(found) == {"schema": "refuse"}


def test_a_key_of_another_type_is_refused_by_name() -> None:
    found = check(facts(types={"t:{a}:ready": "string"}, expected={"t:{a}:ready": "zset"}))
    assert next(one.text for one in found if one.level == "refuse").startswith(
        "keys of taskq hold another type: t:{a}:ready is a string, no zset"
    )


def test_missing_keys_are_fine() -> None:
    assert levels(check(facts(types={}, expected={"t:{a}:ready": "zset"}))) == {}


def test_types_that_may_not_be_read_are_a_warning() -> None:
    assert levels(check(facts(types=None))) == {"keys": "warn"}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"info": {"maxmemory_policy": "allkeys-lfu"}}, WrongServer),
        ({"scripts_denied": "no right to evalsha"}, AuthenticationFailed),
        ({"schemas": {"a": "99"}}, SchemaTooNew),
        ({"types": {"k": "set"}, "expected": {"k": "hash"}}, WrongType),
    ],
)
def test_a_refusal_is_raised_as_what_it_is(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        refuse(check(facts(**fields)))


def test_all_refusals_are_in_one_message() -> None:
    found = check(facts(info={"role": "slave", "maxmemory_policy": "allkeys-lru"}))
    with pytest.raises(WrongServer, match=r"replica.*; .*allkeys-lru"):
        refuse(found)


def test_warnings_refuse_nobody() -> None:
    refuse(check(facts(info={"aof_enabled": "0"})))


PRIMITIVE_KEYS = frozenset(  # which no registry lists
    {"event", "waiters", "permits", "holders", "fences", "line"}
    | {"barrier", "arrived", "deadlines", "failed", "condition", "waiting", "seen"}
)


def test_every_fixed_key_of_the_scripts_has_a_type() -> None:
    stand_ins = {"session", "lease", "first", "second"}  # for keys whose names are made at the call
    used = {key for script in load().values() for key in script.keys} - stand_ins
    assert used == set(QUEUE_TYPES) | PRIMITIVE_KEYS
