"""`harness leaderboard serve`: serves a built site on this machine."""

import re
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fflm_data.terminal import echo
from harness.errors import UserError
from leaderboard.site.formatting import POLICY

HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
TYPES = {".csv": "text/csv; charset=utf-8", ".parquet": "application/octet-stream", ".xml": "application/atom+xml"}


# Against DNS rebinding: another site may let its own name point to this machine and read the answers.
LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)


class Handler(SimpleHTTPRequestHandler):
    """Serves the files of a folder with the headers of `HEADERS`, without a log line per request.

    Requests for other host names are rejected. Links, hidden files (.git, .env) and folder listings are not served.
    """

    extensions_map = SimpleHTTPRequestHandler.extensions_map | TYPES

    def send_head(self) -> Any:
        if not all(map(LOCAL.fullmatch, self.headers.get_all("Host", []))):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "only requests to localhost are answered")
            return None
        if not self._is_served(Path(self.translate_path(self.path))):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def _is_served(self, path: Path) -> bool:
        """Returns whether a path is a file of the site, or a folder with an index page."""
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
    """A server that ignores disconnected clients."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Returns a server of a folder on 127.0.0.1. port: 0 for a free one. Raises UserError without a site or port."""
    if not (folder / "index.html").is_file():
        raise UserError(f"{folder} has no index.html. Run harness leaderboard build --out {folder}.")
    handler: Callable[..., Handler] = partial(Handler, directory=str(folder))
    try:
        return Server(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as error:
        raise UserError(f"port {port} cannot be used ({error}). Name another port with --port.") from None


def command(folder: Path, port: int) -> None:
    """Serves a site until Ctrl-C."""
    with server(folder, port) as running:
        echo(f"http://127.0.0.1:{running.server_address[1]}/ serves {folder}. Press Ctrl-C to stop.")
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            echo("")
