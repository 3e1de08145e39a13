"""Untrusted text is escaped, and the server rejects other requests."""

import csv
import html
import json
import os
import re
from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from xml.etree import ElementTree

import pytest

from harness.errors import UserError
from leaderboard.site import serve
from tests.leaderboard.browsing import open_page, paths_of, served
from tests.leaderboard.site_fixtures import HOSTILE, Built, hostile_site


@pytest.fixture(scope="module")
def hostile(site: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_site(site, tmp_path_factory.mktemp("hostile") / "site")


@pytest.mark.parametrize("kind", ["index", "model", "task", "compare"])
def test_hostile_text_is_escaped(browser: Any, hostile: Path, kind: str) -> None:
    (path,) = (path for path in hostile.glob("models/*.html"))
    with served(hostile) as where, open_page(browser, where) as page:
        page.goto(where + paths_of(path.stem)[kind])
        if kind == "compare":
            page.locator("#difference td").first.wait_for()
        assert page.title() != "owned" and page.locator("img[src=x], [onerror], [onload]").count() == 0
        assert page.locator("script").count() == 1 and page.locator("a[href^=javascript]").count() == 0
        if kind == "compare":
            assert page.get_by_role("status").inner_text().count("document.title='owned'") == 2
        elif kind != "task":
            assert page.locator("main").inner_text().count("{{ 7 * 7 }}") > 5


def test_hostile_text_in_feeds(hostile: Path) -> None:
    assert ElementTree.fromstring((hostile / "feed.xml").read_bytes()).tag.endswith("feed")
    lines = (hostile / "scores.csv").read_bytes().decode().splitlines()  # also at a carriage return alone
    table = [*csv.reader(lines)]
    assert len(table) > 1 and all(len(row) == len(table[0]) for row in table)
    assert not any(re.match(r"\s*[=@]", field) for row in table for field in row)
    (badge,) = hostile.glob("badges/*.svg")
    assert {element.tag.split("}")[1] for element in ElementTree.parse(badge).iter()} == {
        "svg",
        "title",
        "rect",
        "path",
        "g",
        "text",
    }
    index = json.loads((hostile / "index.json").read_text(encoding="utf-8"))
    assert index["models"][0]["division"] == HOSTILE.replace("\x07", "\ufffd")
    names = {path.name for path in hostile.rglob("*")}
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names)


def test_headers(address: str) -> None:
    with urlopen(f"{address}index.html") as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_pages_and_headers_have_the_same_policy(address: str) -> None:
    with urlopen(f"{address}index.html") as answer:
        message = html.unescape(answer.read().decode())
        policy, _, rest = answer.headers["Content-Security-Policy"].rpartition("; ")
    assert f'http-equiv="Content-Security-Policy" content="{policy}"' in message and rest == "frame-ancestors 'none'"


def broken(error: Exception) -> Any:
    """Returns a failing copy of a file to a client."""

    def copyfile(*_: object) -> None:
        raise error

    return copyfile


@pytest.mark.parametrize(
    ("error", "expected"), [(BrokenPipeError(), ""), (ConnectionResetError(), ""), (ValueError("a defect"), "a defect")]
)
def test_disconnected_client(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, expected: str
) -> None:
    monkeypatch.setattr(serve.Handler, "copyfile", broken(error))
    with pytest.raises(IncompleteRead), urlopen(f"{address}index.html") as answer:
        answer.read()
    message = capsys.readouterr().err
    assert (expected in message) if expected else (message == "")


def test_serve_prints_the_address(
    site: Built,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serve.ThreadingHTTPServer, "serve_forever", interrupted)
    serve.command(site.folder, 0)
    message = capsys.readouterr()
    assert re.search(r"http://127\.0\.0\.1:\d+/", message.out) and message.err == ""


def status(address: str, path: str, *hosts: str, method: str = "GET") -> int:
    """Returns the status of a raw request with the given Host headers."""
    connection = HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for host in hosts:
        connection.putheader("Host", host)
    connection.endheaders()
    try:
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:1", "[::1]:8000"])
def test_local_host_names_are_served(address: str, host: str) -> None:
    assert status(address, "/index.html", host) == 200 and status(address, "/", host, method="HEAD") == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example",
     "", "localhost:x", "0.0.0.0", "10.0.0.1", "127.0.0.1\tevil"],
)  # fmt: skip
def test_other_host_names_are_rejected(address: str, host: str) -> None:
    assert status(address, "/index.html", host) == 421 and status(address, "/", host, method="HEAD") == 421
    assert status(address, "/index.html", "localhost", host) == 421


@pytest.fixture
def littered(tmp_path: Path) -> Iterator[str]:
    """A folder with a page and with files that must not be served."""
    folder = tmp_path / "site"
    for name in ("index.html", ".env", ".git/config", "a/.hidden/x", "a/index.html", "bare/x", "ours.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "utf-8")
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "index.html").write_text("secret", "utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "inside.txt").symlink_to(folder / "ours.txt")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "page").mkdir()
    (folder / "page" / "index.html").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(folder / "pipe")
    with served(folder) as where:
        yield where


@pytest.mark.parametrize("path", ["/", "/index.html", "/a/", "/a/index.html", "/bare/x", "/ours.txt", "/a/../ours.txt"])
def test_site_files_are_served(littered: str, path: str) -> None:
    assert status(littered, path, "localhost") == 200


@pytest.mark.parametrize(
    "path",
    ["/.env", "/.git/config", "/.git/", "/.git", "/%2egit/config", "/a/.hidden/x", "/link.txt", "/inside.txt",
     "/linked/", "/linked/index.html", "/page/", "/page/index.html", "/pipe", "/bare/", "/../secret.txt",
     "/%2e%2e/secret.txt", "/a/..%2f..%2fsecret.txt", "/none", "/%00", "//etc/passwd"],
)  # fmt: skip
def test_links_hidden_files_and_listings_are_not_served(littered: str, path: str) -> None:
    assert status(littered, path, "localhost") == 404
    assert status(littered, path, "localhost", method="HEAD") == 404


def test_serve_errors(site: Built, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no index\.html"):
        serve.server(tmp_path, 0)
    with serve.server(site.folder, 0) as taken, pytest.raises(UserError, match="cannot be used"):
        serve.server(site.folder, taken.server_address[1])
    with pytest.raises(UserError, match="cannot be used"):
        serve.server(site.folder, 99_999)
