"""A model Hub on loopback, as much of it as reading takes: repository info, HEAD and GET of files, error headers."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def commit_of(folder: Path) -> str:
    """40 hex digits of what a folder holds, as a commit id is of its files."""
    content = b"".join(path.name.encode() + path.read_bytes() for path in sorted(folder.iterdir()))
    return hashlib.sha1(content).hexdigest()


@contextmanager
def serving(revisions: dict[str, dict[str, Path]]) -> Iterator[str]:
    """Serves, by repository and revision, folders as models; yields the endpoint's address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            api, _, rest = path.partition("/api/models/")
            if rest:
                repository, _, revision = rest.partition("/revision/")
                repository = repository.split("/tree/")[0]
                folder = self.folder(repository, revision or "main")
                if folder is None:
                    return
                if "/tree/" in rest:
                    return self.refuse("EntryNotFound")
                files = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
                return self.answer(json.dumps({"id": repository, "sha": commit_of(folder), "siblings": files}).encode())
            repository, _, rest = api.lstrip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            folder = self.folder(repository, revision)
            if folder is None:
                return
            if not (folder / name).is_file():
                return self.refuse("EntryNotFound", {"X-Repo-Commit": commit_of(folder)})
            content = (folder / name).read_bytes()
            etag = f'"{hashlib.sha1(content).hexdigest()}"'
            self.answer(content, {"X-Repo-Commit": commit_of(folder), "ETag": etag})

        def folder(self, repository: str, revision: str) -> Path | None:
            known = revisions.get(repository)
            if known is None:
                self.refuse("RepoNotFound")
                return None
            by_commit = {commit_of(folder): folder for folder in known.values()}
            found = known.get(revision) or by_commit.get(revision)
            if found is None:
                self.refuse("RevisionNotFound")
            return found

        def refuse(self, code: str, headers: dict[str, str] | None = None) -> None:
            self.answer(b"", {"X-Error-Code": code} | (headers or {}), status=404)

        def answer(self, content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
