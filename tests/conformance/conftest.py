"""Every contract is stated once and runs over actors of every kind, on both servers."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from crew import KINDS, Crew, Homes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import TestServer


@pytest.fixture(scope="session")
def homes(any_server: TestServer) -> Iterator[Homes]:
    """The processes in which actors live; names, not namespaces, keep tests apart, so that they are started once."""
    homes = Homes(any_server.url, f"t{secrets.token_hex(4)}")
    yield homes
    homes.close()


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
