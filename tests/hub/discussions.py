"""Discussions and pull requests."""

from typing import TYPE_CHECKING, Any

from tests.hub.messages import Request, Response
from tests.hub.model import HttpError, comment, event
from tests.hub.routes import API, DISCUSSION, route
from tests.hub.store import Repository

if TYPE_CHECKING:
    from tests.hub.server import Hub


def with_repository(repository: Repository, discussion: dict[str, Any]) -> dict[str, Any]:
    return discussion | {"repo": {"name": repository.id, "type": repository.kind.removesuffix("s")}}


@route("GET", f"{API}/discussions")
def discussions(hub: "Hub", request: Request) -> Response:
    def matches(discussion: dict[str, Any]) -> bool:
        kind, status, author = (request.query.get(name, "all") for name in ("type", "status", "author"))
        is_open = discussion["status"] in ("open", "draft")
        return (
            (kind == "all" or (kind == "pull_request") == discussion["isPullRequest"])
            and (status == "all" or (status == "open") == is_open)
            and (author == "all" or author == discussion["author"]["name"])
        )

    matching = [entry for entry in reversed(request.repository.state["discussions"]) if matches(entry)]
    start = int(request.query.get("p", 0)) * hub.page_size
    page = [with_repository(request.repository, entry) for entry in matching[start : start + hub.page_size]]
    return Response.json({"count": len(matching), "start": start, "discussions": page})


@route("POST", f"{API}/discussions", "account")
def open_discussion(hub: "Hub", request: Request) -> Response:
    body = request.body.json()
    pull_request = bool(body.get("pullRequest"))
    opened = request.repository.discuss(
        body["title"],
        body.get("description", ""),
        request.author,
        base="main" if pull_request else None,
        status="draft" if pull_request else "open",
    )
    return Response.json(with_repository(request.repository, opened))


@route("GET", DISCUSSION)
def discussion(hub: "Hub", request: Request) -> Response:
    number = int(request.parameters["number"])
    details = with_repository(request.repository, request.repository.discussion(number))
    if details["isPullRequest"]:
        merged = details["status"] == "merged"
        details |= {"filesWithConflicts": [] if merged else request.repository.conflicts(number), "diff": None}
    return Response.json(details)


@route("POST", f"{DISCUSSION}/comment", "account")
def add_comment(hub: "Hub", request: Request) -> Response:
    message = comment(request.author, request.body.json()["comment"])
    return Response.json({"newMessage": request.repository.note(int(request.parameters["number"]), message)})


@route("POST", f"{DISCUSSION}/title", "account")
def rename_discussion(hub: "Hub", request: Request) -> Response:
    number, title = int(request.parameters["number"]), request.body.json()["title"]
    old = permit_change(hub, request, number)["title"]
    renamed = event("title-change", request.author, **{"from": old, "to": title})
    return Response.json({"newTitle": request.repository.note(number, renamed, title=title)})


@route("POST", f"{DISCUSSION}/status", "account")
def change_status(hub: "Hub", request: Request) -> Response:
    number, body = int(request.parameters["number"]), request.body.json()
    if permit_change(hub, request, number)["status"] == "merged" or body["status"] not in ("open", "closed"):
        raise HttpError(400, f"Discussion {number} cannot become {body['status']}")
    if body.get("comment"):
        request.repository.note(number, comment(request.author, body["comment"]))
    change = event("status-change", request.author, status=body["status"])
    return Response.json({"newStatus": request.repository.note(number, change, status=body["status"])})


@route("POST", f"{DISCUSSION}/merge", "write")
def merge(hub: "Hub", request: Request) -> Response:
    number, text = int(request.parameters["number"]), (request.body.json() or {}).get("comment")
    merged = request.repository.merge(number, request.author)
    if text:
        request.repository.note(number, comment(request.author, text))
    return Response.json({"mergeCommitId": merged.id})


def permit_change(hub: "Hub", request: Request, number: int) -> dict[str, Any]:
    """Returns the discussion. Raises HttpError unless the account is its author or owns the repository."""
    discussion = request.repository.discussion(number)
    if discussion["author"]["name"] != request.author:
        hub.require_owner(request)
    return discussion
