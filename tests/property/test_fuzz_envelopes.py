"""Whatever stands where a job should: each is run, or ends with one line of why; what reads it stays in order."""

# ruff: noqa: PT017 (what must hold for an error holds for each that comes, and damaged bytes may well be data)

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from machines import TIMED
from mutations import DEEP, ENDLESS, HOSTILE, REASONS, fuzzed, is_one_line, mutated, peak_of

from taskq import TaskQ
from taskq.broker.finishing import finish_of, follow_ups, read_message
from taskq.broker.keys import QueueKeys
from taskq.broker.lifecycle import parse_events
from taskq.broker.results import parse_announcement, parse_signal
from taskq.broker.work import EndedJob, FullSettlement
from taskq.broker.workers import read_order
from taskq.client.context import current_job
from taskq.client.records import open_record, read_record
from taskq.errors import ProtocolError, SignatureError
from taskq.model.following import with_first
from taskq.model.job import decode_body, decode_state, encode_body, encode_header, newer_version, peek, split_data
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record, add_error, decode_errors, encode_record
from taskq.model.serializer import Serializers
from taskq.model.signature import plain_signature
from taskq.model.signing import Signer
from taskq.worker import verdicts
from taskq.worker.attempt import Batch, Stage
from taskq.worker.execution import Execution
from taskq.worker.leases import Lease, ServedQueue
from taskq.worker.options import QueueChoice
from taskq.worker.protocol import DEFERRED, Done, Ended, Frame, FrameReader, JobFrame, encode_frame

pytestmark = TIMED
STAMP = b"1700000000000;"
NOW = 1_800_000_000_000_000  # us
MIB = 1 << 20
BATCH = Batch(5_000_000, 7, 1.0)
SIGNER = Signer("ns", ["k" * 32])
CODEC = Serializers().codec("")
WHOLE = 16  # digits of a number that scripts take
TASKS = ("add", "fail", "bound", "nothing")


def stored(
    task: str = "add", *args: Any, reply: str = "", flags: str = "", expires: int | None = None, **meta: Any
) -> bytes:
    payload = plain_signature("any").encode_arguments(CODEC, args, {})
    return STAMP + encode_header(reply, flags, expires, 1.5).encode() + encode_body(task, payload, "", meta)


def signed(data: bytes, unique: str = "u") -> bytes:
    stamp, _, rest = data.partition(b";")
    return stamp + b";" + SIGNER.sign_again("q", unique, rest)


LINK = ("q", "l0", 5, stored("add", 1).partition(b";")[2])
META: dict[str, Any] = {
    "root": "q/root", "parent": "q/parent", "headers": {"x": [1, {"y": None}]}, "time_limit": 2.5, "result_ttl": 60,
    "link": [LINK], "link_error": [LINK, LINK], "takes": {"link": [0], "link_error": [1]},
}  # fmt: skip
PLAIN = [stored(task, 1, 2) for task in TASKS] + [
    stored("add", 1, reply="channel", flags="ix", expires=9, **META),
    stored("fail", "why", reply="channel", **META),
    stored("add", "no number", {"a": (1, 2)}, **META),
    STAMP + b"2;new;fields;;;\nbody", STAMP + b"1;;;;nan\n" + encode_body("add", b"[1]", "json"),
    STAMP + b"1;;;;\n" + encode_body("add", b"\x80", "pickle"),
]  # fmt: skip
JOBS = PLAIN + [signed(data) for data in PLAIN]
ERRORS = add_error(add_error(b"", ErrorInfo("ValueError", "why", "trace")), ErrorInfo("KeyError", "'k'"))
STATES = [b"", b"1;0;0;0;0", b"3;1;1;1;1\n" + ERRORS, b"1;0;0;0;0\n"]
RECORDS = [
    encode_record(Record(RECORD_VERSION, ending, b"\x93\x01\xa1a\xc0", "", error, "add", "w", 1, 2, 3, 4, 5, 6, 7, "r"))
    for ending in Ending
    for error in (None, *map(ErrorInfo, ("ValueError", "KeyError", "os.system"), ("why", "'k'", "x")))
]  # fmt: skip
RECORDS += [SIGNER.sign_result("q", "u", record) for record in RECORDS]
jobs, states = mutated(JOBS), mutated(STATES)


