"""What every test may use: real servers, and a namespace of its own on them."""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from client_kit import end_timers
from fsck_kit import what_is_wrong
from servers import TestServer, redis_program, require_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTS = Path(__file__).parent
# Folders of tests that leave a namespace as taskq leaves it; those of scripts and of units write by hand.
CHECKED = {"integration", "acceptance", "chaos", "conformance", "property"}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """Let what a test began in other threads come to its end before its servers do."""
    end_timers()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "corrupts: writes into Redis by hand, so that it is not checked at the end")
    config.addinivalue_line("markers", "leaves: holds something or waits at its end, so that no strict check is made")


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
def start_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., TestServer]]:
    """Start servers with the arguments of ``TestServer``, for one test that kills or restarts them.

    What those that still run have in any namespace is checked before they are stopped.
    """
    started: list[TestServer] = []
    with contextlib.ExitStack() as stack:

        def start(*args: str | None, **options: Any) -> TestServer:
            started.append(stack.enter_context(TestServer(*args, **options)))
            return started[-1]

        yield start
        _check(request, [(server, "") for server in started])


@pytest.fixture
def url(server: TestServer) -> str:
    """The url of ``server``."""
    return server.url


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace that no other test has; what the servers have of it is checked when everybody who used it is gone."""
    namespace = f"t{secrets.token_hex(4)}"
    yield namespace
    servers = {id(one): one for one in request.node.funcargs.values() if isinstance(one, TestServer)}.values()
    _check(request, [(server, namespace) for server in servers])


def _check(request: pytest.FixtureRequest, places: list[tuple[TestServer, str]]) -> None:
    """Fail if something is wrong in a namespace, or in all of a server, unless the test says that it must be."""
    test, folders = request.node, {*request.path.relative_to(TESTS).parts}
    if not CHECKED & folders or test.get_closest_marker("corrupts") is not None:
        return
    strict = test.get_closest_marker("leaves") is None
    running = [(server.url, namespace) for server, namespace in places if server.running]
    broken = [line for place in running for line in what_is_wrong(*place, strict=strict)]
    assert not broken, "left in Redis: " + "; ".join(broken)


@pytest.fixture
def recovered(record_property: Callable[[str, object], None]) -> Callable[[float], float]:
    """Write down how many seconds have passed since a monotonic time, for the table of faults, and return them."""

    def note(since: float) -> float:
        seconds = time.monotonic() - since
        record_property("recovered", round(seconds, 2))
        return seconds

    return note
