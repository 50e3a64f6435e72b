"""Broker urls: a table of good and bad ones, and no secret in any text."""

from __future__ import annotations

import pytest

from taskq.broker.address import Address, parse_url, redact
from taskq.errors import InvalidURL

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", Address("redis", "localhost")),
        ("redis://127.0.0.1:7000/3", Address("redis", "127.0.0.1", 7000, db=3)),
        ("redis://[::1]:7000", Address("redis", "::1", 7000)),
        ("redis://host/", Address("redis", "host")),
        ("redis://host?db=5", Address("redis", "host", db=5)),
        ("redis://host/2?db=5", Address("redis", "host", db=5)),
        ("redis://:p@host", Address("redis", "host", password="p")),
        ("redis://user:p%40ss%2Fw@host", Address("redis", "host", username="user", password="p@ss/w")),
        ("redis://us%3Aer@host", Address("redis", "host", username="us:er")),
        ("rediss://host:6380", Address("rediss", "host", 6380)),
        ("rediss://h?ssl_ca_certs=/ca.pem", Address("rediss", "h", options=(("ssl_ca_certs", "/ca.pem"),))),
        ("rediss://h?ssl_check_hostname=no", Address("rediss", "h", options=(("ssl_check_hostname", False),))),
        ("rediss://h?ssl_cert_reqs=none", Address("rediss", "h", options=(("ssl_cert_reqs", "none"),))),
        ("unix:///tmp/a.sock", Address("unix", path="/tmp/a.sock")),
        ("unix:///tmp/a.sock?db=4", Address("unix", path="/tmp/a.sock", db=4)),
        ("unix://user:p@/tmp/a.sock", Address("unix", path="/tmp/a.sock", username="user", password="p")),
        ("unix:///tmp/a%20b.sock", Address("unix", path="/tmp/a b.sock")),
    ],
)
def test_a_good_url_is_read(url, address):
    assert parse_url(url) == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        (None, "empty"),
        (6379, "empty"),
        (b"redis://localhost", "empty"),
        ("localhost", "must begin with redis://"),
        ("localhost:6379", "must begin with redis://"),
        ("redis:/localhost", "must begin with redis://"),
        ("redis:localhost", "must begin with redis://"),
        ("http://localhost", "must begin with redis://"),
        ("REDIS://localhost", "must begin with redis://"),
        (" redis://localhost", "must begin with redis://"),
        ("redis+sentinel://host/master/0", "not supported yet"),
        ("redis+cluster://a,b", "not supported yet"),
        ("redis://", "no host"),
        ("redis://:6379", "no host"),
        ("redis:///0", "no host"),
        ("redis://host:0", "port"),
        ("redis://host:65536", "port"),
        ("redis://host:99999", "port"),
        ("redis://host:port", "port"),
        ("redis://host:-1", "port"),
        ("redis://host:6379:6380", "port"),
        ("redis://[::1", "malformed"),
        ("redis://host/abc", "database"),
        ("redis://host/-1", "database"),
        ("redis://host/1.5", "database"),
        ("redis://host/\u0661", "database"),
        ("redis://host/9999999", "database"),
        ("redis://host?db=x", "database"),
        ("redis://host?timeout=5", "unknown option 'timeout'"),
        ("redis://host?novalue", "malformed"),
        ("rediss://host?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("rediss://host?ssl_cert_reqs=required&ssl_cert_reqs=none", "'ssl_cert_reqs' twice"),
        ("redis://host?db=1&db=1", "'db' twice"),
        ("unix://", "socket path"),
        ("unix://relative.sock", "socket path"),
        ("unix:///" + "x" * 107, "socket path"),
    ],
)
def test_a_bad_url_is_refused_with_its_reason_in_one_line(url, reason):
    with pytest.raises(InvalidURL, match=reason) as caught:
        parse_url(url)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


SECRETS = [
    f"redis://:{SECRET}@host:0",
    f"redis://user:{SECRET}@host:99999",
    f"redis://user:{SECRET}@host/abc",
    f"redis://user:{SECRET}@",
    f"redis://user:a@{SECRET}@host:0",
    f"redis://user:@{SECRET}@host:0",
    f"redis://:a/{SECRET}@host",
    f"redis://:a/b@{SECRET}@host",
    f"redis://:a?{SECRET}@host",
    f"redis://:a#{SECRET}@host",
    f"redis://user:a:{SECRET}@host:0",
    f"redis://user:{SECRET}",  # the host was forgotten
    f"redis://user:{SECRET}/0",
    f"redis://user:99/{SECRET}",
    f"redis://user:9a/{SECRET}",
    f"redis://user:99/9{SECRET}/0",
    f"redis://:{SECRET}\n@host:0",
    f"redis://:{SECRET}\x00@host:0",
    f"redis://:{SECRET}@[::1",
    f"rediss://user:{SECRET}@host?ssl_cert_reqs=maybe",
    f"redis://host?password={SECRET}",
    f"redis://host?x=1&password={SECRET}",
    f"redis+cluster://user:{SECRET}@host",
    f"http://user:{SECRET}@host",
    f"user:{SECRET}@host:6379",
    f"redis:/user:{SECRET}@host",
    f"unix://:{SECRET}@relative.sock",
    f"redis://user:{SECRET}@" + "h" * 300 + ":0",
    "redis://user:" + "x" * 300 + f"{SECRET}@host:0",
    f"redis://{SECRET}@host:0",  # its colon was forgotten
    f"redis://host?token={SECRET}",
    f"redis://host?x=1&{SECRET}",
    f"redis://host:0/#{SECRET}",
    SECRET,
    f"redis:{SECRET}",
]


@pytest.mark.parametrize("url", SECRETS)
def test_a_bad_url_never_shows_its_password(url):
    with pytest.raises(InvalidURL) as caught:
        parse_url(url)
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("url", [*SECRETS, f"redis://user:{SECRET}@host", f"redis://:{SECRET}@host:1/2?db=1"])
def test_a_url_for_people_never_shows_its_password(url):
    assert SECRET not in redact(url)


@pytest.mark.parametrize("url", [f"redis://user:{SECRET}@host:1/2", f"unix://:{SECRET}@/tmp/a.sock"])
def test_an_address_never_shows_its_password(url):
    address = parse_url(url)
    assert address.password == SECRET
    assert SECRET not in str(address)
    assert SECRET not in repr(address)


def test_an_address_does_not_show_a_name_that_may_be_a_password_without_its_colon():
    assert SECRET not in repr(parse_url(f"redis://{SECRET}@host"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://host", "redis://host"),
        ("redis://host:6379/", "redis://host:6379/"),
        ("redis://host:6379/0?db=1", "redis://host:6379/0?db=1"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("redis://:p@host:1", "redis://:***@host:1"),
        ("localhost:6379/0", "localhost:6379/0"),
        ("unix:///tmp/a@b.sock", "unix:///tmp/a@b.sock"),
        ("rediss://h?ssl_ca_certs=/ca.pem", "rediss://h?ssl_ca_certs=/ca.pem"),
        ("unix:///tmp/a:b.sock", "unix:///tmp/a:b.sock"),
        ("redis://user:p@host?password=x&db=1", "redis://user:***@host?password=***&db=1"),
        ("red\x1b[31mis://host", "red\ufffd[31mis://host"),
    ],
)
def test_a_url_for_people_shows_everything_else(url, shown):
    assert redact(url) == shown