@pytest.fixture(scope="module")
def app():
    app = TaskQ("fuzz", url="redis://127.0.0.1:1/0", max_result=1 << 16)

    @app.task(name="add")
    def add(a: int, b: int = 0) -> int:
        return a + b

    @app.task(name="fail", max_retries=2)
    def fail(*args: object) -> None:
        raise ValueError(*args)

    @app.task(name="bound", bind=True, ignore_result=True)
    def bound(context: object, *args: object, **kwargs: object) -> object:
        return repr(context)

    return app


def work(execution: Execution, frame: JobFrame) -> Ended:
    """Do what a pool does with a job; what it answers must get through the socket."""
    token = current_job.set(None)
    try:
        attempt = execution.prepare(frame, BATCH)
        ended = attempt.refusal
        if ended is None:
            try:
                execution.run(attempt)
            except Exception as error:
                attempt.error = error
            ended = execution.settle(attempt, 0, 2.0, 2.5)
            assert attempt.info is None or attempt.stage is Stage.RUN or is_one_line(attempt.info.message)
        elif attempt.info is not None:
            assert is_one_line(attempt.info.message), attempt.info
    finally:
        current_job.reset(token)
    sent = encode_frame(Frame.DONE, Done([], [ended], 1) if ended is not None else Done([frame.handle], [], 1))
    ((_, done),) = FrameReader().feed(sent)
    return done.ended[0] if done.ended else Ended(frame.handle, "o")


def lease_of(data: bytes, state: bytes) -> Lease:
    queue = ServedQueue(QueueChoice("q"), QueueKeys("ns", "q"), "w")
    return Lease(queue, "u", "1", state, data, "w", NOW)


def assert_fits(settlement: FullSettlement) -> None:
    """The settling script takes it: else a whole batch would be refused again and again."""
    assert settlement.verdict in "oxfrc"
    assert str(settlement.ms).isdigit()
    assert len(str(settlement.ms)) <= WHOLE
    for name, message in settlement.follow_ups:
        read_message(name, message)


# --- reading ----------------------------------------------------------------------------------------------------------


@fuzzed(250)
@given(jobs)
def test_an_envelope_is_read_or_refused(data):
    accepted, task = peek(data)
    assert accepted is None or 0 <= accepted < 10**WHOLE
    assert isinstance(task, str)
    newer_version(data)
    try:
        header, body = split_data(data)
        assert max(abs(header.enqueued_ms), abs(header.expires_ms or 0)) < 10**WHOLE
        decode_body(body)
    except (ValueError, msgspec.DecodeError) as error:
        assert is_one_line(error)


@fuzzed(150)
@given(states)
def test_a_history_is_read_or_refused(data):
    try:
        state = decode_state(data)
    except ValueError as error:
        assert is_one_line(error, 6000)  # of a number with too many digits Python shows all
        return
    assert max(state.delivery, state.attempts, state.crashes, state.losses, state.defers) < 2**62
    assert all(isinstance(error, ErrorInfo) for error in decode_errors(state.errors))
    add_error(state.errors, ErrorInfo("ValueError", "next"))


@fuzzed(200)
@given(mutated(RECORDS), st.sampled_from([None, SIGNER]))
def test_a_result_is_a_value_or_an_error_of_its_job(app, data, signer):
    record = read_record(data, "q/u", signer)
    value, error = open_record(app, record, "q/u", None)
    if error is None:
        assert record.ending == Ending.SUCCEEDED
    else:
        assert value is None
        assert isinstance(error, Exception)
        assert type(error).__module__ in {"builtins", "taskq.errors"}
        str(error)


