"""What somebody wrote into Redis that is far larger than anything taskq writes costs its own job, not the worker."""

from __future__ import annotations

import pytest
from servers import TestServer
from signing_kit import intruder_at
from worker_kit import Bench, wait_until

from taskq.model.job import encode_body, encode_header
from taskq.worker.protocol import MAX_FRAME

HEAD = b"1700000000000;" + encode_header().encode()
DEADLINE = 20.0  # seconds


@pytest.fixture
def intruder(server: TestServer, namespace: str):
    with intruder_at(server, namespace) as intruder:
        yield intruder


@pytest.mark.corrupts
def test_a_job_that_no_frame_can_carry_is_put_aside_and_the_worker_goes_on(rig: Bench, intruder):
    worker = rig.start("thread")
    intruder.put(
        "huge", HEAD + encode_body("apps.acceptance.mark", b"\x91\xc6" + MAX_FRAME.to_bytes(4) + bytes(MAX_FRAME))
    )
    assert rig.app.add.delay(1, 2).get(DEADLINE) == 3
    wait_until(lambda: intruder.client.zscore(intruder.keys().key("quarantine"), "huge"), "it is put aside")
    assert worker.process.poll() is None, worker.lines()


@pytest.mark.corrupts
def test_a_state_that_no_frame_can_carry_is_put_aside_and_the_worker_goes_on(rig: Bench, intruder):
    rig.app.app.Queue("default").qsize()
    intruder.put("huge", HEAD + encode_body("apps.acceptance.mark", b"\x91\x01"))
    intruder.client.hset(intruder.keys().key("state"), "huge", b"1;0;0;0;0\n" + bytes(MAX_FRAME))
    worker = rig.start("thread")
    assert rig.app.add.delay(1, 2).get(DEADLINE) == 3
    wait_until(lambda: intruder.client.zscore(intruder.keys().key("quarantine"), "huge"), "it is put aside")
    assert worker.process.poll() is None, worker.lines()
