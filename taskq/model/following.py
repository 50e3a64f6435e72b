"""Follow-ups that are given something of the job before them: its result, or its failure as data.

Follow-ups travel inside their parent, encoded as jobs: queue, unique, delay in milliseconds, header and body of each.
Which of them take a value is said beside them, in ``takes``; the value becomes their first argument by splicing its
bytes, so that neither a task nor its classes need be known where a job ends.

The id of a follow-up derives from its parent's, so that it is accepted once however often it is sent on. A dead job
that is put back in line, or moved, may fail for good again: what follows that has another id, or would count as sent.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from taskq.model.job import decode_body, encode_body
from taskq.model.outcome import ErrorInfo
from taskq.model.signing import is_signed, without_signature

if TYPE_CHECKING:
    from taskq.model.signing import Signer

FollowUp: TypeAlias = tuple[str, str, int, bytes]

TAKES: Final = "takes"  # in a body's meta: for ``link`` and ``link_error`` the numbers of those that take a value
CODECS: Final = ("", "json")  # whose bytes may be spliced

_MAX_ID: Final = 64  # characters of a job id
_FIXED: Final = 15  # items of the shortest form of a msgpack array
_LONGEST: Final = 2**32 - 1  # items of the longest form
_ARGS: Final = b"\x82\xa4args"  # a call with arguments by name too: {"args": [...], "kwargs": {...}}
_KWARGS: Final = b"\x81\xa6kwargs"

logger = logging.getLogger("taskq")


def derived_id(unique: str, kind: str, number: int, lives: int = 0) -> str:
    """Return the id of a follow-up.

    Args:
        unique: its parent's.
        kind: ``link`` or ``link_error``.
        number: which of that kind, from 0.
        lives: how often the parent was put back in line after it had failed for good.
    """
    suffix = f".{'e' if kind == 'link_error' else 'l'}{number}" + (f".{lives + 1}" if lives else "")
    if len(unique) + len(suffix) <= _MAX_ID:
        return unique + suffix
    return hashlib.blake2b(unique.encode(), digest_size=16).hexdigest() + suffix


def taking(meta: Mapping[str, Any], kind: str) -> frozenset[int]:
    """Return the numbers of the follow-ups of a kind that take a value; empty where that is damaged."""
    takes = meta.get(TAKES)
    numbers = takes.get(kind, ()) if isinstance(takes, dict) else ()
    return (
        frozenset(number for number in numbers if isinstance(number, int)) if isinstance(numbers, list) else frozenset()
    )


def with_first(data: bytes, value: bytes, codec: str) -> bytes:
    """Return a job whose first argument is a value, before those that it has; not signed, as that would be another.

    Args:
        data: header and body.
        value: encoded.
        codec: the name of the serializer that wrote it.

    Raises:
        ValueError: the job is damaged, or written by another serializer.
    """
    head, newline, encoded = data.partition(b"\n")
    try:
        body = decode_body(encoded)
    except msgspec.MsgspecError as error:
        raise ValueError(f"its body is damaged: {error}") from None
    if body.codec != codec or codec not in CODECS:
        raise ValueError(f"its arguments are written by serializer {body.codec!r}, the value by {codec!r}")
    payload = (_first_in_json if codec else _first_in_msgpack)(body.payload, value)
    return without_signature(head) + newline + encode_body(body.task, payload, body.codec, body.meta)


def _first_in_json(payload: bytes, value: bytes) -> bytes:
    if payload == b"[]":
        return b"[" + value + b"]"
    if payload.startswith(b'{"kwargs":'):
        return b'{"args":[' + value + b"]," + payload[1:]
    for start in (b"[", b'{"args":['):
        if payload.startswith(start):
            return start + value + b"," + payload[len(start) :]
    raise ValueError("its arguments are damaged")


def _first_in_msgpack(payload: bytes, value: bytes) -> bytes:
    if payload.startswith(_KWARGS):
        return _ARGS + b"\x91" + value + payload[1:]
    if payload.startswith(_ARGS):
        return _ARGS + _longer(payload[len(_ARGS) :], value)
    return _longer(payload, value)


def _longer(items: bytes, value: bytes) -> bytes:
    """Return a msgpack array, and whatever follows it, with one more item in front."""
    kind = items[:1]
    if kind and 0x90 <= kind[0] <= 0x9F:
        count, rest = kind[0] & 0x0F, items[1:]
    elif kind == b"\xdc":
        count, rest = int.from_bytes(items[1:3]), items[3:]
    elif kind == b"\xdd":
        count, rest = int.from_bytes(items[1:5]), items[5:]
    else:
        raise ValueError("its arguments are damaged")
    count += 1
    if count > _LONGEST:
        raise ValueError("its arguments are damaged")
    head = bytes([0x90 | count]) if count <= _FIXED else b"\xdd" + count.to_bytes(4)
    return head + value + rest


def after_failure(
    meta: Mapping[str, Any],
    job_id: str,
    task: str,
    ending: str,
    error: ErrorInfo,
    signer: Signer | None = None,
    lives: int = 0,
) -> list[Any]:
    """Return what follows a failure; who takes a value gets a dict of texts.

    Args:
        meta: of the job's body.
        job_id: ``queue/unique``.
        task: its name.
        ending: how the job ended.
        error: why.
        signer: signs those that take a value or get another id; only for a job that was signed itself.
        lives: how often the job was put back in line after it had failed for good.

    Returns:
        The follow-ups, damaged ones as they are; those that cannot take the failure are logged and left out.
    """
    links = meta.get("link_error", ())
    numbers = taking(meta, "link_error")
    if not isinstance(links, Sequence):
        return []
    unique = job_id.rpartition("/")[2]
    if not numbers:
        return [_in_life(link, unique, number, lives, signer) for number, link in enumerate(links)]
    failure = {
        "id": job_id, "task": task, "ending": str(ending),
        "type": error.type, "message": error.message, "traceback": error.traceback,
    }  # fmt: skip
    values = {"": msgspec.msgpack.encode(failure), "json": msgspec.json.encode(failure)}
    found: list[Any] = []
    for number, link in enumerate(links):
        try:
            given = _given(link, values) if number in numbers else link
            named = _in_life(given, unique, number, lives, signer)
            found.append(_signed(named, signer) if number in numbers and signer is not None else named)
        except Exception as reason:  # whatever forged bytes provoke; the others follow
            logger.error(
                "link_error %d of job %s is left out: %s", number, job_id, reason, extra={"action": "link_damaged"}
            )
    return found


def _in_life(link: Any, parent: str, number: int, lives: int, signer: Signer | None) -> Any:
    """Return what follows a failure, under the id that it has in this life of its parent; a damaged one as it is.

    One that is signed for the old id keeps that where nobody can sign it anew: under another it would not run at all.
    """
    unique = derived_id(parent, "link_error", number, lives)
    match link:
        case [str(queue), str(was), delay_ms, bytes(data)] if was != unique and (lives or was.endswith(f".e{number}")):
            head, newline, body = data.partition(b"\n")
            if not is_signed(data):
                return queue, unique, delay_ms, data
            if signer is not None:
                return _signed((queue, unique, delay_ms, without_signature(head) + newline + body), signer)
    return link


def _given(link: Any, values: Mapping[str, bytes]) -> FollowUp:
    queue, unique, delay_ms, data = link
    try:
        codec = decode_body(data.partition(b"\n")[2]).codec
    except msgspec.MsgspecError as error:
        raise ValueError(f"its body is damaged: {error}") from None
    if codec not in values:
        raise ValueError(f"its arguments are written by serializer {codec!r}")
    return queue, unique, delay_ms, with_first(data, values[codec], codec)


def _signed(link: FollowUp, signer: Signer) -> FollowUp:
    queue, unique, delay_ms, data = link
    return queue, unique, delay_ms, signer.sign_again(queue, unique, data)
