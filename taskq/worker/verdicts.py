"""How a job is judged whose child cannot answer for it: crashed, over its time limit, or revoked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from taskq.broker.finishing import follow_ups, ttl_ms
from taskq.broker.work import FullSettlement
from taskq.errors import SignatureError, TimeLimitExceeded
from taskq.model.following import after_failure
from taskq.model.job import FLAG_IGNORE_RESULT, Body, Header, State, decode_body, decode_state, split_data
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record, Verdict, add_error, encode_record
from taskq.model.retry import RetryPolicy
from taskq.model.signing import is_signed

if TYPE_CHECKING:
    from taskq.model.signing import Signer
    from taskq.worker.leases import Lease
    from taskq.worker.protocol import Ended, TaskInfo


def read_lease(lease: Lease, signer: Signer | None) -> tuple[Header, Body, State]:
    """Read what a lease carries; damaged or forged parts, and an envelope of a newer version, count as empty."""
    try:
        state = decode_state(lease.state)
    except ValueError:
        state = State()
    try:
        header, encoded = split_data(lease.data)
        if signer is not None:
            signer.check(lease.queue.name, lease.unique, lease.data)
        return header, decode_body(encoded), state
    except (ValueError, msgspec.MsgspecError, SignatureError):
        return Header(0, 1, "", "", None, None), Body("", b""), state


def settlement_of(lease: Lease, ended: Ended) -> FullSettlement:
    """Return what the step call says of a job that its child has judged."""
    ms = ended.delay_ms if ended.verdict == Verdict.RETRY else ended.ttl_ms
    return FullSettlement(
        lease.unique, lease.delivery, ended.verdict, ended.record, ms, ended.errors, ended.reply,
        follow_ups(ended.follow_ups) if ended.follow_ups else (),
    )  # fmt: skip


def crashed(lease: Lease, reason: str, signer: Signer | None = None) -> FullSettlement:
    """Judge a job whose child died while running it; the script counts and ends it after too many."""
    _, body, state = read_lease(lease, signer)
    error = ErrorInfo("JobCrashed", f"task {body.task}: {reason}")
    return FullSettlement(lease.unique, lease.delivery, Verdict.CRASHED, b"", 0, add_error(state.errors, error), "")


def over_limit(
    lease: Lease, seconds: float, tasks: Mapping[str, TaskInfo], worker: str, now_us: int, signer: Signer | None = None
) -> FullSettlement:
    """Judge a job that was killed at its time limit, by the retry policy that its task reported at boot."""
    header, body, state = read_lease(lease, signer)
    info = tasks.get(body.task)
    error = ErrorInfo(TimeLimitExceeded.__name__, f"ran longer than {seconds:g} s")
    errors = add_error(state.errors, error)
    if info is not None and info.retries_time_limit and state.attempts < info.max_retries:
        policy = RetryPolicy(info.max_retries, (), info.backoff, info.jitter)
        delay_ms = round(policy.delay(state.attempts) * 1000)
        return FullSettlement(lease.unique, lease.delivery, Verdict.RETRY, b"", delay_ms, errors, "")
    ttl = info.result_ttl_ms if info is not None and "result_ttl" not in body.meta else ttl_ms(body)
    record = _record(lease, header, body, state, Ending.FAILED, error, worker, now_us, signer)
    resigner = signer if is_signed(lease.data) else None
    job_id = f"{lease.queue.choice.name}/{lease.unique}"
    return FullSettlement(
        lease.unique, lease.delivery, Verdict.DEAD, record, ttl, errors, header.reply,
        follow_ups(after_failure(body.meta, job_id, body.task, Ending.FAILED, error, resigner, state.lives)),
    )  # fmt: skip


def revoked(lease: Lease, worker: str, now_us: int, signer: Signer | None = None) -> FullSettlement:
    """Judge a job that was revoked before it ended."""
    header, body, state = read_lease(lease, signer)
    error = ErrorInfo("CancelledError", "revoked")
    record = b""
    if FLAG_IGNORE_RESULT not in header.flags:
        record = _record(lease, header, body, state, Ending.CANCELLED, error, worker, now_us, signer)
    return FullSettlement(lease.unique, lease.delivery, Verdict.CANCELLED, record, ttl_ms(body), b"", header.reply)


def _record(
    lease: Lease, header: Header, body: Body, state: State, ending: Ending, error: ErrorInfo, worker: str, now_us: int,
    signer: Signer | None,
) -> bytes:  # fmt: skip
    root = body.meta.get("root")
    record = encode_record(
        Record(
            RECORD_VERSION, ending, error=error, task=body.task, worker=worker, attempt=state.attempts + 1,
            enqueued_us=header.enqueued_ms * 1000, claimed_us=lease.claimed_us, finished_us=now_us,
            root=root if isinstance(root, str) else "",
        )
    )  # fmt: skip
    return record if signer is None else signer.sign_result(lease.queue.name, lease.unique, record)