@fuzzed(150)
@given(
    mutated([data.partition(b";")[2] for data in PLAIN]),
    mutated([b"\x01", b'{"a":1}', b"\xc4\x02ab"]),
    st.sampled_from(["", "json", "pickle"]),
)
def test_a_follow_up_takes_a_value_or_is_refused(data, value, codec):
    try:
        given_ = with_first(data, value, codec)
    except ValueError as error:
        assert is_one_line(error)
    else:
        decode_body(given_.partition(b"\n")[2])


MESSAGES = [b"q\nu 3\nabcv 0\n", b"~12\nnews", b"J q 1700000000000000 0 w\nstarted 1 1 0 1 20 0\nu" + PLAIN[0][:20],
            b'W\n{"kind":"worker_started","at":1.5,"worker":"w"}', b'{"command":"quiet","token":"t"}',
            b"5\n1;;;;\nbody"]  # fmt: skip


@fuzzed(200)
@given(mutated(MESSAGES), mutated([b"q/u", b"queue/unique"]))
def test_a_message_is_read_or_refused_in_one_line(data, name):
    for read in (parse_announcement, parse_signal, parse_events):
        try:
            read(data)
        except ProtocolError as error:
            assert is_one_line(error), read
    read_order(data)
    try:
        read_message(name.decode("utf-8", "replace"), data)
    except ValueError as error:
        assert is_one_line(error, 6000)


# --- a worker ---------------------------------------------------------------------------------------------------------


@fuzzed(300)
@given(jobs, states)
@example(stored("add", 1, 2, result_ttl=1e300), b"")
@example(b"9" * 40 + stored("add", 1, 2)[13:], b"")
@example(stored("fail", "why"), b"1;1;0;0;0\n\x91\x94\xa1a\xa1b\xa1c" + DEEP[0])
def test_a_child_answers_for_every_job_and_its_answer_can_be_settled(app, data, state):
    ended = work(Execution(app, "w", 1, ("q",)), JobFrame(9, "q", "u", 1, state, data))
    assert ended.handle == 9
    if ended.verdict == DEFERRED:
        assert 0 < ended.delay_ms <= 60_000
    else:
        assert_fits(verdicts.settlement_of(lease_of(data, state), ended))


@fuzzed(200)
@given(jobs, states)
def test_a_child_runs_nothing_that_is_not_as_it_was_signed(app, data, state):
    execution = Execution(app, "w", 1, ("q",))
    execution._signer, execution._judge._signer = SIGNER, SIGNER
    attempt = execution.prepare(JobFrame(9, "q", "u", 1, state, data), BATCH)
    if attempt.refusal is None:
        assert any(data.partition(b";")[2] == one.partition(b";")[2] for one in JOBS[len(PLAIN) :])


@fuzzed(200)
@given(jobs, states, st.sampled_from([None, SIGNER]))
def test_a_supervisor_judges_for_a_child_that_died_whatever_its_job_was(data, state, signer):
    lease = lease_of(data, state)
    assert_fits(verdicts.crashed(lease, "the child died", signer))
    assert_fits(verdicts.over_limit(lease, 5.0, {}, "w", NOW, signer))
    assert_fits(verdicts.revoked(lease, "w", NOW, signer))


@fuzzed(250)
@given(
    jobs,
    states,
    mutated(REASONS).map(lambda reason: reason.decode("utf-8", "replace")),
    st.sampled_from([None, SIGNER]),
)
def test_a_job_that_ended_inside_a_script_gets_its_record(data, state, reason, signer):
    finish = finish_of(EndedJob("u", reason, state, data), NOW, "q", signer)
    assert str(finish.ttl_ms).isdigit()
    assert 0 <= finish.ttl_ms < 10**12
    assert finish.dead or finish.record or b"i" in data
    if finish.record:
        read_record(finish.record, "q/u", signer)
    for name, message in finish.follow_ups:
        read_message(name, message)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda piece: repr(piece[:8]))
