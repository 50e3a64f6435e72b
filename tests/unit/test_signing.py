"""Signatures of jobs and results: what they cover, who refuses what, and where keys come from and never go."""

from __future__ import annotations

import pickle

import pytest
from childdriver import job_data

from taskq import TaskQ
from taskq.client.records import read_record
from taskq.config import MAX_KEYS, resolve
from taskq.errors import ConfigError, InvalidOption, SignatureError, UnknownSigningKey
from taskq.model.following import after_failure, with_first
from taskq.model.job import encode_body, encode_header
from taskq.model.outcome import RECORD_VERSION, Ending, ErrorInfo, Record, Verdict, decode_record, encode_record
from taskq.model.signing import Signer, is_signed
from taskq.worker.attempt import Batch
from taskq.worker.execution import Execution
from taskq.worker.protocol import DEFERRED, Hello, JobFrame

NEW, OLD = "new-" * 8, "old-" * 8
HEAD = encode_header("reply", expires_ms=5000, priority=2.5).encode()
BODY = encode_body("add", b"\x92\x01\x02", meta={"link": []})
STAMP = b"1700000000000;"
RECORD = encode_record(Record(RECORD_VERSION, Ending.SUCCEEDED, b"\x03"))
FOLLOWING = HEAD + encode_body("next", b"\x90")


@pytest.fixture
def signer():
    return Signer("ns", (NEW, OLD))


@pytest.fixture
def stored(signer):
    return STAMP + signer.sign("q", "u", HEAD, BODY)


@pytest.fixture
def app():
    app = TaskQ("unit", url="redis://127.0.0.1:1/0", namespace="ns", signing_key=[NEW, OLD])

    @app.task(name="add")
    def add(a: int, b: int = 0) -> int:
        return a + b

    return app


@pytest.fixture
def prepare(app):
    execution = Execution(app, "w1", 42, ("q",))
    return lambda data: execution.prepare(JobFrame(9, "q", "u", 1, b"", data), Batch(5_000_000, 7, 1.0))


# -- what a signature covers ---


def test_a_signed_job_is_taken(signer, stored):
    assert signer.check("q", "u", stored)


def test_the_time_that_the_server_writes_is_not_signed(signer, stored):
    assert signer.check("q", "u", b"1800000000000;" + stored.removeprefix(STAMP))


@pytest.mark.parametrize("bit", range(8))
def test_no_bit_can_be_changed(signer, stored, bit):
    taken = []
    for at in range(len(STAMP), len(stored)):
        forged = bytearray(stored)
        forged[at] ^= 1 << bit
        try:
            signer.check("q", "u", bytes(forged))
        except SignatureError:
            continue
        taken.append(at)
    assert taken == []


@pytest.mark.parametrize(("queue", "unique"), [("q", "v"), ("r", "u"), ("qu", ""), ("", "qu"), ("u", "q")])
def test_a_job_is_signed_for_its_queue_and_id(signer, stored, queue, unique):
    with pytest.raises(SignatureError, match="was changed or put elsewhere"):
        signer.check(queue, unique, stored)


def test_a_job_is_signed_for_its_namespace(stored):
    with pytest.raises(SignatureError):
        Signer("other", (NEW,)).check("q", "u", stored)


def test_bytes_cannot_pass_from_the_header_to_the_body(signer):
    """Both would be one text if they were signed without their lengths."""
    one, other = (b"a;b\n", b"c"), (b"a\n", b";bc")
    assert signer.seal("q", "u", one[0][:-1], one[1]) != signer.seal("q", "u", other[0][:-1], other[1])


def test_the_signature_of_a_result_is_none_of_a_job(signer):
    forged = signer.sign_result("q", "u", BODY).partition(b"\n")[0]
    with pytest.raises(SignatureError):
        signer.check("q", "u", STAMP + b";" + forged + b"\n" + BODY)


def test_a_field_after_the_signature_is_refused(signer, stored):
    with pytest.raises(SignatureError, match="is not signed"):
        signer.check("q", "u", stored.replace(b"\n", b";more\n", 1))


@pytest.mark.parametrize("data", [b"", b"\n", b";", b"s1:", b"1;s1:\n", b"\xff\xfe;s1:\xff\n", b"s1:\n;" * 3])
def test_whatever_is_there_instead_is_a_signature_error(signer, data):
    with pytest.raises(SignatureError):
        signer.check("q", "u", data)


