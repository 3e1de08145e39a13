"""Routes for pushing: preupload, LFS objects, commits."""

import base64
import hashlib
import json
import re
from math import ceil
from typing import TYPE_CHECKING, Any

from tests.hub.messages import Request, Response
from tests.hub.model import REGULAR_LIMIT, Change, HttpError, goes_to_lfs, lfs_file
from tests.hub.routes import API, REVISION, WEB, flag, requested_commit, route
from tests.hub.store import Repository

if TYPE_CHECKING:
    from tests.hub.server import Hub


@route("POST", "/api/validate-yaml", "open")
def validate_yaml(hub: "Hub", request: Request) -> Response:
    return Response.json({"errors": [], "warnings": []})


def permit_push(hub: "Hub", request: Request) -> None:
    """Any account may open a pull request; only owners may write to branches."""
    if not flag(request, "create_pr") and not request.parameters["revision"].startswith("refs/pr/"):
        hub.require_owner(request)


@route("POST", f"{API}/preupload/{REVISION}", "account")
def preupload(hub: "Hub", request: Request) -> Response:
    permit_push(hub, request)
    present = requested_commit(request).tree

    def upload_plan(path: str, size: int) -> dict[str, Any]:
        plan = {"path": path, "uploadMode": "lfs" if goes_to_lfs(path, size) else "regular", "shouldIgnore": False}
        return plan | ({"oid": present[path].key} if path in present else {})

    return Response.json({"files": [upload_plan(file["path"], file["size"]) for file in request.body.json()["files"]]})


@route("POST", rf"{WEB}\.git/info/lfs/objects/batch", "account")
def lfs_batch(hub: "Hub", request: Request) -> Response:
    objects = [lfs_actions(hub, request.repository, entry) for entry in request.body.json()["objects"]]
    return Response.json({"transfer": "basic", "objects": objects})


def lfs_actions(hub: "Hub", repository: Repository, entry: dict[str, Any]) -> dict[str, Any]:
    oid, size = str(entry["oid"]), int(entry["size"])
    answer: dict[str, Any] = {"oid": oid, "size": size}
    if not re.fullmatch("[0-9a-f]{64}", oid):
        return answer | {"error": {"code": 422, "message": f"Not a sha256: {oid}"}}
    if repository.object(oid).exists():
        return answer
    href = f"{hub.url}/lfs/{hub.open_upload(repository, oid, size)}"
    upload: dict[str, Any] = {"href": href}
    if hub.chunk_size is not None and size > hub.chunk_size:
        parts = range(1, ceil(size / hub.chunk_size) + 1)
        upload["header"] = {"chunk_size": str(hub.chunk_size)} | {str(part): f"{href}/{part}" for part in parts}
    verify = f"{hub.address(repository.kind, repository.id)}.git/info/lfs/objects/verify"
    return answer | {"actions": {"upload": upload, "verify": {"href": verify}}}


@route("PUT", r"/lfs/(?P<ticket>\w+)", "open")
def receive_object(hub: "Hub", request: Request) -> Response:
    upload = hub.upload(request.parameters["ticket"])
    with hub.receiving(request) as (received, _):
        if received.stat().st_size != upload.size:
            raise HttpError(400, f"Received {received.stat().st_size} of {upload.size} bytes")
        upload.repository.add_upload(received, upload.oid)
    return Response()


@route("PUT", r"/lfs/(?P<ticket>\w+)/(?P<part>\d+)", "open")
def receive_part(hub: "Hub", request: Request) -> Response:
    upload = hub.upload(request.parameters["ticket"])
    with hub.receiving(request) as (received, md5):
        part = upload.folder / request.parameters["part"]
        part.parent.mkdir(parents=True, exist_ok=True)
        received.replace(part)
    return Response(headers={"ETag": f'"{md5}"'})


@route("POST", r"/lfs/(?P<ticket>\w+)", "open")
def complete_object(hub: "Hub", request: Request) -> Response:
    upload = hub.upload(request.parameters["ticket"])
    complete = upload.folder / "complete"
    with complete.open("wb") as target:
        for number, part in enumerate(request.body.json()["parts"], start=1):
            content = (upload.folder / str(number)).read_bytes()
            if part != {"partNumber": number, "etag": f'"{hashlib.md5(content).hexdigest()}"'}:
                raise HttpError(400, f"Part {number} differs from the received part")
            target.write(content)
    upload.repository.add_upload(complete, upload.oid)
    return Response.json({})


@route("POST", rf"{WEB}\.git/info/lfs/objects/verify", "account")
def verify_object(hub: "Hub", request: Request) -> Response:
    entry = request.body.json()
    stored = request.repository.object(entry["oid"])
    if not stored.exists() or stored.stat().st_size != entry["size"]:
        raise HttpError(404, f"Not uploaded: {entry['oid']}")
    return Response.json({})


@route("POST", f"{API}/commit/{REVISION}", "account")
def commit(hub: "Hub", request: Request) -> Response:
    permit_push(hub, request)
    repository, revision = request.repository, request.parameters["revision"]
    lines = [json.loads(line) for line in request.body.read().splitlines()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    changes = [operation(hub, repository, line["key"], line["value"]) for line in lines if line["key"] != "header"]
    details: tuple[str, str, str, str | None] = (
        header["summary"],
        header.get("description", ""),
        request.author,
        header.get("parentCommit"),
    )
    answer = {}
    if flag(request, "create_pr"):
        number, new_commit = repository.propose(revision, changes, *details)
        answer["pullRequestUrl"] = f"{hub.address(repository.kind, repository.id)}/discussions/{number}"
    else:
        new_commit = repository.push(branch(revision), changes, *details)
    url = f"{hub.address(repository.kind, repository.id)}/commit/{new_commit.id}"
    return Response.json({"success": True, "commitOid": new_commit.id, "commitUrl": url} | answer)


def branch(revision: str) -> str:
    return revision if revision.startswith("refs/") else f"refs/heads/{revision}"


def operation(hub: "Hub", repository: Repository, key: str, value: dict[str, Any]) -> Change:
    """Converts a line of a commit request to a change of the tree."""
    path = value["path"]
    match key:
        case "file":
            content = base64.b64decode(value["content"])
            if len(content) > REGULAR_LIMIT:
                raise HttpError(400, f"{path} is too large for a regular file")
            hub.count("regular", len(content))
            return path, repository.add_content(content)
        case "lfsFile":
            stored = repository.object(value["oid"])
            if not stored.exists():
                raise HttpError(400, f"{path} points to an LFS object that was not uploaded: {value['oid']}")
            return path, lfs_file(value["oid"], stored.stat().st_size)
        case "deletedFile":
            return path, None
        case "deletedFolder":
            return f"{path.rstrip('/')}/", None
    raise HttpError(400, f"Unknown operation: {key}")