def test_every_hostile_piece_in_every_part_of_a_job_is_answered(app, hostile):
    execution, full = Execution(app, "w", 1, ("q",)), PLAIN[4]
    for at in range(0, len(full), 7):
        work(execution, JobFrame(9, "q", "u", 1, b"", full[:at] + hostile + full[at:]))
    for key in META:
        body = encode_body("fail", b"\x91\x01", "", {**META, key: None})
        place = body.index(b"\xc0", body.index(key.encode()))
        data = STAMP + b"1;;;;\n" + body[:place] + hostile + body[place + 1 :]
        ended = work(execution, JobFrame(9, "q", "u", 1, b"", data))
        if ended.verdict != DEFERRED:
            assert_fits(verdicts.settlement_of(lease_of(data, b""), ended))


def odd_values() -> st.SearchStrategy[Any]:
    single = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | st.text(max_size=5)
        | st.binary(max_size=5)
    )
    keys = st.text(max_size=5)
    return st.recursive(
        single,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=6,
    )


@fuzzed(250)
@given(st.sampled_from(sorted(META)), odd_values(), st.sampled_from(["add", "fail", "bound"]))
def test_a_job_with_odd_options_is_answered_and_can_be_settled(app, key, value, task):
    meta = copy.deepcopy(META) | {key: value}
    data = STAMP + b"1;;;;\n" + encode_body(task, b"\x91\x01", "", meta)
    ended = work(Execution(app, "w", 1, ("q",)), JobFrame(9, "q", "u", 1, b"", data))
    assert ended.verdict != DEFERRED
    assert_fits(verdicts.settlement_of(lease_of(data, b""), ended))
    assert_fits(verdicts.over_limit(lease_of(data, b""), 5.0, {}, "w", NOW))
    assert 0 <= finish_of(EndedJob("u", "crashed", b"", data), NOW, "q").ttl_ms < 10**12


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hostile", [*ENDLESS, *DEEP], ids=lambda piece: repr(piece[:6]))
def test_a_length_that_lies_takes_no_memory(app, hostile):
    head = STAMP + b"1;;;;\n"
    packed = {
        "payload": encode_body("add", hostile),
        "meta": b"\x94\xa3add\xc4\x00\xa0\x81\xa1x" + hostile,
        "body": hostile,
    }
    for body in packed.values():
        frame = JobFrame(9, "q", "u", 1, b"1;1;0;0;0\n" + hostile, head + body)
        assert peak_of(lambda frame=frame: work(Execution(app, "w", 1), frame)) < MIB
        lease = lease_of(head + body, b"1;1;0;0;0\n" + hostile)
        assert peak_of(lambda lease=lease: verdicts.over_limit(lease, 5.0, {}, "w", NOW)) < MIB
        assert peak_of(lambda body=body: finish_of(EndedJob("u", "crashed", hostile, head + body), NOW, "q")) < MIB
    for record in (hostile, b"\x93\x01\xa9succeeded" + hostile, RECORDS[0].replace(b"\x93\x01\xa1a\xc0", hostile)):
        assert peak_of(lambda record=record: open_record(app, read_record(record, "q/u"), "q/u", None)) < MIB


@fuzzed(80)
@given(st.lists(st.tuples(odd_values(), odd_values(), odd_values(), odd_values()), max_size=4))
def test_follow_ups_of_odd_values_are_left_out_or_can_be_sent(links):
    for name, message in follow_ups(links):
        read_message(name, message)


@fuzzed(80)
@given(mutated(JOBS[len(PLAIN) :], most=2))
def test_a_signature_holds_for_what_was_signed_only(data):
    try:
        holds = SIGNER.check("q", "u", data)
    except SignatureError as error:
        assert is_one_line(error)
        return
    assert holds
    assert any(data.partition(b";")[2] == one.partition(b";")[2] for one in JOBS)
