"""Every contract is stated once and runs over actors of every kind, on both servers."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from crew import KINDS, Crew, Homes
from fsck_kit import what_is_wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import TestServer


@pytest.fixture(scope="session")
def homes(any_server: TestServer) -> Iterator[Homes]:
    """The processes in which actors live; names, not namespaces, keep tests apart, so that they are started once.

    What all of them have left in Redis is checked at the end.
    """
    homes = Homes(any_server.url, f"t{secrets.token_hex(4)}")
    yield homes
    homes.close()
    broken = what_is_wrong(any_server.url, homes.namespace, strict=False)  # actors end with what they hold
    assert not broken, "left in Redis: " + "; ".join(broken)


@pytest.fixture(params=KINDS)
def crew(request: pytest.FixtureRequest, homes: Homes, any_server: TestServer) -> Iterator[Crew]:
    """Makes actors of one kind."""
    with any_server.client() as client:
        yield Crew(request.param, homes, client)
    homes.tidy()


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"n{secrets.token_hex(4)}"
