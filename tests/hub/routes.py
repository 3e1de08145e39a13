"""The table of routes: which method and path takes what access and goes where."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.hub.messages import Access, Handler, Request
from tests.hub.model import Commit, Refusal

ID = r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*?)"
API = rf"/api/(?P<kind>models|datasets|spaces)/{ID}"
WEB = rf"/(?:(?P<kind>datasets|spaces)/)?{ID}"
REVISION = r"(?P<revision>[^/]+)"
DISCUSSION = rf"{API}/discussions/(?P<number>\d+)"


@dataclass(frozen=True)
class Route:
    """`access` is what it takes: nothing, to see the repository, a token that may write, or to own the repository."""

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
    """The route of a path as it was sent: a revision with slashes is one quoted segment of it."""
    known = False
    for candidate in ROUTES:
        if match := candidate.path.fullmatch(path):
            if candidate.method == ("GET" if method == "HEAD" else method):
                return candidate, {name: value for name, value in match.groupdict().items() if value is not None}
            known = True
    raise Refusal(405 if known else 404, f"No such address: {method} {path}")


def resolved(request: Request) -> Commit:
    return request.repository.resolve(request.parameters.get("revision", "main"))


def asked(request: Request, name: str) -> bool:
    return request.query.get(name, "").lower() in ("1", "true")
