"""Routes for reading: trees, commits, refs and files."""

import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.hub.messages import Request, Response, Slice
from tests.hub.model import Commit, HttpError, lfs_pointer
from tests.hub.routes import API, REVISION, WEB, flag, requested_commit, route

if TYPE_CHECKING:
    from tests.hub.server import Hub


@route("GET", f"{API}/tree/{REVISION}(?:/(?P<path>.+))?")
def tree(hub: "Hub", request: Request) -> Response:
    commit = requested_commit(request)
    folder = request.parameters.get("path", "").rstrip("/")
    prefix = f"{folder}/" if folder else ""
    below = [path for path in commit.tree if path.startswith(prefix)]
    if folder and not below:
        raise HttpError(404, f"{folder} does not exist on {commit.id}", "EntryNotFound", {"X-Repo-Commit": commit.id})
    paths = {path for path in below if flag(request, "recursive") or "/" not in path[len(prefix) :]}
    for path in below:
        parents = path[len(prefix) :].split("/")[:-1]
        for depth in range(1, len(parents) + 1 if flag(request, "recursive") else min(2, len(parents) + 1)):
            paths.add(prefix + "/".join(parents[:depth]))
    return page(hub, request, sorted(paths), lambda path: item(request, commit, path))


@route("POST", f"{API}/paths-info/{REVISION}")
def paths_info(hub: "Hub", request: Request) -> Response:
    commit = requested_commit(request)
    form = request.form()
    request.query["expand"] = form.get("expand", ["false"])[0]
    folders = {path.rsplit("/", depth)[0] for path in commit.tree for depth in range(1, path.count("/") + 1)}
    paths = [path.strip("/") for path in form.get("paths", [])]
    return Response.json([item(request, commit, path) for path in paths if path in commit.tree or path in folders])


@route("GET", f"{API}/commits/{REVISION}")
def commits(hub: "Hub", request: Request) -> Response:
    def to_dict(commit: Commit) -> dict[str, Any]:
        fields = {"id": commit.id, "title": commit.title, "message": commit.message, "date": commit.date}
        return fields | {"authors": [{"user": commit.author}] if commit.author else []}

    return page(hub, request, [*request.repository.history(requested_commit(request))], to_dict)


def item(request: Request, commit: Commit, path: str) -> dict[str, Any]:
    """Returns the entry of a file or folder in a tree."""
    file = commit.tree.get(path)
    entry: dict[str, Any] = {"type": "file" if file else "directory", "path": path, "size": file.size if file else 0}
    if file is None:
        content = sorted((name, file.oid) for name, file in commit.tree.items() if name.startswith(f"{path}/"))
        entry["oid"] = hashlib.sha1(repr(content).encode()).hexdigest()
    else:
        entry["oid"] = file.oid
        if file.sha256:
            entry["lfs"] = {
                "oid": file.sha256,
                "size": file.size,
                "pointerSize": len(lfs_pointer(file.sha256, file.size)),
            }
    if flag(request, "expand"):
        last = request.repository.last_change(commit, path)
        entry |= {
            "lastCommit": {"id": last.id, "title": last.title, "date": last.date},
            "securityFileStatus": None,
        }
    return entry


def page(hub: "Hub", request: Request, entries: list[Any], to_dict: Callable[[Any], dict[str, Any]]) -> Response:
    start = int(request.query.get("cursor", 0))
    end = start + hub.page_size
    headers = {}
    if end < len(entries):
        query = urlencode(request.query | {"cursor": end})
        headers["Link"] = f'<{hub.url}{request.path}?{query}>; rel="next"'
    return Response.json([to_dict(entry) for entry in entries[start:end]], headers=headers)


@route("GET", f"{API}/refs")
def refs(hub: "Hub", request: Request) -> Response:
    groups = {"branches": "refs/heads/", "converts": "refs/convert/", "tags": "refs/tags/"}
    if flag(request, "include_prs"):
        groups["pullRequests"] = "refs/pr/"
    known = request.repository.state["refs"]

    def to_dict(ref: str, prefix: str) -> dict[str, str]:
        name = ref if prefix == "refs/pr/" else ref.removeprefix(prefix)
        return {"name": name, "ref": ref, "targetCommit": known[ref]}

    return Response.json(
        {group: [to_dict(ref, prefix) for ref in known if ref.startswith(prefix)] for group, prefix in groups.items()}
    )


@route("POST", f"{API}/branch/{REVISION}", "write")
def create_branch(hub: "Hub", request: Request) -> Response:
    start = request.body.json().get("startingPoint") or "main"
    request.repository.create_ref(f"refs/heads/{request.parameters['revision']}", start)
    return Response.json({})


@route("DELETE", f"{API}/branch/{REVISION}", "write")
def delete_branch(hub: "Hub", request: Request) -> Response:
    request.repository.delete_ref(f"refs/heads/{request.parameters['revision']}")
    return Response.json({})


@route("POST", f"{API}/tag/{REVISION}", "write")
def create_tag(hub: "Hub", request: Request) -> Response:
    request.repository.create_ref(f"refs/tags/{request.body.json()['tag']}", request.parameters["revision"])
    return Response.json({})


@route("DELETE", f"{API}/tag/{REVISION}", "write")
def delete_tag(hub: "Hub", request: Request) -> Response:
    request.repository.delete_ref(f"refs/tags/{request.parameters['revision']}")
    return Response.json({})


@route("GET", f"{WEB}/resolve/{REVISION}/(?P<path>.+)")
def resolve(hub: "Hub", request: Request) -> Response:
    commit = requested_commit(request)
    headers = {"X-Repo-Commit": commit.id, "Accept-Ranges": "bytes"}
    file = commit.tree.get(request.parameters["path"])
    if file is None:
        raise HttpError(404, "Entry not found", "EntryNotFound", headers)
    headers |= {"ETag": f'"{file.key}"', "Content-Type": "application/octet-stream"}
    if file.sha256:
        headers |= {"X-Linked-Etag": f'"{file.key}"', "X-Linked-Size": str(file.size)}
    start, end = 0, file.size
    status = 200
    if span := re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", "")):
        first, last = span.groups()
        if first:
            start, end = int(first), min(file.size, int(last) + 1 if last else file.size)
        elif last:
            start = max(0, file.size - int(last))
        if start >= end:
            raise HttpError(416, "Range not satisfiable", headers={"Content-Range": f"bytes */{file.size}"})
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    return Response(Slice(request.repository.object(file.key), start, end - start), status, headers)
