"""Settings of an app: argument, else ``TASKQ_*``, else ``[tool.taskq]`` of the nearest pyproject.toml, else default."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from taskq.errors import ConfigError, InvalidOption, InvalidTimeout, shorten

MAX_SECONDS: Final = 366 * 86_400.0  # a year: what is meant to last longer belongs into a database
MIN_BYTES: Final = 1024  # below that not even the names of a job fit
MAX_BYTES: Final = 32 * 1024 * 1024  # a job travels with others in one frame of at most 64 MiB
BEATS_PER_LEASE: Final = 5  # an outage of three beats is noticed before anybody's lease seems to be over
MAX_URL_FILE: Final = 65_536  # bytes; beyond any url: it is another file
PREFIX: Final = "TASKQ_"
URL_FILE: Final = "TASKQ_URL_FILE"  # a file whose content is the url, as secrets come to containers
KEY_FILE: Final = "TASKQ_SIGNING_KEY_FILE"
MIN_KEY: Final = 32  # characters: 128 bits even where all of them are hexadecimal digits
MAX_KEY: Final = 1024  # characters; beyond it is no key but a file of something else
MAX_KEYS: Final = 16  # old ones beside the one that signs
WORKER_OPTIONS: Final = (
    "pool", "concurrency", "processes", "queues", "name", "grace", "max_jobs_per_child", "max_memory_per_child",
    "log_level", "log_format", "job_logs", "allow_import", "drain", "reload", "health_socket", "pidfile",
    "metrics_port", "metrics_host",
)  # fmt: skip
# Read by other parts of taskq.
OTHER_VARIABLES: Final = frozenset(PREFIX + name.upper() for name in WORKER_OPTIONS) | frozenset(
    {
        "TASKQ_APP",
        "TASKQ_DEBUG",
        "TASKQ_EMBEDDED",
        "TASKQ_EMBEDDED_FSYNC",
        "TASKQ_EMBEDDED_QUIET",
        "TASKQ_EMBEDDED_SERVER",
        "TASKQ_REQUIRE_REDIS",
        "TASKQ_SOAK",
    }
)
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


class SigningKeys(tuple[str, ...]):
    """Secrets, the first of which signs; shown by their number only."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} hidden>" if self else "()"


