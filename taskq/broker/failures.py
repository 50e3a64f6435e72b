"""What a failed exchange with the server means, in one table."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime

from redis import exceptions as redis_errors

from taskq.broker.address import Address
from taskq.errors import (
    AuthenticationFailed,
    BrokerError,
    BrokerFull,
    BrokerReadOnly,
    BrokerUnavailable,
    InvalidPriority,
    SchemaTooNew,
    TaskqError,
    WrongServer,
    WrongType,
    clean,
    shorten,
)

# Answers that say "not now": the call is repeated with the same number until its deadline.
PASSING = (
    redis_errors.BusyLoadingError,
    redis_errors.ReadOnlyError,
    redis_errors.TryAgainError,
    redis_errors.ClusterDownError,
    redis_errors.MasterDownError,
    redis_errors.AskError,
    redis_errors.MovedError,
)
PASSING_WORDS = (
    "MISCONF",
    "BUSY",
    "NOREPLICAS",
    "UNBLOCKED",
    "LOADING",
    "READONLY",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "MASTERDOWN",
)
# The last is what a call of many arguments gets from a server that wants a password.
_NO_ENTRY = ("WRONGPASS", "NOAUTH", "Protocol error: unauthenticated")
_DENIED = ("permissions", "NOPERM", "The user executing the script can't")
_SCRIPT = re.compile(r" script: .*")  # which one, and where in it
ACL_HINT = "taskq acl prints what a user needs"
_WRONG_NAME = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL
_CERTIFICATE_WANTED = {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE"}
_CA_HINT = "; name the CA that signed it by ssl_ca_certs=/path/ca.pem in the url"
_CLIENT_HINT = "give one by ssl_certfile and ssl_keyfile in the url"
BROKEN = (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError)


def is_passing(error: BaseException) -> bool:
    """Tell whether repeating the call may help although the server answered."""
    return isinstance(error, PASSING) or (
        isinstance(error, redis_errors.ResponseError) and str(error).startswith(PASSING_WORDS)
    )


def is_broken(error: BaseException) -> bool:
    """Tell whether the connection is gone, so that the call may or may not have run."""
    if isinstance(error, redis_errors.AuthenticationError | BrokerError) or distrust(error):
        return False
    return isinstance(error, BROKEN)


def is_moved(error: BaseException) -> bool:
    """Tell whether the server is no master any more; its name may lead to another one by now, this connection not."""
    return isinstance(error, redis_errors.ReadOnlyError) or (is_passing(error) and str(error).startswith("UNBLOCKED"))


def is_crowded(error: BaseException) -> bool:
    """Tell whether the server has no room for another connection; it hangs up at once."""
    return isinstance(error, redis_errors.ConnectionError) and str(error) == "max number of clients reached"


def distrust(error: BaseException) -> str:
    """Return why a TLS handshake can never succeed with these certificates and options; empty for any other failure."""
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message
            way_out = _CA_HINT if "issuer" in why or "self" in why else ""
            if cause.verify_code in _WRONG_NAME:
                way_out = "; give the host name that it was made for"
            return f"its certificate is not trusted: {why.rstrip('.')}{way_out}"
        reason = getattr(cause, "reason", None) if isinstance(cause, ssl.SSLError) else None
        if reason in _CERTIFICATE_WANTED:
            return f"it refused our certificate ({reason}); {_CLIENT_HINT}"
    return ""


def wants_certificate(error: BaseException, address: object) -> str:
    """Return a hint where a server hung up in a handshake: with luck it says why, see ``distrust``."""
    if not isinstance(address, Address) or address.scheme != "rediss" or "ssl_certfile" in dict(address.options):
        return ""
    ended = any(isinstance(one, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError) for one in _chain(error))
    return f" (if it wants a certificate, {_CLIENT_HINT})" if ended or "closed by" in str(error) else ""


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 20:
        chain.append(cause)
    return chain


def is_missing_script(error: BaseException) -> bool:
    """Tell whether the server does not know the script's hash; nothing has run."""
    return isinstance(error, redis_errors.NoScriptError)


