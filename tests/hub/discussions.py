"""Discussions and pull requests."""

from typing import TYPE_CHECKING, Any

from tests.hub.messages import Reply, Request
from tests.hub.model import Refusal, comment, event
from tests.hub.routes import API, DISCUSSION, route
from tests.hub.store import Repository

if TYPE_CHECKING:
    from tests.hub.server import Hub


def listed(repository: Repository, discussion: dict[str, Any]) -> dict[str, Any]:
    return discussion | {"repo": {"name": repository.id, "type": repository.kind.removesuffix("s")}}


@route("GET", f"{API}/discussions")
def discussions(hub: "Hub", request: Request) -> Reply:
    def chosen(discussion: dict[str, Any]) -> bool:
        kind, status, author = (request.query.get(name, "all") for name in ("type", "status", "author"))
        is_open = discussion["status"] in ("open", "draft")
        return (
            (kind == "all" or (kind == "pull_request") == discussion["isPullRequest"])
            and (status == "all" or (status == "open") == is_open)
            and (author == "all" or author == discussion["author"]["name"])
        )

    found = [each for each in reversed(request.repository.state["discussions"]) if chosen(each)]
    start = int(request.query.get("p", 0)) * hub.page_size
    shown = [listed(request.repository, each) for each in found[start : start + hub.page_size]]
    return Reply.json({"count": len(found), "start": start, "discussions": shown})


@route("POST", f"{API}/discussions", "account")
def open_discussion(hub: "Hub", request: Request) -> Reply:
    wanted = request.body.json()
    pull_request = bool(wanted.get("pullRequest"))
    opened = request.repository.discuss(
        wanted["title"],
        wanted.get("description", ""),
        request.author,
        base="main" if pull_request else None,
        status="draft" if pull_request else "open",
    )
    return Reply.json(listed(request.repository, opened))


@route("GET", DISCUSSION)
def discussion(hub: "Hub", request: Request) -> Reply:
    number = int(request.parameters["number"])
    found = listed(request.repository, request.repository.discussion(number))
    if found["isPullRequest"]:
        merged = found["status"] == "merged"
        found |= {"filesWithConflicts": [] if merged else request.repository.conflicts(number), "diff": None}
    return Reply.json(found)


@route("POST", f"{DISCUSSION}/comment", "account")
def add_comment(hub: "Hub", request: Request) -> Reply:
    said = comment(request.author, request.body.json()["comment"])
    return Reply.json({"newMessage": request.repository.note(int(request.parameters["number"]), said)})


@route("POST", f"{DISCUSSION}/title", "account")
def rename_discussion(hub: "Hub", request: Request) -> Reply:
    number, title = int(request.parameters["number"]), request.body.json()["title"]
    old = permit_change(hub, request, number)["title"]
    renamed = event("title-change", request.author, **{"from": old, "to": title})
    return Reply.json({"newTitle": request.repository.note(number, renamed, title=title)})


@route("POST", f"{DISCUSSION}/status", "account")
def change_status(hub: "Hub", request: Request) -> Reply:
    number, wanted = int(request.parameters["number"]), request.body.json()
    if permit_change(hub, request, number)["status"] == "merged" or wanted["status"] not in ("open", "closed"):
        raise Refusal(400, f"Discussion {number} cannot become {wanted['status']}")
    if wanted.get("comment"):
        request.repository.note(number, comment(request.author, wanted["comment"]))
    happened = event("status-change", request.author, status=wanted["status"])
    return Reply.json({"newStatus": request.repository.note(number, happened, status=wanted["status"])})


@route("POST", f"{DISCUSSION}/merge", "write")
def merge(hub: "Hub", request: Request) -> Reply:
    number, text = int(request.parameters["number"]), (request.body.json() or {}).get("comment")
    merged = request.repository.merge(number, request.author)
    if text:
        request.repository.note(number, comment(request.author, text))
    return Reply.json({"mergeCommitId": merged.id})


def permit_change(hub: "Hub", request: Request, number: int) -> dict[str, Any]:
    """The discussion, for its author and those who own the repository."""
    found = request.repository.discussion(number)
    if found["author"]["name"] != request.author:
        hub.require_owner(request)
    return found