@dataclass(frozen=True, slots=True)
class Settings:
    """What an app was told. Seconds and bytes where a unit is needed.

    Attributes:
        name: of the app, for people only.
        url: of the server; empty for the embedded one.
        namespace: first part of every key.
        serializer: of tasks that name none; empty for the default.
        allow_pickle: whether this process reads and writes pickles.
        result_ttl: seconds that a result is kept.
        max_body: bytes of an encoded job.
        max_result: bytes of an encoded result.
        exceptions: classes beside Python's own that ``AsyncResult`` raises again where a task raised exactly these.
        call_deadline: seconds for which a call is repeated while the server cannot be reached.
        heartbeat: seconds between two renewals of a worker's lease.
        lease: seconds after which a silent worker's jobs go to others.
        signing_key: secrets that sign jobs and results, the first one; all of them verify. Empty for no signatures.
        require_signed: whether what is not signed is refused; only with a key, and with one True unless told otherwise.
        sources: where each of them came from: ``argument``, ``TASKQ_...``, the file's path, or ``default``.
    """

    name: str
    url: str = field(default="", repr=False)
    namespace: str = "taskq"
    serializer: str = ""
    allow_pickle: bool = False
    result_ttl: float = 3600.0
    max_body: int = 1024 * 1024
    max_result: int = 16 * 1024 * 1024
    exceptions: tuple[type[Exception], ...] = ()
    call_deadline: float = 60.0
    heartbeat: float = 5.0
    lease: float = 25.0
    signing_key: SigningKeys = field(default_factory=SigningKeys)
    require_signed: bool = False
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class _Unusable(Exception):
    """A value cannot be this setting; the message goes on after its name and value."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Unusable("is no text")
    return value.strip()


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in _TRUE | _FALSE:
        raise _Unusable("is neither true nor false")
    return word in _TRUE


def _seconds(value: object) -> float:
    number = _number(value, float)
    if not 0 < number <= MAX_SECONDS:
        raise _Unusable(f"is no number of seconds above 0, up to {MAX_SECONDS:.0f}")
    return number


def _bytes(value: object) -> int:
    number = _number(value, int)
    if number != int(number) or not MIN_BYTES <= number <= MAX_BYTES:
        raise _Unusable(f"is no whole number of bytes from {MIN_BYTES} to {MAX_BYTES}")
    return int(number)


def _number(value: object, kind: type[int | float]) -> float:
    if isinstance(value, str):
        try:
            value = kind(value)
        except ValueError:
            raise _Unusable("is no number") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Unusable("is no number")
    return value


def _classes(value: object) -> tuple[type[Exception], ...]:
    found = tuple(value) if isinstance(value, Iterable) else (value,)
    for one in found:
        if not isinstance(one, type) or not issubclass(one, Exception):
            raise _Unusable("is no tuple of exception classes")
    return found


def _keys(value: object) -> SigningKeys:
    """Read keys, of a text by commas or blanks; says nothing of them but their number and length."""
    texts = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(one, str) for one in texts):
        raise _Unusable("is neither a text nor a list of texts")
    if not 1 <= len(texts) <= MAX_KEYS:
        raise _Unusable(f"is {len(texts)} keys, not 1 to {MAX_KEYS}")
    for number, one in enumerate(texts, 1):
        if not MIN_KEY <= len(one) <= MAX_KEY or not one.isascii() or not one.isprintable() or set(one) & {" ", ","}:
            raise _Unusable(
                f"(key {number} of {len(texts)}, {len(one)} characters) is no key: {MIN_KEY} to {MAX_KEY} letters and "
                "digits of chance, as python -c 'import secrets; print(secrets.token_urlsafe(32))' prints"
            )
    return SigningKeys(dict.fromkeys(texts))


_READERS: Final[Mapping[str, Callable[[object], Any]]] = MappingProxyType(
    {
        "url": _text,
        "namespace": _text,
        "serializer": _text,
        "allow_pickle": _flag,
        "result_ttl": _seconds,
        "max_body": _bytes,
        "max_result": _bytes,
        "exceptions": _classes,
        "call_deadline": _seconds,
        "heartbeat": _seconds,
        "lease": _seconds,
        "signing_key": _keys,
        "require_signed": _flag,
    }
)
_ELSEWHERE: Final = tuple(name for name in _READERS if name != "exceptions")  # classes cannot be written in a file
_OF_COMMANDS: Final = ("app", "allow_import", "worker")  # in the file for the command line alone
_SECRET: Final = frozenset({"url", "signing_key"})  # may hold a password
_FILES: Final = MappingProxyType({URL_FILE: "url", KEY_FILE: "signing_key"})


class _Resolver:
    """Collects values by rank and every problem on the way."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.problems: list[tuple[type[Exception], str]] = []

    def take(self, name: str, value: object, source: str, shown: str) -> None:
        """Use ``value`` unless a higher rank gave one; ``shown`` is the setting's name there."""
        if name in self.values:
            return
        try:
            self.values[name] = _READERS[name](value)
            self.sources[name] = source
        except _Unusable as reason:
            given = "its value" if name in _SECRET else shorten(value)
            timed = _READERS[name] is _seconds
            self.problems.append((InvalidTimeout if timed else InvalidOption, f"{shown}: {given} {reason}"))

    def unknown(self, name: str, known: Iterable[str], where: str) -> None:
        """Note a name that nobody reads."""
        self.problems.append((InvalidOption, f"{where} {shorten(name)} is unknown{_near(name, known)}"))

    def check(self) -> None:
        """Raise every problem at once.

        Raises:
            InvalidTimeout: if all of them are about times.
            InvalidOption: otherwise.
        """
        beat, lease = self.values.get("heartbeat", 5.0), self.values.get("lease", 25.0)
        if lease < BEATS_PER_LEASE * beat:
            self.problems.append(
                (InvalidTimeout, f"lease: {lease:g} s must be at least {BEATS_PER_LEASE} heartbeats of {beat:g} s")
            )
        if self.values.get("require_signed") and not self.values.get("signing_key"):
            self.problems.append((InvalidOption, "require_signed: True needs a signing_key to verify with"))
        if self.problems:
            kinds = {kind for kind, _ in self.problems}
            kind = kinds.pop() if len(kinds) == 1 else InvalidOption
            raise kind("; ".join(text for _, text in self.problems))


