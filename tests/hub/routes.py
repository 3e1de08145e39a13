"""The routing table: handler and required access of each method and path."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.hub.messages import Access, Handler, Request
from tests.hub.model import Commit, HttpError

ID = r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*?)"
API = rf"/api/(?P<kind>models|datasets|spaces)/{ID}"
WEB = rf"/(?:(?P<kind>datasets|spaces)/)?{ID}"
REVISION = r"(?P<revision>[^/]+)"
DISCUSSION = rf"{API}/discussions/(?P<number>\d+)"


@dataclass(frozen=True)
class Route:
    """`access`: open (anyone), read (who sees the repository), account (token that may write), write (owner)."""

    method: str
    path: re.Pattern[str]
    handler: Handler
    access: Access


ROUTES: list[Route] = []


def route(method: str, path: str, access: Access = "read") -> Callable[[Handler], Handler]:
    def add(handler: Handler) -> Handler:
        ROUTES.append(Route(method, re.compile(path), handler, access))
        return handler

    return add


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Returns the route and parameters of a raw path. A revision with slashes is one quoted segment."""
    known = False
    for candidate in ROUTES:
        if match := candidate.path.fullmatch(path):
            if candidate.method == ("GET" if method == "HEAD" else method):
                return candidate, {name: value for name, value in match.groupdict().items() if value is not None}
            known = True
    raise HttpError(405 if known else 404, f"No such address: {method} {path}")


def requested_commit(request: Request) -> Commit:
    return request.repository.resolve(request.parameters.get("revision", "main"))


def flag(request: Request, name: str) -> bool:
    return request.query.get(name, "").lower() in ("1", "true")
