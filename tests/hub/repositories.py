"""Routes for accounts, and for creating, deleting and describing repositories."""

import hashlib
import re
from typing import TYPE_CHECKING, Any

from tests.hub.messages import Request, Response
from tests.hub.model import File, HttpError, lfs_pointer
from tests.hub.routes import API, ID, REVISION, requested_commit, route

if TYPE_CHECKING:
    from tests.hub.server import Hub


@route("GET", "/api/whoami-v2", "open")
def whoami(hub: "Hub", request: Request) -> Response:
    account = request.account
    if account is None:
        raise HttpError(401, "Invalid username or password.")
    return Response.json(
        {
            "type": "user",
            "name": account.name,
            "fullname": account.name,
            "orgs": [{"name": name, "roleInOrg": account.role} for name in account.orgs],
            "auth": {"accessToken": {"displayName": "test", "role": account.role}},
        }
    )


def requested_repository(request: Request) -> tuple[str, str, dict[str, Any]]:
    """Returns kind, id and body of a request to create or delete a repository, after a permission check."""
    body = request.body.json()
    id = f"{body.get('organization') or request.author}/{body.get('name')}"
    if not re.fullmatch(ID, id):
        raise HttpError(400, f"Invalid repository name: {id!r}")
    if request.account is None or not request.account.belongs_to(id):
        raise HttpError(403, f"You don't have the rights to create or delete {id}")
    return f"{body.get('type') or 'model'}s", id, body


@route("POST", "/api/repos/create", "account")
def create_repository(hub: "Hub", request: Request) -> Response:
    kind, id, body = requested_repository(request)
    answer = {"url": hub.address(kind, id), "name": id}
    try:
        # Older clients send `private` instead of `visibility`.
        hub.store.create(kind, id, private=body.get("visibility") == "private" or body.get("private") is True)
    except HttpError as error:
        return Response.json(answer | {"error": error.message}, error.status)
    return Response.json(answer)


@route("DELETE", "/api/repos/delete", "account")
def delete_repository(hub: "Hub", request: Request) -> Response:
    kind, id, _ = requested_repository(request)
    hub.store.delete(hub.visible(kind, id, request.account))
    return Response.json({})


@route("PUT", f"{API}/settings", "write")
def change_settings(hub: "Hub", request: Request) -> Response:
    visibility = request.body.json().get("visibility")
    with request.repository.changing() as state:
        state["private"] = state["private"] if visibility is None else visibility == "private"
    return Response.json({})


@route("GET", API)
@route("GET", f"{API}/revision/{REVISION}")
def repository_info(hub: "Hub", request: Request) -> Response:
    repository = request.repository
    commit = requested_commit(request)
    state = repository.state
    return Response.json(
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
    entry: dict[str, Any] = {"rfilename": path}
    if blobs:
        entry |= {"size": file.size, "blobId": file.oid}
        if file.sha256:
            entry["lfs"] = {
                "size": file.size,
                "sha256": file.sha256,
                "pointerSize": len(lfs_pointer(file.sha256, file.size)),
            }
    return entry