@pytest.mark.parametrize("bit", range(8))
def test_no_bit_of_a_result_can_be_changed(signer, bit):
    data, taken = signer.sign_result("q", "u", RECORD), []
    for at in range(len(data)):
        forged = bytearray(data)
        forged[at] ^= 1 << bit
        try:
            signer.open_result("q/u", bytes(forged))
        except SignatureError:
            continue
        taken.append(at)
    assert taken == []


def test_a_signed_result_is_opened(signer):
    assert signer.open_result("q/u", signer.sign_result("q", "u", RECORD)) == RECORD


def test_the_result_of_another_job_is_refused(signer):
    data = signer.sign_result("q", "u", RECORD)
    with pytest.raises(SignatureError, match="the result of job q/v"):
        signer.open_result("q/v", data)


def test_who_has_no_key_reads_signed_results(signer):
    assert decode_record(signer.sign_result("q", "u", RECORD)) == decode_record(RECORD)


def test_a_forged_record_is_read_as_a_failure(signer):
    record = read_record(RECORD, "q/u", signer)
    assert (record.ending, record.error.type) == (Ending.FAILED, "SignatureError")


# -- rings of keys ---


def test_all_keys_of_a_ring_verify(signer):
    assert signer.check("q", "u", STAMP + Signer("ns", (OLD,)).sign("q", "u", HEAD, BODY))


def test_the_first_key_of_a_ring_signs(signer):
    assert Signer("ns", (NEW,)).check("q", "u", STAMP + signer.sign("q", "u", HEAD, BODY))


def test_an_unknown_key_is_named_by_its_id(signer):
    other = Signer("ns", ("other" * 8,))
    with pytest.raises(UnknownSigningKey, match=other.ids[0]):
        signer.check("q", "u", STAMP + other.sign("q", "u", HEAD, BODY))


def test_what_is_not_signed_is_refused(signer):
    with pytest.raises(SignatureError, match="job q/u is not signed"):
        signer.check("q", "u", STAMP + HEAD + BODY)


def test_what_is_not_signed_may_be_allowed():
    assert Signer("ns", (NEW,), required=False).check("q", "u", STAMP + HEAD + BODY) is False


def test_what_is_signed_wrongly_is_refused_even_where_no_signature_is_required(stored):
    with pytest.raises(SignatureError):
        Signer("ns", (NEW,), required=False).check("q", "u", stored + b"x")


# -- jobs in a child ---


def test_a_signed_job_is_prepared(app, prepare):
    data = job_data("add", 1, 2).removeprefix(STAMP)
    assert prepare(STAMP + app._signer.sign_again("q", "u", data)).refusal is None


@pytest.mark.parametrize("body", [b"\xc1", b"", encode_body("add", pickle.dumps(print), "pickle")])
def test_nothing_of_a_forged_body_is_read(prepare, body):
    refusal = prepare(STAMP + HEAD + body).refusal
    assert (refusal.verdict, decode_record(refusal.record).error.type) == (Verdict.DEAD, "SignatureError")


def test_a_forged_job_has_no_follow_ups(prepare):
    meta = {"link_error": [["q", "e", 0, FOLLOWING]]}
    assert prepare(job_data("add", "x", meta=meta)).refusal.follow_ups == []


def test_the_record_of_a_refusal_is_signed(app, prepare):
    refusal = prepare(job_data("add", 1))
    assert app._signer.open_result("q/u", refusal.refusal.record)


def test_a_job_of_an_unknown_key_waits_for_workers_that_have_it(prepare):
    other = Signer("ns", ("other" * 8,))
    assert prepare(STAMP + other.sign("q", "u", HEAD, BODY)).refusal.verdict == DEFERRED


def test_an_app_without_a_key_runs_what_is_signed(stored):
    app = TaskQ("unit", url="redis://127.0.0.1:1/0", namespace="ns")
    app.task(name="add")(plain_add)
    frame = JobFrame(9, "q", "u", 1, b"", stored)
    assert Execution(app, "w", 1).prepare(frame, Batch(0, 0, 0.0)).refusal is None


def plain_add(a: int, b: int) -> int:
    return a + b


# -- follow-ups ---


def test_a_job_that_was_given_a_value_is_not_as_it_was_signed(signer):
    given = with_first(signer.sign("q", "n", HEAD, encode_body("next", b"\x90")), b"\x01", "")
    assert not is_signed(STAMP + given)


