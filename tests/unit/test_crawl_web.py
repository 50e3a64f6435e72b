"""Reading pages: addresses, links, redirects, robots.txt, and servers that misbehave."""

from __future__ import annotations

import asyncio
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from workers import web
from workers.head import Head, head, parse
from workers.site import Site

ALL = web.parse_rules("")


def page(body, url="http://h/dir/page", content_type="text/html", location=""):
    return web.Answer(url, 302 if location else 200, content_type, "utf-8", body.encode(), location)


def urls(answer, rules=ALL, html=True):
    return [link.url for link in web.links(answer, html=html, rules=rules)]


@pytest.fixture
def replies():
    """Answers each path with the (status, headers, body) that a test puts into its dictionary."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, headers, body = self.server.answers[self.path]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
            self.close_connection = True

        def do_HEAD(self):
            self.do_GET()

        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    running.answers = {}
    running.url = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def speaker():
    """Returns the url of a server that reads a request and says the given bytes, whatever was asked."""
    listeners = []

    def start(words):
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(words)

        thread = threading.Thread(target=serve)
        thread.start()
        listeners.append((listener, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield start
    for listener, thread in listeners:
        thread.join()
        listener.close()


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("http://h:80/x", "http://h/x"),
        ("https://h:443/x", "https://h/x"),
        ("http://h:8080/x", "http://h:8080/x"),
        ("http://h/x#part", "http://h/x"),
        ("http://h/x?a=1&b=2", "http://h/x?a=1&b=2"),
        (" http://h/x ", "http://h/x"),
        ("http://h/a/../b/./c/", "http://h/b/c/"),
        ("http://h/a/..", "http://h/"),
        ("http://[::1]:8000/x", "http://[::1]:8000/x"),
        ("ftp://h/x", None),
        ("mailto:a@b.example", None),
        ("javascript:void(0)", None),
        ("http:///x", None),
        ("http://h:99999/", None),
        ("http://h:port/", None),
        ("http://[bad/", None),
        ("http://user:secret@h/", None),
        ("http://h/a b", None),
        ("http://h/\x00", None),
        ("http://h/" + "x" * web.MAX_URL, None),
        ("", None),
    ],
)
def test_an_address_has_one_spelling_or_none(url, expected):
    assert web.normalise(url) == expected


@pytest.mark.parametrize("url", ["http://h/x/y.py?q=1", "http://h/b/c/", "http://[::1]:8000/x"])
def test_the_one_spelling_stays_itself(url):
    assert web.normalise(web.normalise(url)) == url


@pytest.mark.parametrize(
    ("url", "html", "kind"),
    [
        ("http://h/pkg/", False, "listing"),
        ("http://h/a.py", False, "page"),
        ("http://h/a.txt", False, "asset"),
        ("http://h/Makefile", False, "asset"),
        ("http://h/", True, "page"),
        ("http://h/a.py", True, "page"),
        ("http://h/index.html", True, "page"),
        ("http://h/3.11", True, "page"),
        ("http://h/logo.PNG", True, "asset"),
        ("http://h/x.tar.gz", True, "asset"),
        ("http://h/x.png?size=2", True, "asset"),
        ("http://h/x?next=a.png", True, "page"),
    ],
)
def test_a_link_is_judged_by_its_path(url, html, kind):
    assert web.kind_of(url, html=html) == kind


def test_links_are_absolute_each_once_and_in_order():
    body = "<a href='b'>1</a><a href=/a>2</a><A HREF='../c'>3</A><a href='b#again'>4</a><a>5</a><a href=''>6</a>"
    assert urls(page(body)) == ["http://h/dir/b", "http://h/a", "http://h/c"]


@pytest.mark.parametrize("other", ["http://other/", "http://h:8080/", "http://h.example/", "//other/x", "ftp://h/x"])
def test_links_to_other_sites_are_left_out(other):
    assert urls(page(f"<a href='{other}'>x</a>")) == []


def test_http_and_https_on_their_own_ports_are_one_site():
    assert urls(page("<a href='https://h/x'>x</a>")) == ["https://h/x"]


def test_a_base_element_moves_relative_links():
    assert urls(page("<base href='/other/'><a href='x'>x</a>")) == ["http://h/other/x"]


def test_a_page_of_text_has_no_links():
    assert urls(page("<a href='x'>x</a>", content_type="text/plain")) == []


def test_a_redirect_is_a_link_to_its_target():
    assert urls(page("", location="http://h/new")) == ["http://h/new"]


def test_a_redirect_to_another_site_leads_nowhere():
    assert urls(page("", location="http://other/")) == []


def test_robots_txt_keeps_its_pages_out():
    rules = web.parse_rules("User-agent: *\nDisallow: /private/\n")
    assert urls(page("<a href=/private/x>x</a><a href=/public>y</a>"), rules) == ["http://h/public"]


def test_robots_txt_may_speak_to_us_alone():
    rules = web.parse_rules(f"User-agent: {web.AGENT}\nDisallow: /\n\nUser-agent: *\nDisallow:\n")
    assert urls(page("<a href=/x>x</a>"), rules) == []


def test_broken_html_still_gives_its_links():
    assert urls(page("<a href='x'><b></i><<<>&#; <a href=z><p")) == ["http://h/dir/x", "http://h/dir/z"]


def test_the_rules_of_a_site_are_read_from_its_root(replies):
    replies.answers["/robots.txt"] = (200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /\n")
    assert "Disallow: /" in web.read_rules(replies.url + "/deep/page")


@pytest.mark.parametrize(
    "answer", [(404, {}, b"Disallow: /"), (200, {"Content-Type": "text/html"}, b"<p>Disallow: /"), (503, {}, b"")]
)
def test_a_site_without_rules_allows_everything(replies, answer):
    replies.answers["/robots.txt"] = answer
    assert web.read_rules(replies.url) == ""


def test_rules_of_an_unreachable_site_are_none(closed_port):
    assert web.read_rules(f"http://127.0.0.1:{closed_port}/") == ""


def test_get_reads_status_type_charset_and_body(replies):
    replies.answers["/x"] = (200, {"Content-Type": "text/html; charset=latin-1"}, b"\xe4")
    answer = web.get(replies.url + "/x")
    assert (answer.status, answer.content_type, answer.charset, answer.body) == (200, "text/html", "latin-1", b"\xe4")


def test_a_missing_page_is_an_answer(replies):
    replies.answers["/x"] = (404, {}, b"gone")
    assert web.get(replies.url + "/x").status == 404


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_but_told(replies, status):
    replies.answers["/x"] = (status, {"Location": "../y"}, b"")
    answer = web.get(replies.url + "/x")
    assert (answer.status, answer.location) == (status, replies.url + "/y")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_server_is_an_error_to_try_again(replies, status):
    replies.answers["/x"] = (status, {}, b"")
    with pytest.raises(web.BusyError, match=str(status)):
        web.get(replies.url + "/x")


def test_a_refused_connection_is_told_as_such(closed_port):
    with pytest.raises(ConnectionRefusedError):
        web.get(f"http://127.0.0.1:{closed_port}/")


def test_a_silent_server_is_given_up(tmp_path):
    with Site(tmp_path, bounds=(1, 1)) as site, pytest.raises(TimeoutError):
        web.get(site.url, timeout=0.05)


@pytest.mark.parametrize(
    "words", [b"", b"no http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"]
)
def test_a_broken_answer_is_an_error_to_try_again(speaker, words):
    with pytest.raises(OSError):
        web.get(speaker(words))


def test_a_huge_page_is_cut(replies):
    replies.answers["/x"] = (200, {}, b"x" * (web.MAX_READ + 1))
    assert len(web.get(replies.url + "/x").body) == web.MAX_READ


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(replies, monkeypatch, closed_port):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    replies.answers["/x"] = (200, {}, b"here")
    assert web.get(replies.url + "/x").body == b"here"


@pytest.mark.parametrize(
    ("body", "charset", "text"), [(b"\xe4", "latin-1", "ä"), (b"\xe4", "utf-8", "\ufffd"), (b"a", "no-such", "a")]
)
def test_a_page_is_decoded_whatever_it_claims(body, charset, text):
    assert web.decode(body, charset) == text


def test_head_tells_status_and_size(replies):
    replies.answers["/x"] = (200, {}, b"12345")
    assert asyncio.run(head(replies.url + "/x")) == Head(replies.url + "/x", 200, 5)


def test_head_of_a_missing_page_tells_so(replies):
    replies.answers["/x"] = (404, {}, b"")
    assert asyncio.run(head(replies.url + "/x")).status == 404


def test_head_of_an_unreachable_server_is_an_answer(closed_port):
    answer = asyncio.run(head(f"http://127.0.0.1:{closed_port}/x"))
    assert answer.status == 0
    assert "ConnectionRefusedError" in answer.error


def test_head_of_a_silent_server_is_an_answer(tmp_path):
    with Site(tmp_path, bounds=(1, 1)) as site:
        assert asyncio.run(head(site.url, timeout=0.05)).error == "no answer within 0.05 s"


@pytest.mark.parametrize("words", [b"", b"no http at all\r\n\r\n", b"HTTP/1.1 2xx\r\n\r\n", b"x" * 100_000])
def test_head_of_a_server_that_talks_nonsense_is_an_answer(speaker, words):
    answer = asyncio.run(head(speaker(words)))
    assert answer.status == 0
    assert answer.error


@pytest.mark.parametrize(
    ("raw", "status", "size"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 200, 7),
        (b"HTTP/1.0 404 Not Found\r\ncontent-length:0\r\n\r\n", 404, 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, -1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", 200, -1),
    ],
)
def test_the_head_of_an_answer_is_parsed(raw, status, size):
    assert parse("u", raw) == Head("u", status, size)
