"""What every test may use: real servers, and a namespace of its own on them."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

import pytest
from client_kit import end_timers
from servers import TestServer, redis_program, require_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """Let what a test began in other threads come to its end before its servers do."""
    end_timers()


@pytest.fixture(scope="session", autouse=True)
def _own_servers_only() -> Iterator[None]:
    """No test starts the embedded server in the project itself, or reaches a server of its user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKQ_EMBEDDED", "0")
        patch.delenv("TASKQ_URL", raising=False)
        yield


@pytest.fixture(scope="session")
def server() -> Iterator[TestServer]:
    """One Valkey per test process, without persistence, shared by all tests: do not kill it."""
    with TestServer() as running:
        yield running


@pytest.fixture(scope="session")
def redis7() -> Iterator[TestServer]:
    """Debian's Redis, shared as ``server`` is."""
    program = redis_program()
    if program is None:
        (pytest.fail if require_redis() else pytest.skip)("no redis-server on PATH")
    with TestServer(program) as running:
        yield running


@pytest.fixture(scope="session")
def cluster_server() -> Iterator[TestServer]:
    """A cluster of one Valkey that owns all slots, shared as ``server`` is."""
    with TestServer(cluster=True) as running:
        yield running


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("server", id="valkey", marks=pytest.mark.both_servers),
        pytest.param("redis7", id="redis7", marks=pytest.mark.both_servers),
    ],
)
def any_server(request: pytest.FixtureRequest) -> TestServer:
    """Valkey, then Redis."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def start_server() -> Iterator[Callable[..., TestServer]]:
    """Start servers with the arguments of ``TestServer``, for one test that kills or restarts them."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(TestServer(*args, **options))


@pytest.fixture
def url(server: TestServer) -> str:
    """The url of ``server``."""
    return server.url


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test has."""
    return f"t{secrets.token_hex(4)}"
