"""What a failed exchange with the server means, in one table."""

from __future__ import annotations

from redis import exceptions as redis_errors

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
BROKEN = (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError)


def is_passing(error: BaseException) -> bool:
    """Tell whether repeating the call may help although the server answered."""
    return isinstance(error, PASSING) or (
        isinstance(error, redis_errors.ResponseError) and str(error).startswith(PASSING_WORDS)
    )


def is_broken(error: BaseException) -> bool:
    """Tell whether the connection is gone, so that the call may or may not have run."""
    return isinstance(error, BROKEN) and not isinstance(error, redis_errors.AuthenticationError | BrokerError)


def is_missing_script(error: BaseException) -> bool:
    """Tell whether the server does not know the script's hash; nothing has run."""
    return isinstance(error, redis_errors.NoScriptError)


def translate(error: BaseException, address: object) -> TaskqError:
    """Return what a definite refusal means to a user of taskq; no message carries a secret."""
    text = " ".join(str(error).split())
    if isinstance(error, redis_errors.OutOfMemoryError) or text.startswith("OOM"):
        return BrokerFull(f"server {address} is out of memory (maxmemory); nothing was written")
    if isinstance(error, redis_errors.NoPermissionError) or "permissions" in text or text.startswith("NOPERM"):
        return AuthenticationFailed(f"server {address} denies a right: {text}")
    if isinstance(error, redis_errors.AuthenticationError) or text.startswith(_NO_ENTRY):
        return AuthenticationFailed(f"server {address} refused the user or the password")
    if text.startswith("TASKQ_SCHEMA"):
        return SchemaTooNew(f"the queue was written with schema {shorten(text[13:])}; upgrade taskq to use it")
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
        return BrokerUnavailable(f"server {address} cannot be reached: {reason(error)}")
    return BrokerError(f"server {address} answered: {text[:300]}")


def _way_out(text: str) -> str:
    return "; give its master's url" if "read only replica" in text else ""


def reason(error: BaseException) -> str:
    """Return why a connection failed, in a few words."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    known = (cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror)
    text = next(known, " ".join(str(error).split())[:160]) or type(error).__name__
    if any("ssl" in str(cause).lower() for cause in chain) and "CERTIFICATE" not in text:
        return f"{text[:120]} (TLS mismatch? redis:// is plaintext, rediss:// is TLS)"
    return text