def _near(name: str, known: Iterable[str]) -> str:
    # Without the prefix that all variables share, or any of them would seem near.
    bare = {one.removeprefix(PREFIX): one for one in known}
    found = difflib.get_close_matches(name.removeprefix(PREFIX), list(bare), 1)
    return f", did you mean {bare[found[0]]!r}?" if found else f"; known: {', '.join(sorted(known))}"


def find_project(start: Path | None = None) -> Path | None:
    """Return the nearest pyproject.toml from ``start`` (None: the current directory) upward, if there is one."""
    try:
        here = (start or Path.cwd()).resolve()
    except FileNotFoundError:  # the current directory was removed
        return None
    return next((file for folder in (here, *here.parents) if (file := folder / "pyproject.toml").is_file()), None)


def read_project(file: Path | None) -> Mapping[str, Any]:
    """Return ``[tool.taskq]`` of a pyproject.toml, empty if it has none.

    Raises:
        ConfigError: if the file cannot be read.
    """
    if file is None:
        return {}
    import tomllib

    try:
        table = tomllib.loads(file.read_text("utf-8")).get("tool", {}).get("taskq", {})
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{file} cannot be read: {' '.join(str(error).split())}; correct or remove it") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: tool.taskq must be a table, is {shorten(table)}")
    return table


def resolve(
    name: object,
    given: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    project: Path | None = None,
) -> Settings:
    """Return the settings of an app.

    Args:
        name: of the app.
        given: arguments by name; a ``url`` of None and names that are left out count as not given.
        environ: None is this process's.
        project: a pyproject.toml; None finds the nearest one.

    Raises:
        InvalidTimeout: for times out of range.
        InvalidOption: for unknown names, wrong types and other values out of range; one message lists all problems.
        ConfigError: the project's file cannot be read.
    """
    found = _Resolver()
    if not isinstance(name, str) or not name.strip():
        found.problems.append((InvalidOption, f"name: {shorten(name)} is no text; give the app a name for people"))
    for key, value in given.items():
        if key not in _READERS:
            found.unknown(key, _READERS, "option")
        elif value is not None or key not in _SECRET:
            found.take(key, value, "argument", key)
    _read_environment(found, os.environ if environ is None else environ)
    file = find_project() if project is None else project
    for key, value in read_project(file).items():
        if key == "signing_key":  # unlike the url it is nothing but a secret
            reason = f"a key does not belong into a file that is shared; use TASKQ_SIGNING_KEY or {KEY_FILE}"
            found.problems.append((InvalidOption, f"{file}: tool.taskq.{key}: {reason}"))
        elif key in _ELSEWHERE:
            found.take(key, value, str(file), f"tool.taskq.{key}")
        elif key not in _OF_COMMANDS:
            found.unknown(key, (*_OF_COMMANDS, *_ELSEWHERE), f"{file}: tool.taskq key")
    found.check()
    found.values.setdefault("require_signed", bool(found.values.get("signing_key")))
    defaults = {item.name: "default" for item in fields(Settings) if item.name in _READERS}
    sources = MappingProxyType({"name": "argument"} | defaults | found.sources)
    return Settings(str(name), **found.values, sources=sources)