def test_a_failure_is_passed_on_under_a_new_signature(signer):
    meta = {"link_error": [["q", "e", 0, signer.sign("q", "e", HEAD, encode_body("next", b"\x90"))]]}
    meta["takes"] = {"link_error": [0]}
    failure = ErrorInfo("ValueError", "why")
    ((queue, unique, _, data),) = after_failure(meta, "q/u", "add", "failed", failure, signer)
    assert signer.check(queue, unique, STAMP + data)


# -- settings ---


@pytest.fixture
def resolved(tmp_path):
    def make(given=None, environ=None, lines=""):
        file = tmp_path / "pyproject.toml"
        file.write_text(f"[tool.taskq]\n{lines}")
        return resolve("app", given or {}, environ=environ or {}, project=file)

    return make


@pytest.mark.parametrize("value", [f"{NEW},{OLD}", f" {NEW} {OLD}\n", [NEW, OLD], (NEW, OLD, NEW)])
def test_keys_are_a_text_or_a_list(resolved, value):
    assert tuple(resolved({"signing_key": value}).signing_key) == (NEW, OLD)


def test_keys_come_from_the_environment(resolved):
    assert tuple(resolved(environ={"TASKQ_SIGNING_KEY": NEW}).signing_key) == (NEW,)


def test_keys_come_from_a_file_one_a_line(resolved, tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"{NEW}\n{OLD}\n")
    settings = resolved(environ={"TASKQ_SIGNING_KEY_FILE": str(file)})
    assert tuple(settings.signing_key) == (NEW, OLD)
    assert settings.sources["signing_key"] == "TASKQ_SIGNING_KEY_FILE"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"TASKQ_SIGNING_KEY": NEW, "TASKQ_SIGNING_KEY_FILE": "/dev/null"}, "both set"),
        ({"TASKQ_SIGNING_KEY_FILE": "/dev/null"}, "is empty; it must hold signing keys, one a line"),
        ({"TASKQ_SIGNING_KEY_FILE": "/nowhere/keys"}, "cannot be read"),
        ({"TASKQ_SIGNING_KEYS": NEW}, "did you mean 'TASKQ_SIGNING_KEY'?"),
        ({"TASKQ_REQUIRE_SIGNED": "1"}, "require_signed: True needs a signing_key"),
    ],
)
def test_what_cannot_be_used_is_said(resolved, environ, said):
    with pytest.raises(InvalidOption) as raised:
        resolved(environ=environ)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "value",
    ["short-canary", "canary" * 200, b"canary" * 8, ["canary\x07" * 8], [f"canary, {NEW}"], ["canary" * 6] * 17],
)
def test_a_key_that_cannot_be_used_is_not_shown(resolved, value):
    with pytest.raises(InvalidOption, match="signing_key") as raised:
        resolved({"signing_key": value})
    assert "canary" not in str(raised.value)


def test_there_are_not_endlessly_many_keys(resolved):
    with pytest.raises(InvalidOption, match="17 keys, not 1 to 16"):
        resolved({"signing_key": [f"{NEW}{number}" for number in range(MAX_KEYS + 1)]})


def test_a_key_in_the_project_file_is_refused_unseen(resolved):
    with pytest.raises(ConfigError, match="TASKQ_SIGNING_KEY_FILE") as raised:
        resolved(lines=f"signing_key = '{NEW}'")
    assert NEW not in str(raised.value)


def test_a_project_file_may_require_what_only_the_environment_can_give(resolved):
    assert resolved(environ={"TASKQ_SIGNING_KEY": NEW}, lines="require_signed = true").require_signed


@pytest.mark.parametrize(
    ("given", "required"),
    [({}, False), ({"signing_key": NEW}, True), ({"signing_key": NEW, "require_signed": False}, False)],
)
def test_signatures_are_required_where_there_is_a_key_unless_told_otherwise(resolved, given, required):
    assert resolved(given).require_signed is required


def test_no_repr_shows_a_key(app):
    shown = [
        repr(app.settings), str(app.settings.signing_key), f"{app.settings.signing_key}", repr(app._signer),
        repr(vars(app._signer)), repr(Hello(1, "1", 2, signing_key=[NEW, OLD])), repr(app),
    ]  # fmt: skip
    assert [text for text in shown if NEW in text or OLD in text] == []


def test_errors_of_signatures_show_no_key(signer, stored):
    with pytest.raises(SignatureError) as raised:
        signer.check("q", "v", stored)
    assert NEW not in str(raised.value)
    assert signer.ids[0] in str(raised.value)
