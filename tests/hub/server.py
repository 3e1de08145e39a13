"""The test Hub: an HTTP server on 127.0.0.1 with accounts, fault injection and a log of requests."""

import hashlib
import re
import secrets
import threading
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.hub.faults import ConnectionCut, Fault, Faults
from tests.hub.messages import Account, Body, Request, Response
from tests.hub.model import Change, HttpError
from tests.hub.routes import find_route
from tests.hub.store import Repository, Store

KINDS = {kind: f"{kind.removesuffix('s')}s" for kind in ("model", "dataset", "space", "models", "datasets", "spaces")}
TOKENS = {
    "hf_owner": Account("owner", orgs=("org",)),
    "hf_reader": Account("owner", role="read", orgs=("org",)),
    "hf_guest": Account("guest"),
}


@dataclass(frozen=True)
class Upload:
    """A pending upload of an LFS object. Its address needs no token."""

    repository: Repository
    oid: str
    size: int
    folder: Path


class Hub:
    """A Hugging Face Hub for tests that stores its content in a folder. Serves inside a `with` block.

    tokens: the accounts. page_size: entries per page of a list. chunk_size: LFS objects above this size (bytes)
    are uploaded in parts.
    """

    def __init__(
        self,
        root: Path,
        tokens: Mapping[str, Account] = TOKENS,
        page_size: int = 1000,
        chunk_size: int | None = None,
    ) -> None:
        self.root = root
        self.tokens = tokens
        self.page_size = page_size
        self.chunk_size = chunk_size
        self.store = Store(root / "repositories")
        self.requests: list[tuple[str, str, int]] = []
        self.uploaded: Counter[str] = Counter()
        self._faults = Faults()
        self._uploads: dict[str, Upload] = {}
        self._counting = threading.Lock()
        self._server = Server(("127.0.0.1", 0), connection(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Hub":
        # Poll for shutdown every 20 ms instead of the default 500 ms.
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # For tests

    def environment(self, token: str | None = None, home: Path | None = None) -> dict[str, str]:
        """Returns environment variables with which a subprocess uses this Hub."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": token or "",
            "HF_HOME": str(home or self.root / "home"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def add_repository(
        self, kind: str, id: str, folder: Path, branch: str = "main", tags: Sequence[str] = (), private: bool = False
    ) -> str:
        """Sets a branch to exactly the files of a folder, and creates a missing repository. Returns the commit id."""
        repository = self.store.find(KINDS[kind], id) or self.store.create(KINDS[kind], id, private, files={})
        ref = f"refs/heads/{branch}"
        if ref not in repository.state["refs"]:
            repository.create_ref(ref, "main")
        changes: list[Change] = [(path, None) for path in repository.resolve(ref).tree]
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                changes.append((name, repository.add_path(name, path)))
        commit = repository.push(ref, changes, f"Files of {folder.name}", author=id.split("/", maxsplit=1)[0])
        for tag in tags:
            repository.create_ref(f"refs/tags/{tag}", commit.id)
        return commit.id

    def files(self, kind: str, id: str, revision: str = "main") -> dict[str, bytes]:
        """Returns the files of a revision, read from disk."""
        repository = self.store.find(KINDS[kind], id)
        if repository is None:
            raise KeyError(id)
        tree = repository.resolve(revision).tree
        return {path: repository.object(file.key).read_bytes() for path, file in tree.items()}

    def fail_next(
        self,
        method: str,
        path_regex: str,
        status: int = 429,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        message: str = "planned fault",
    ) -> None:
        """Makes the next requests whose target (raw path and query) matches fail with a status."""
        self._faults.plan(Fault(method, re.compile(path_regex), times, status, dict(headers or {}), message))

    def cut_next(self, method: str, path_regex: str, after_bytes: int = 0, times: int = 1, reply: bool = False) -> None:
        """Closes the connection within the body of the next matching requests, or within the response body of a GET.

        reply: handle the request and lose its response, for any method.
        """
        cut_reply = reply or method == "GET"
        self._faults.plan(
            Fault(method, re.compile(path_regex), times, status=0, after_bytes=after_bytes, reply=cut_reply)
        )

    # For routes

    def address(self, kind: str, id: str) -> str:
        return f"{self.url}/{id}" if kind == "models" else f"{self.url}/{kind}/{id}"

    def count(self, what: str, size: int) -> None:
        with self._counting:
            self.uploaded[what] += size

    def visible(self, kind: str, id: str, account: Account | None) -> Repository:
        """Returns a repository. Missing and inaccessible private repositories give the same error."""
        repository = self.store.find(kind, id)
        if repository and (not repository.state["private"] or (account and account.belongs_to(id))):
            return repository
        if account is None:
            raise HttpError(401, "Invalid username or password.", "RepoNotFound")
        raise HttpError(404, "Repository not found", "RepoNotFound")

    def require_owner(self, request: Request) -> None:
        if request.account is None or not request.account.belongs_to(request.repository.id):
            raise HttpError(403, f"You don't have the right to write to {request.repository.id}")

    def open_upload(self, repository: Repository, oid: str, size: int) -> str:
        ticket = secrets.token_hex(16)
        self._uploads[ticket] = Upload(repository, oid, size, self.root / "uploads" / ticket)
        return ticket

    def upload(self, ticket: str) -> Upload:
        try:
            return self._uploads[ticket]
        except KeyError:
            raise HttpError(403, "This address is no longer valid") from None

    @contextmanager
    def receiving(self, request: Request) -> Iterator[tuple[Path, str]]:
        """Writes a body to a temporary file, and yields it with its MD5. The file is deleted unless it was moved."""
        received = self.root / "uploads" / f"{secrets.token_hex(8)}.partial"
        received.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.md5()
        try:
            with received.open("wb") as target:
                for piece in request.body:
                    target.write(piece)
                    digest.update(piece)
                    self.count("lfs", len(piece))
            yield received, digest.hexdigest()
        finally:
            received.unlink(missing_ok=True)

    def answer(self, request: Request) -> Response:
        try:
            return self._routed(request)
        except HttpError as error:
            return Response.from_error(error)
        except ConnectionError:
            raise
        except Exception:
            # Clients retry status 500 for minutes; 501 exposes bugs of this server immediately.
            return Response.from_error(HttpError(501, traceback.format_exc()))

    def _routed(self, request: Request) -> Response:
        route, parameters = find_route(request.method, request.path)
        request.parameters = {name: unquote(value) for name, value in parameters.items()}
        if credentials := request.headers.get("Authorization"):
            request.account = self.tokens.get(credentials.removeprefix("Bearer "))
            if request.account is None:
                raise HttpError(401, "Invalid credentials in Authorization header")
        if "id" in parameters:
            kind = parameters.get("kind", "models")
            request.target_repository = self.visible(kind, parameters["id"], request.account)
        if route.access in ("account", "write"):
            if request.account is None:
                raise HttpError(401, "Invalid username or password.")
            if request.account.role == "read":
                raise HttpError(403, "This token may only read")
        if route.access == "write":
            self.require_owner(request)
        return route.handler(self, request)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that disconnect early."""


def connection(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def respond(self) -> None:
            fault = hub._faults.strike(self.command, self.path)
            cut = fault.after_bytes if fault and not fault.status else None
            cut_reply = cut if fault and fault.reply else None
            body = Body(self.rfile, self.headers, None if cut_reply is not None else cut)
            address = urlsplit(self.path)
            query = dict(parse_qsl(address.query, keep_blank_values=True))
            request = Request(self.command, self.path, address.path, query, self.headers, body)
            try:
                if fault and fault.status:
                    reply = Response.from_error(HttpError(fault.status, fault.message, headers=fault.headers))
                else:
                    reply = hub.answer(request)
                for _ in body:  # drain the body: unread bytes would be parsed as the next request
                    pass
                hub.requests.append((self.command, self.path, reply.status if cut_reply is None else 0))
                self.send(reply, cut_reply)
            except ConnectionCut:
                if cut_reply is None:
                    hub.requests.append((self.command, self.path, 0))
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = respond

        def send(self, reply: Response, cut: int | None) -> None:
            if cut == 0:
                raise ConnectionCut
            self.send_response(reply.status)
            for name, value in ({"Content-Length": str(len(reply.content))} | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            sent = 0
            for piece in reply.pieces():
                self.wfile.write(piece if cut is None else piece[: cut - sent])
                sent += len(piece)
                if cut is not None and sent >= cut:
                    raise ConnectionCut

        def log_message(self, format: str, *arguments: Any) -> None:
            """Prints nothing; requests are logged in `Hub.requests`."""

    return Connection
