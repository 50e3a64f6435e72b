"""Whatever text is given as the server's url: an address, or one line of InvalidURL; the password is in no message."""

# ruff: noqa: PT017 (what must hold for an error holds for each that comes, and damaged bytes may well be data)

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from machines import TIMED
from mutations import fuzzed, is_one_line, peak_of

from taskq.broker.address import Address, check_files, parse_url, redact
from taskq.broker.broker import Broker
from taskq.broker.call import Command
from taskq.config import resolve
from taskq.errors import BrokerError, ConfigError, InvalidOption, InvalidURL

pytestmark = TIMED
SECRET = "pa55w0rdTHATnobodyMAYsee"  # no change below goes into it
ODD = (
    "".join(chr(code) for code in range(33, 127))
    + " \t\n\r\x00\x1b\u00e4\u2100\uff03\u202e\udcff%%%%////::::@@@@????####&&==[]"
)
odd = st.text(ODD, max_size=6)
hosts = st.sampled_from(["host", "127.0.0.1", "[::1]", "[fe80::1%25eth0]", "a.b-c.example", "h\u00f6st", "", "HOST"])
ports = st.sampled_from(["", ":6379", ":0", ":65535", ":65536", ":-1", ":port", ":", ":00006379", ":6379:6380"])
places = st.sampled_from(["", "/", "/0", "/15", "/abc", "/0/1", "//", "/-1", "/\u0661"])
queries = st.sampled_from(
    [
        "",
        "?",
        "?db=1",
        "?db=1&db=2",
        "?ssl_cert_reqs=none",
        "?ssl_ca_certs=/ca.pem",
        "?ssl_check_hostname=no",
        "?x=1",
        "?ssl_keyfile=/k",
        "?novalue",
        "?db=%ff",
        "?%64b=3",
        "?db=1;x=2",
        "?=",
        "#part",
        "?" + "x" * 300 + "=1",
    ]
)
schemes = st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "http", "REDIS", ""])
names = st.sampled_from(["", "user", "us er", "us%3Aer", "%ff"])
MARKS = [
    "@",
    ":",
    "/",
    "?",
    "#",
    "&",
    "=",
    "[",
    "]",
    "%",
    "\\",
    "\n",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "\udcff",
    " ",
    "//",
    "9",
]


@st.composite
def urls(draw) -> str:
    """A url with a password of odd characters, or a good one that was changed somewhere."""
    scheme, user, before, after = draw(schemes), draw(names), draw(odd), draw(odd)
    place = (
        draw(hosts) + draw(ports) + draw(places)
        if scheme != "unix"
        else draw(st.sampled_from(["/tmp/a.sock", "/a b@c", ""]))
    )
    url = f"{scheme}://{user}:{before}{SECRET}{after}@{place}{draw(queries)}"
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(url)))
        if url.find(SECRET) < at < url.find(SECRET) + len(SECRET):
            continue
        cut = draw(st.integers(0, 1)) if url[at : at + 1] not in {"@", ":"} else 0  # what tells a password from a host
        if not url.startswith(SECRET, at):
            url = url[:at] + draw(st.sampled_from(["", *MARKS])) + url[at + cut :]
    return url


def read(url: object) -> Address | None:
    """Return the address; None if it was refused, after a look at what is said."""
    try:
        return parse_url(url)
    except InvalidURL as error:
        assert error.__cause__ is None
        assert is_one_line(error, 400), str(error)
        assert SECRET not in str(error)
        return None


@fuzzed(800)
@given(urls())
def test_a_damaged_url_is_an_address_or_one_line_without_its_password(url):
    address = read(url)
    assert SECRET not in redact(url)
    assert is_one_line(redact(url), 120)
    if address is None:
        return
    assert is_one_line(address)
    assert is_one_line(repr(address))
    if SECRET in (address.password or "") + (address.username or ""):
        assert SECRET not in str(address)
        assert SECRET not in repr(address)
    assert 0 < address.port < 65536


@fuzzed(400)
@given(
    st.text(max_size=40)
    | st.text("redis:/@?#&=[]%.0159unx\n\x00 ", max_size=40)
    | st.binary(max_size=20)
    | st.integers()
)
def test_any_text_is_an_address_or_one_line(text):
    read(text)
    assert is_one_line(redact(text), 120)


