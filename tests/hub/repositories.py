"""Accounts, and repositories as whole: made, deleted, described."""

import hashlib
import re
from typing import TYPE_CHECKING, Any

from tests.hub.messages import Reply, Request
from tests.hub.model import File, Refusal, lfs_pointer
from tests.hub.routes import API, ID, REVISION, resolved, route

if TYPE_CHECKING:
    from tests.hub.server import Hub


@route("GET", "/api/whoami-v2", "open")
def whoami(hub: "Hub", request: Request) -> Reply:
    account = request.account
    if account is None:
        raise Refusal(401, "Invalid username or password.")
    return Reply.json(
        {
            "type": "user",
            "name": account.name,
            "fullname": account.name,
            "orgs": [{"name": name, "roleInOrg": account.role} for name in account.orgs],
            "auth": {"accessToken": {"displayName": "test", "role": account.role}},
        }
    )


def named(request: Request) -> tuple[str, str, dict[str, Any]]:
    """Kind and id of the repository that a body names, for an account that may write there."""
    body = request.body.json()
    id = f"{body.get('organization') or request.author}/{body.get('name')}"
    if not re.fullmatch(ID, id):
        raise Refusal(400, f"Invalid repository name: {id!r}")
    if request.account is None or not request.account.belongs_to(id):
        raise Refusal(403, f"You don't have the rights to create or delete {id}")
    return f"{body.get('type') or 'model'}s", id, body


@route("POST", "/api/repos/create", "account")
def create_repository(hub: "Hub", request: Request) -> Reply:
    kind, id, body = named(request)
    answer = {"url": hub.address(kind, id), "name": id}
    try:
        # The older clients send a flag.
        hub.store.create(kind, id, private=body.get("visibility") == "private" or body.get("private") is True)
    except Refusal as refusal:
        return Reply.json(answer | {"error": refusal.message}, refusal.status)
    return Reply.json(answer)


@route("DELETE", "/api/repos/delete", "account")
def delete_repository(hub: "Hub", request: Request) -> Reply:
    kind, id, _ = named(request)
    hub.store.delete(hub.visible(kind, id, request.account))
    return Reply.json({})


@route("PUT", f"{API}/settings", "write")
def change_settings(hub: "Hub", request: Request) -> Reply:
    visibility = request.body.json().get("visibility")
    with request.repository.changing() as state:
        state["private"] = state["private"] if visibility is None else visibility == "private"
    return Reply.json({})


@route("GET", API)
@route("GET", f"{API}/revision/{REVISION}")
def repository_info(hub: "Hub", request: Request) -> Reply:
    repository = request.repository
    commit = resolved(request)
    state = repository.state
    return Reply.json(
        {
            "_id": hashlib.sha1(repository.id.encode()).hexdigest()[:24],
            "id": repository.id,
            "author": repository.id.split("/")[0],
            "sha": commit.id,
            "private": state["private"],
            "gated": False,
            "disabled": False,
            "createdAt": state["created"],
            "lastModified": commit.date,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [
                sibling(path, file, blobs="blobs" in request.query) for path, file in sorted(commit.tree.items())
            ],
        }
    )


def sibling(path: str, file: File, blobs: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"rfilename": path}
    if blobs:
        found |= {"size": file.size, "blobId": file.oid}
        if file.sha256:
            found["lfs"] = {
                "size": file.size,
                "sha256": file.sha256,
                "pointerSize": len(lfs_pointer(file.sha256, file.size)),
            }
    return found