def translate(error: BaseException, address: object, what: str = "") -> TaskqError:
    """Return what a definite refusal of ``what`` means to a user of taskq; no message carries a secret."""
    text = " ".join(str(error).split())
    if isinstance(error, redis_errors.OutOfMemoryError) or text.startswith("OOM"):
        return BrokerFull(f"server {address} is out of memory (maxmemory); nothing was written")
    if refusal := _no_entry(error, text, address, what):
        return refusal
    if text.startswith("TASKQ_SCHEMA"):
        return SchemaTooNew(f"the queue was written with schema {shorten(text[13:])}; upgrade taskq to use it")
    if text.startswith("TASKQ_REFUSED"):
        return _refused(text, address)
    if text.startswith("TASKQ_PRIORITY"):
        return InvalidPriority(f"the priority of job {shorten(text[15:])} is not finite")
    if "WRONGTYPE" in text:
        hint = "was it written by hand? taskq doctor names those of queues"
        return WrongType(f"a key of taskq on {address} holds another type: {text}; {hint}")
    if is_passing(error):
        return BrokerReadOnly(f"server {address} takes no writes: {text}{_way_out(text)}")
    if text.startswith("DB index is out of range"):
        return WrongServer(f"server {address} has no such database; give a lower number (a cluster has 0 only)")
    if text.startswith("unknown command"):
        command = shorten(text[15:].partition(",")[0].strip(" '`"), 40)
        return WrongServer(
            f"server {address} does not know the command {command}: it is a Sentinel, or older than Redis 7.0 or "
            "Valkey 7.2; give the url of a master (taskq doctor tells more)"
        )
    if isinstance(error, redis_errors.InvalidResponse):
        return WrongServer(f"what answers at {address} is no Redis server (one behind TLS needs a rediss:// url)")
    if isinstance(error, redis_errors.ConnectionError | OSError | redis_errors.TimeoutError):
        return BrokerUnavailable(
            f"server {address} cannot be reached: {reason(error)}{wants_certificate(error, address)}"
        )
    return BrokerError(f"server {address} answered: {text[:300]}")


def _no_entry(error: BaseException, text: str, address: object, what: str) -> TaskqError | None:
    """Return the refusal of a certificate, a user or a right."""
    if why := distrust(error):
        return WrongServer(f"server {address}: {why}")
    if isinstance(error, redis_errors.NoPermissionError) or any(words in text for words in _DENIED):
        needed = f" that {shorten(what, 40)} needs" if what else ""
        return AuthenticationFailed(
            f"server {address} denies a right{needed}: {_SCRIPT.sub('', text)[:300]}; {ACL_HINT}"
        )
    if isinstance(error, redis_errors.AuthenticationError) or text.startswith(_NO_ENTRY):
        return AuthenticationFailed(f"server {address} refused the user or the password")
    return None


def _refused(text: str, address: object) -> WrongServer:
    """Return why new jobs are refused; workers write it where producers read it, so that it may be anything."""
    since, _, why = text.removeprefix("TASKQ_REFUSED ").partition(" ")
    at = datetime.fromtimestamp(int(since) / 1000, UTC)
    return WrongServer(
        f"server {address} may lose jobs, so it takes no new ones since {at:%Y-%m-%d %H:%M:%S} UTC: {clean(why[:300])}"
    )


def _way_out(text: str) -> str:
    return "; give its master's url" if "read only replica" in text else ""


def reason(error: BaseException) -> str:
    """Return why a connection failed, in a few words."""
    chain = _chain(error)
    known = (cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror)
    text = next(known, " ".join(str(error).split())[:160]) or type(error).__name__
    if any("ssl" in str(cause).lower() for cause in chain) and "CERTIFICATE" not in text:
        return f"{text[:120]} (TLS mismatch? redis:// is plaintext, rediss:// is TLS)"
    return text
