"""The local site: what it shows, how it answers, and that a hundred readers do not wait for each other."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from workers import web
from workers.site import LATENCY, Site, entries, latency, locate, render, sources, standard_library


@pytest.fixture
def root(tmp_path):
    for name in ("a.py", "z.py", "pkg/b.py", "pkg/sub/c.py", "data.bin"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {name}\n")
    for name in ("__pycache__/a.pyc", "site-packages/x.py", "dist-packages/y.py", ".hidden/h.py", "pkg/.h.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    (tmp_path / "pkg" / "up").symlink_to(tmp_path)
    (tmp_path / "pkg" / "broken.py").symlink_to(tmp_path / "nowhere")
    return tmp_path


@pytest.fixture
def site(root):
    with Site(root, bounds=(0, 0)) as running:
        yield running


def ask(site, method, path):
    connection = http.client.HTTPConnection("127.0.0.1", site.server_port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_entries_leave_out_hidden_compiled_installed_and_linked_folders(root):
    assert [e.name for e in entries(root)] == ["a.py", "data.bin", "pkg", "z.py"]
    assert [e.name for e in entries(root / "pkg")] == ["b.py", "sub"]


def test_sources_are_the_python_files_that_the_pages_lead_to(root):
    assert sources(root) == ["/a.py", "/pkg/b.py", "/pkg/sub/c.py", "/z.py"]


@pytest.mark.parametrize(
    "path",
    [
        "/../a.py",
        "/pkg/../a.py",
        "/%2e%2e/a.py",
        "/pkg/%2e%2e/a.py",
        "/pkg%2Fb.py",
        "/a.py%00",
        "/__pycache__/a.pyc",
        "/site-packages/x.py",
        "/.hidden/h.py",
        "/pkg/up/a.py",
        "/pkg/broken.py",
        "/missing.py",
    ],
)
def test_what_is_not_shown_is_not_found(root, path):
    assert locate(root, path) is None


def test_a_path_leads_to_its_file(root):
    assert locate(root, "/pkg/sub/c.py") == root / "pkg" / "sub" / "c.py"


def test_a_directory_page_has_one_link_per_entry(root):
    page = web.Answer("http://h/", 200, "text/html", "utf-8", render(root, "/"), "")
    urls = [link.url for link in web.links(page, html=False, rules=web.parse_rules(""))]
    assert urls == ["http://h/a.py", "http://h/data.bin", "http://h/pkg/", "http://h/z.py"]


@pytest.mark.parametrize("name", ["with space.py", "a&b<c>.py", "a:b.py", "ü.py", "50%.py", "q?x#y.py"])
def test_a_file_of_any_name_can_be_read_by_its_link(tmp_path, name):
    (tmp_path / name).write_bytes(b"x = 1\n")
    rules = web.parse_rules("")
    with Site(tmp_path, bounds=(0, 0)) as site:
        [link] = web.links(web.get(site.url), html=False, rules=rules)
        assert web.get(link.url).body == b"x = 1\n"
    assert [urlsplit(link.url).path] == sources(tmp_path)


def test_a_file_comes_as_text_with_its_bytes_untouched(site, root):
    (root / "a.py").write_bytes(b"# -*- coding: latin-1 -*-\r\nx = '\xe4'\r\n")
    status, headers, body = ask(site, "GET", "/a.py")
    assert (status, headers["Content-Type"]) == (200, "text/plain")
    assert body == (root / "a.py").read_bytes()


@pytest.mark.parametrize("path", ["/", "/a.py", "/data.bin", "/missing", "/pkg"])
def test_head_tells_what_get_would(site, path):
    get_status, get_headers, body = ask(site, "GET", path)
    status, headers, empty = ask(site, "HEAD", path)
    assert (status, headers["Content-Type"], headers["Content-Length"]) == (
        get_status,
        get_headers["Content-Type"],
        str(len(body)),
    )
    assert empty == b""


@pytest.mark.parametrize("path", ["/", "/a.py", "/missing"])
def test_no_body_follows_a_head(site, path):
    # By hand, as clients throw a body away that should not be there.
    with socket.create_connection(("127.0.0.1", site.server_port), timeout=10) as connection:
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            assert answer.read().endswith(b"\r\n\r\n")


def test_a_folder_without_its_slash_moves_there(site):
    status, headers, _ = ask(site, "GET", "/pkg")
    assert (status, headers["Location"]) == (301, "/pkg/")


def test_another_method_is_refused(site):
    assert ask(site, "POST", "/a.py")[0] == 501


def test_latency_is_within_its_bounds_and_the_same_every_time():
    found = {path: latency(path) for path in sources(standard_library())[:300]}
    assert all(LATENCY[0] <= seconds <= LATENCY[1] for seconds in found.values())
    assert max(found.values()) - min(found.values()) > 0.02
    assert found == {path: latency(path) for path in found}


def test_a_hundred_readers_do_not_wait_for_each_other(root):
    with Site(root, bounds=(0.2, 0.2)) as site, ThreadPoolExecutor(100) as pool:
        began = time.monotonic()
        statuses = list(pool.map(lambda _: web.get(site.url + "a.py").status, range(100)))
        seconds = time.monotonic() - began
    assert statuses == [200] * 100
    # One after another they would take 20 seconds, ten at a time two.
    assert seconds < 2


def test_served_by_hand_it_prints_its_address_and_ends_with_ctrl_c(root):
    command = [sys.executable, "-m", "workers.site", "--root", str(root)]
    repository = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=repository) as process:
        try:
            url = process.stdout.readline().decode().strip()
            assert web.get(url + "a.py").status == 200
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (130, b"")
