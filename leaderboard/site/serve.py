"""`harness leaderboard serve`: a look at a built site, on this machine only."""

import re
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fflm_data.terminal import say
from harness.errors import UserError
from leaderboard.site.formatting import POLICY

HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
TYPES = {".csv": "text/csv; charset=utf-8", ".parquet": "application/octet-stream", ".xml": "application/atom+xml"}


# A page of a stranger may have its own name point to this machine, and read what is answered to that name.
LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder, with the headers of `HEADERS`; says nothing of each request.

    Answers to names of this machine alone. Links are not followed, names that begin with a dot (.git, .env) are not
    there, folders are not listed.
    """

    extensions_map = SimpleHTTPRequestHandler.extensions_map | TYPES

    def send_head(self) -> Any:
        if not all(map(LOCAL.fullmatch, self.headers.get_all("Host", []))):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "only localhost is answered")
            return None
        if not self._is_there(Path(self.translate_path(self.path))):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def _is_there(self, path: Path) -> bool:
        """Whether it is a file of the folder, or a folder with a page."""
        root = Path(self.directory)
        if path.is_dir():
            path /= "index.html"
        if not path.is_relative_to(root) or not path.is_file():
            return False
        inside = path.relative_to(root).parts
        return not any(
            inside[place].startswith(".") or root.joinpath(*inside[: place + 1]).is_symlink()
            for place in range(len(inside))
        )

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """One that says nothing of a client that went away."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder on 127.0.0.1; port 0 takes a free one. Raises UserError if there is no site, or no port."""
    if not (folder / "index.html").is_file():
        raise UserError(f"{folder} has no index.html: write it with harness leaderboard build --out {folder}")
    handler: Callable[..., Handler] = partial(Handler, directory=str(folder))
    try:
        return Server(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as error:
        raise UserError(f"port {port} cannot be used ({error}): name another with --port") from None


def command(folder: Path, port: int) -> None:
    """Serves a site until it is interrupted."""
    with server(folder, port) as running:
        say(f"http://127.0.0.1:{running.server_address[1]}/ shows {folder}; Ctrl-C ends it")
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            say("")