def _read_environment(found: _Resolver, environ: Mapping[str, str]) -> None:
    known = {PREFIX + key.upper(): key for key in _ELSEWHERE}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or variable in _FILES:
            continue
        if variable not in known:
            found.unknown(variable, (*known, *_FILES, *OTHER_VARIABLES), "environment variable")
        elif value.strip():
            found.take(known[variable], value, variable, variable)
    for variable, name in _FILES.items():
        if file := environ.get(variable, "").strip():
            _read_file(found, name, variable, file, both=bool(environ.get(PREFIX + name.upper(), "").strip()))


def _read_file(found: _Resolver, name: str, variable: str, file: str, *, both: bool) -> None:
    """Take a setting from a file; no message shows anything of what is in it."""
    if both:
        setting = PREFIX + name.upper()
        found.problems.append((InvalidOption, f"{setting} and {variable} are both set; unset one of them"))
    if name in found.values:
        return
    try:
        with Path(file).open("rb") as secret:
            text = secret.read(MAX_URL_FILE).decode("utf-8").strip()
    except UnicodeDecodeError:
        reason = "holds no text"
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {getattr(error, 'strerror', None) or 'it is no path'}"
    else:
        several = name == "url" and len(text.splitlines()) > 1
        reason = "is empty" if not text else "holds more than one line" if several else ""
    if reason:
        content = "the server's url" if name == "url" else "signing keys, one a line"
        found.problems.append((InvalidOption, f"{variable}: {shorten(file)} {reason}; it must hold {content}"))
    else:
        found.take(name, text, variable, variable)


@dataclass(frozen=True, slots=True)
class Given:
    """The value of a worker's option.

    Attributes:
        text: as it would be typed.
        shown: the option, variable or key that gave it, for messages.
        rank: 0 for the option, 1 for the variable, 2 for the file.
    """

    text: str
    shown: str
    rank: int

    def flag(self) -> bool:
        """Return what the text says; raises InvalidOption if that is neither true nor false."""
        try:
            return _flag(self.text)
        except _Unusable as reason:
            raise InvalidOption(f"{self.shown} {shorten(self.text)} {reason}") from None


def worker_values(
    typed: Mapping[str, str],
    *,
    names: Iterable[str] = WORKER_OPTIONS,
    environ: Mapping[str, str] | None = None,
    project: Path | None = None,
) -> dict[str, Given]:
    """Return what a worker's options were given: typed, else by variable, else under ``[tool.taskq.worker]``.

    Args:
        typed: texts of options by their names in ``WORKER_OPTIONS``.
        names: of the options to look for.
        environ: None is this process's.
        project: a pyproject.toml; None finds the nearest one.

    Raises:
        InvalidOption: a key of the file is unknown, or its value is of no type that an option could have.
        ConfigError: the file cannot be read.
    """
    environ = os.environ if environ is None else environ
    found = {}
    for name in names:
        variable = PREFIX + name.upper()
        if name in typed:
            found[name] = Given(typed[name], f"--{name.replace('_', '-')}", 0)
        elif text := environ.get(variable, "").strip():
            found[name] = Given(text, variable, 1)
    missing = [name for name in names if name not in found]
    if missing:
        file = find_project() if project is None else project
        table = _worker_table(file)
        for name in missing:
            if name in table:
                shown = f"{file}: tool.taskq.worker.{name}"
                found[name] = Given(_as_typed(table[name], shown), shown, 2)
    return found


def _worker_table(file: Path | None) -> Mapping[str, Any]:
    table = read_project(file).get("worker", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: tool.taskq.worker must be a table, is {shorten(table)}")
    if unknown := [name for name in table if name not in WORKER_OPTIONS]:
        listed = "; ".join(f"{shorten(name)} is unknown{_near(name, WORKER_OPTIONS)}" for name in unknown)
        raise InvalidOption(f"{file}: tool.taskq.worker key {listed}")
    return table


def _as_typed(value: object, shown: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ",".join(value)
    raise InvalidOption(f"{shown} {shorten(value)} must be a text, a number, true, false or a list of texts")
