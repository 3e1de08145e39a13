"""Repositories on disk: objects by hash, commits as JSON, refs and discussions in one state file."""

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from tests.hub.model import (
    LFS_SUFFIXES,
    Change,
    Commit,
    File,
    HttpError,
    apply_changes,
    comment,
    differences,
    event,
    git_oid,
    goes_to_lfs,
    lfs_file,
    now,
)

ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()


class State(TypedDict):
    private: bool
    created: str
    refs: dict[str, str]
    discussions: list[dict[str, Any]]


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file atomically (temporary file, then rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{threading.get_ident()}.partial")
    partial.write_bytes(content)
    partial.replace(path)


class Repository:
    """A repository in a folder."""

    def __init__(self, folder: Path, kind: str, id: str, lock: threading.RLock) -> None:
        self.folder, self.kind, self.id, self._lock = folder, kind, id, lock

    @property
    def state(self) -> State:
        return json.loads((self.folder / "state.json").read_text(encoding="utf-8"))

    @contextmanager
    def changing(self) -> Iterator[State]:
        """Yields the state, and writes it back atomically unless an exception is raised."""
        with self._lock:
            state = self.state
            yield state
            write_atomically(self.folder / "state.json", json.dumps(state, indent=1).encode())

    # Objects

    def object(self, key: str) -> Path:
        return self.folder / "objects" / key[:2] / key

    def add_content(self, content: bytes) -> File:
        """Stores the content of a regular file."""
        file = File(git_oid(content), len(content))
        if not self.object(file.oid).exists():
            write_atomically(self.object(file.oid), content)
        return file

    def add_upload(self, upload: Path, sha256: str) -> None:
        """Moves a received LFS file into the store, if its hash is as announced."""
        with upload.open("rb") as stream:
            digest = hashlib.sha256()
            while piece := stream.read(2**20):
                digest.update(piece)
        if digest.hexdigest() != sha256:
            raise HttpError(400, f"The upload has sha256 {digest.hexdigest()}, not {sha256}")
        self.object(sha256).parent.mkdir(parents=True, exist_ok=True)
        upload.replace(self.object(sha256))

    def add_path(self, path: str, source: Path) -> File:
        content = source.read_bytes()
        if not goes_to_lfs(path, len(content)):
            return self.add_content(content)
        file = lfs_file(hashlib.sha256(content).hexdigest(), len(content))
        write_atomically(self.object(file.key), content)
        return file

    # Commits and refs

    def resolve(self, revision: str) -> Commit:
        """Returns the commit of a branch, tag, full ref or commit id."""
        refs = self.state["refs"]
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name in refs:
                return self.commit(refs[name])
        if re.fullmatch("[0-9a-f]{40}", revision):
            return self.commit(revision)
        raise HttpError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def commit(self, id: str) -> Commit:
        try:
            return Commit.from_json((self.folder / "commits" / f"{id}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise HttpError(404, f"Invalid rev id: {id}", "RevisionNotFound") from None

    def history(self, commit: Commit) -> Iterator[Commit]:
        """Yields the commit and its ancestors, newest first."""
        yield commit
        while commit.parent:
            commit = self.commit(commit.parent)
            yield commit

    def last_change(self, commit: Commit, path: str) -> Commit:
        """Returns the last commit that changed a file or the content of a folder."""

        def content(at: Commit) -> dict[str, File]:
            return {name: file for name, file in at.tree.items() if name == path or name.startswith(f"{path}/")}

        current, last = content(commit), commit
        for earlier in self.history(commit):
            if content(earlier) != current:
                break
            last = earlier
        return last

    def write(
        self, parent: Commit | None, tree: dict[str, File], title: str, message: str = "", author: str = ""
    ) -> Commit:
        """Stores a commit without a ref."""
        missing = [path for path, file in tree.items() if not self.object(file.key).exists()]
        if missing:
            raise HttpError(400, f"Not uploaded: {', '.join(missing)}")
        commit = Commit(parent.id if parent else None, title, message, author, now(), tree)
        write_atomically(self.folder / "commits" / f"{commit.id}.json", commit.to_json().encode())
        return commit

    def push(
        self,
        ref: str,
        changes: Iterable[Change],
        title: str,
        message: str = "",
        author: str = "",
        parent: str | None = None,
    ) -> Commit:
        """Commits to a ref, if its head is the expected parent."""
        with self.changing() as state:
            if not ref.startswith(("refs/heads/", "refs/pr/")) or ref not in state["refs"]:
                raise HttpError(404, f"Invalid rev id: {ref}", "RevisionNotFound")
            head = self.commit(state["refs"][ref])
            if parent and not head.id.startswith(parent):
                raise HttpError(412, "A commit has happened since. Please refresh and try again.")
            commit = self.write(head, apply_changes(head.tree, changes), title, message, author)
            state["refs"][ref] = commit.id
            for discussion in state["discussions"]:
                if ref == f"refs/pr/{discussion['num']}":
                    discussion["events"].append(event("commit", author, subject=title, oid=commit.id))
        return commit

    def create_ref(self, ref: str, revision: str) -> None:
        target = self.resolve(revision).id
        with self.changing() as state:
            if ref in state["refs"]:
                raise HttpError(409, f"Reference already exists: {ref}")
            state["refs"][ref] = target

    def delete_ref(self, ref: str) -> None:
        if ref == "refs/heads/main":
            raise HttpError(403, "The default branch cannot be deleted")
        with self.changing() as state:
            if state["refs"].pop(ref, None) is None:
                raise HttpError(404, f"Invalid rev id: {ref}", "RevisionNotFound")

    # Discussions and pull requests

    def discuss(
        self, title: str, description: str, author: str, base: str | None = None, status: str = "open"
    ) -> dict[str, Any]:
        """Opens a discussion, or an empty pull request if a base branch is given."""
        with self.changing() as state:
            number = len(state["discussions"]) + 1
            discussion = {
                "num": number,
                "title": title,
                "status": status,
                "isPullRequest": base is not None,
                "author": {"name": author},
                "createdAt": now(),
                "events": [comment(author, description)],
            }
            if base is not None:
                ref = f"refs/heads/{base}"
                if ref not in state["refs"]:
                    raise HttpError(404, f"Invalid rev id: {base}", "RevisionNotFound")
                discussion["changes"] = {"base": ref}
                state["refs"][f"refs/pr/{number}"] = state["refs"][ref]
            state["discussions"].append(discussion)
        return discussion

    def propose(
        self,
        base: str,
        changes: Iterable[Change],
        title: str,
        message: str = "",
        author: str = "",
        parent: str | None = None,
    ) -> tuple[int, Commit]:
        """Opens a pull request with one commit on top of the parent. Returns its number and the commit."""
        with self._lock:
            start = self.resolve(parent or base)
            commit = self.write(start, apply_changes(start.tree, changes), title, message, author)
            number = self.discuss(title, message, author, base)["num"]
            with self.changing() as state:
                state["refs"][f"refs/pr/{number}"] = commit.id
                state["discussions"][-1]["events"].append(event("commit", author, subject=title, oid=commit.id))
        return number, commit

    def discussion(self, number: int) -> dict[str, Any]:
        return find_discussion(self.state, number)

    def note(self, number: int, event: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Adds an event to a discussion and changes its fields; returns the event."""
        with self.changing() as state:
            discussion = find_discussion(state, number)
            discussion.update(changes)
            discussion["events"].append(event)
        return event

    def conflicts(self, number: int) -> list[str]:
        """Returns the paths that a pull request and its base changed differently since their common ancestor."""
        request, base, ancestor = self._sides(number)
        both = differences(ancestor.tree, request.tree) & differences(ancestor.tree, base.tree)
        return sorted(both & differences(request.tree, base.tree))

    def merge(self, number: int, author: str) -> Commit:
        with self._lock:
            discussion = self.discussion(number)
            if not discussion["isPullRequest"] or discussion["status"] != "open":
                raise HttpError(409, f"Not an open pull request: {number} is {discussion['status']}")
            if conflicts := self.conflicts(number):
                raise HttpError(409, f"Conflicts: {', '.join(conflicts)}")
            request, base, ancestor = self._sides(number)
            paths = sorted(differences(ancestor.tree, request.tree))
            title = f"{discussion['title']} (#{number})"
            merged = self.push(
                discussion["changes"]["base"],
                [(path, request.tree.get(path)) for path in paths if path in request.tree or path in base.tree],
                title,
                author=author,
            )
            changes = discussion["changes"] | {"mergeCommitId": merged.id}
            self.note(number, event("status-change", author, status="merged"), status="merged", changes=changes)
        return merged

    def _sides(self, number: int) -> tuple[Commit, Commit, Commit]:
        request, base = self.resolve(f"refs/pr/{number}"), self.resolve(self.discussion(number)["changes"]["base"])
        shared = {commit.id for commit in self.history(base)}
        ancestor = next(commit for commit in self.history(request) if commit.id in shared)
        return request, base, ancestor


def find_discussion(state: State, number: int) -> dict[str, Any]:
    if not 0 < number <= len(state["discussions"]):
        raise HttpError(404, f"No discussion {number}")
    return state["discussions"][number - 1]


class Store:
    """All repositories, by kind (models, datasets, spaces) and id."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.RLock()

    def find(self, kind: str, id: str) -> Repository | None:
        repository = Repository(self.root / kind / id, kind, id, self._lock)
        return repository if (repository.folder / "state.json").exists() else None

    def create(self, kind: str, id: str, private: bool = False, files: dict[str, bytes] | None = None) -> Repository:
        """Creates a repository with one commit, by default with only .gitattributes, as on the Hub."""
        with self._lock:
            if self.find(kind, id):
                raise HttpError(409, "You already created this repo")
            repository = Repository(self.root / kind / id, kind, id, self._lock)
            files = {".gitattributes": ATTRIBUTES} if files is None else files
            tree = {path: repository.add_content(content) for path, content in files.items()}
            first = repository.write(None, tree, "initial commit")
            state: State = {
                "private": private,
                "created": now(),
                "refs": {"refs/heads/main": first.id},
                "discussions": [],
            }
            write_atomically(repository.folder / "state.json", json.dumps(state, indent=1).encode())
        return repository

    def delete(self, repository: Repository) -> None:
        with self._lock:
            shutil.rmtree(repository.folder)
