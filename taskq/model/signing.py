"""Signatures of jobs and results: who has no key cannot make a job that runs, or a result that is believed.

A signature is HMAC-SHA256 over a list of texts, each with its length before it, so that no two lists look alike::

    job:    "taskq job 1", namespace, queue, unique id, header line, body
    result: "taskq result 1", namespace, queue, unique id, record

The header line is as its producer made it: without the first field, which the server writes, and without the signature,
which is its last field. Attempts, delays and places in a queue are kept elsewhere and not signed. The id of the key
travels along, so that a ring of keys may be changed one process at a time.
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64
from collections.abc import Sequence
from typing import Final, Self

from taskq.errors import SignatureError, UnknownSigningKey, shorten

MARK: Final = b"s1:"  # before a signature: the way in which it was made; neither a number nor the start of a record
ID_CHARACTERS: Final = 8  # of a key's id: 32 bits tell the few keys of a ring apart
_JOB: Final = b"taskq job 1"
_RESULT: Final = b"taskq result 1"


class _Key:
    """A secret, and the id that says which one it was; never shown."""

    __slots__ = ("id", "secret")

    def __init__(self, text: str) -> None:
        self.secret = text.encode()
        # Derived, so that nobody has to number keys; it tells no more of the secret than each signature does.
        self.id = hmac.digest(self.secret, b"taskq key id", "sha256").hex()[:ID_CHARACTERS].encode()

    def __repr__(self) -> str:
        return f"<key {self.id.decode()}>"

    def field(self, message: bytes) -> bytes:
        """Return the signature of a message, with the key's id."""
        mac = b2a_base64(hmac.digest(self.secret, message, "sha256"), newline=False)
        return b"%b%b:%b" % (MARK, self.id, mac)


class Signer:
    """Signs with the first key of a ring, and knows what any of them signed. Safe to share between threads.

    Args:
        namespace: a job of another one is not signed.
        keys: the secrets, the first one signs.
        required: what has no signature at all is refused too.

    Attributes:
        required: as given.
        ids: of the keys, in their order; they may be shown.
    """

    def __init__(self, namespace: str, keys: Sequence[str], *, required: bool = True) -> None:
        ring = [_Key(text) for text in keys]
        self.required = required
        self.ids = tuple(key.id.decode() for key in ring)
        self._first = ring[0]
        self._ring = {key.id: key for key in ring}
        self._job = _counted(_JOB, namespace.encode())
        self._result = _counted(_RESULT, namespace.encode())

    @classmethod
    def of(cls, namespace: str, keys: Sequence[str], *, required: bool) -> Self | None:
        """Return a signer, None where there is no key."""
        return cls(namespace, keys, required=required) if keys else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with keys {', '.join(self.ids)}>"

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def seal(self, queue: str, unique: str, line: bytes, body: bytes) -> bytes:
        """Return the signature of a job, as its header's last field.

        Args:
            queue: where it will be, exactly.
            unique: its id there.
            line: the header without the server's field, without a signature and without the line feed.
            body: the encoded body.
        """
        return self._first.field(_message(self._job, queue, unique, line, body))

    def sign(self, queue: str, unique: str, head: bytes, body: bytes) -> bytes:
        """Return the signed job, header and body, of a ``head`` that ends with its line feed; see ``seal``."""
        line = head[:-1]
        return b"%b;%b\n%b" % (line, self.seal(queue, unique, line, body), body)

    def sign_again(self, queue: str, unique: str, data: bytes) -> bytes:
        """Return a job that is not signed, without the server's field, as a signed one."""
        line, _, body = data.partition(b"\n")
        return b"%b;%b\n%b" % (line, self.seal(queue, unique, line, body), body)

    def check(self, queue: str, unique: str, data: bytes) -> bool:
        """Check a job as it is stored, before anything of its body is read.

        Returns:
            Whether it is signed; False only where that is not required.

        Raises:
            UnknownSigningKey: by a key that is not in this ring; another process may have it.
            SignatureError: it is not signed, or not as it is, where it is.
        """
        line, _, body = data.partition(b"\n")
        said, _, field = line.partition(b";")[2].rpartition(b";")
        return self._check("job", field, self._job, (queue, unique, said, body))

    # -- results ------------------------------------------------------------------------------------------------------

    def sign_result(self, queue: str, unique: str, record: bytes) -> bytes:
        """Return a job's encoded result record with its signature before it."""
        return b"%b\n%b" % (self._first.field(_message(self._result, queue, unique, record)), record)

    def open_result(self, job_id: str, data: bytes) -> bytes:
        """Return the encoded record of a job ``queue/unique``, checked before anything of it is read.

        Raises:
            SignatureError: it is not signed and must be, not by a key of this ring, or not as it is.
        """
        record = bare(data)
        field = data[: len(data) - len(record) - 1] if record is not data else b""
        queue, _, unique = job_id.rpartition("/")
        self._check("the result of job", field, self._result, (queue, unique, record))
        return record

    def _check(self, kind: str, field: bytes, prefix: bytes, parts: tuple[str, str, *tuple[bytes, ...]]) -> bool:
        key = self._ring.get(field[len(MARK) : len(MARK) + ID_CHARACTERS])
        if key is not None and hmac.compare_digest(key.field(_message(prefix, *parts)), field):
            return True
        what = f"{kind} {parts[0]}/{parts[1]}"
        if not field.startswith(MARK):
            if self.required:
                raise SignatureError(f"{what} is not signed, and require_signed is on: whoever made it needs a key")
            return False
        if key is None:
            claimed = shorten(field[len(MARK) :].partition(b":")[0].decode("ascii", "replace"))
            raise UnknownSigningKey(
                f"{what} is signed with key {claimed}, which is not among {', '.join(self.ids)}: add it to signing_key"
            )
        raise SignatureError(f"{what} is not as key {key.id.decode()} signed it: it was changed or put elsewhere")


def is_signed(data: bytes) -> bool:
    """Tell whether a stored job has a signature, good or not."""
    return data.partition(b"\n")[0].rpartition(b";")[2].startswith(MARK)


def without_signature(line: bytes) -> bytes:
    """Return a header line, without its line feed, as it was before it was signed."""
    said, _, field = line.rpartition(b";")
    return said if field.startswith(MARK) else line


def bare(data: bytes) -> bytes:
    """Return an encoded result record without its signature, unchecked; ``data`` itself where it has none."""
    return data.partition(b"\n")[2] if data.startswith(MARK) else data


def _counted(*parts: bytes) -> bytes:
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])


def _message(prefix: bytes, queue: str, unique: str, *rest: bytes) -> bytes:
    name, number = queue.encode(), unique.encode()
    head = b"%b%d:%b%d:%b" % (prefix, len(name), name, len(number), number)
    for part in rest:
        head += b"%d:%b" % (len(part), part)
    return head