@fuzzed(300)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_a_password_with_any_characters_arrives_where_they_are_escaped(user, password):
    url = f"redis://{quote(user, safe='')}:{quote(password, safe='')}@[::1]:7000/3"
    assert parse_url(url) == Address("redis", "::1", 7000, "", 3, user or None, password or None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that is nobody's parent: whoever runs below a pyproject.toml obeys it."""
    return tmp_path_factory.mktemp("urls")


@fuzzed(300)
@given(st.sampled_from(["url", "TASKQ_URL", "TASKQ_URL_FILE"]), urls(), odd)
def test_a_url_given_in_any_way_is_an_address_or_one_line_without_its_password(folder, way, url, path):
    project = folder / "pyproject.toml"
    project.write_text("[tool.taskq]\n")
    given_, environ = {}, {}
    if way == "url":
        given_ = {"url": url}
    elif way == "TASKQ_URL":
        environ = {way: url.replace("\x00", "")}
    else:
        file = folder / "url"
        file.write_bytes(url.encode("utf-8", "surrogateescape") + path.encode("utf-8", "surrogatepass"))
        environ = {way: str(file)}
    try:
        settings = resolve("app", given_, environ=environ, project=project)
        assert SECRET not in repr(settings)
        read(settings.url)
    except ConfigError as error:
        assert is_one_line(error)
        assert SECRET not in str(error)


@fuzzed(150)
@given(st.text(ODD, max_size=30))
def test_a_file_that_cannot_be_the_urls_is_named_in_one_line(folder, path):
    environ = {"TASKQ_URL_FILE": f"{folder}/none/{path}"}
    assume(path.strip())
    with pytest.raises(InvalidOption) as caught:
        resolve("app", {}, environ=environ, project=folder / "pyproject.toml")
    assert is_one_line(caught.value)


@fuzzed(150)
@given(odd, odd, odd)
def test_a_file_of_a_certificate_that_cannot_be_read_is_named_in_one_line(ca, cert, key):
    options = [("ssl_ca_certs", ca), ("ssl_certfile", cert), ("ssl_keyfile", key)]
    address = Address("rediss", options=tuple((name, f"/nowhere/{value}") for name, value in options if value))
    assume(address.options)
    with pytest.raises(InvalidURL) as caught:
        check_files(address)
    assert is_one_line(caught.value)


UNREACHABLE = [
    "redis://" + "a" * 64 + ".example",
    "redis://..",
    "redis://a..b",
    "redis://ho%20st",
    "redis://h\u00f6\u0308st.invalid",
    "unix:///nowhere/a%00b",
    "unix:///nowhere/\u202e",
    "redis://h\x1bst",
    "redis://[::1%25none]:1",
    "redis://\u2488",
    f"redis://:{SECRET}%00\u20ac@127.0.0.1:1",
    f"redis://:{SECRET}\udcff@127.0.0.1:1",
    f"redis://:{SECRET}%ff@127.0.0.1:1",
    "unix:///nowhere/\udcff",
    "redis://\udcff",
]


@pytest.mark.parametrize("url", UNREACHABLE, ids=ascii)
def test_an_odd_url_is_refused_or_not_reached_in_one_line(url):
    with pytest.raises((InvalidURL, BrokerError)) as caught:
        Broker(parse_url(url), "ns").read(Command(("PING",), str), deadline=0.05)
    assert is_one_line(caught.value)
    assert SECRET not in str(caught.value)
    assert "codec" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://" + "a:@/?#[%" * 100_000,
        "redis://h?" + "a=1&" * 100_000,
        "redis://:" + "%41" * 300_000 + "@h:0",
        "unix://" + "/" * 1_000_000,
        "redis://h/" + "9" * 1_000_000,
        "redis://" + "[" * 1_000_000,
    ],
)
def test_a_long_url_is_refused_shortly(url):
    with pytest.raises(InvalidURL) as caught:
        parse_url(url)
    assert is_one_line(caught.value, 400)
    assert peak_of(lambda: read(url)) < 10_000


@pytest.mark.parametrize(
    "url", [f"redis://user?{SECRET}=x@host", f"redis://:12?{SECRET}=x@host", f"redis://:1/?a=1&{SECRET}=x@host"]
)
def test_a_password_that_seems_to_be_an_option_is_not_named(url):
    with pytest.raises(InvalidURL) as caught:
        parse_url(url)
    assert SECRET not in str(caught.value)
