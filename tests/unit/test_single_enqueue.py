"""The quick way to pack the call that is made most often gives the same bytes as the plain one."""

from __future__ import annotations

import pytest

from taskq.broker import jobs
from taskq.broker.keys import QueueKeys
from taskq.broker.single import SingleEnqueue
from taskq.model.job import Job

KEYS = QueueKeys("taskq", "default")


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("by_source", [False, True])
def test_every_job_of_every_session_is_packed_as_the_plain_call_packs_it(forced, by_source):
    single = SingleEnqueue(KEYS, forced=forced)
    for session in ("one", "two", "one"):
        for seq, job in ((1, Job("a", b"")), (12345, Job("1k7rsphdc000dgo50d8q", b"1;;;;\n\r\n\x00\xff" * 50))):
            plain = jobs.enqueue(KEYS, (job,), forced=forced)
            quick = single.of(job)
            assert quick.pack(session, seq, by_source=by_source) == plain.pack(session, seq, by_source=by_source)
            assert quick.script is plain.script


def test_the_answer_is_read_as_the_plain_call_reads_it():
    assert SingleEnqueue(KEYS, forced=False).parse([b"F"]) == jobs.Accept.FULL
