"""Symbolic links in the folder of a model or adapter: links that leave the folder are refused.

The files of a snapshot in the Hub cache are links to blobs beside it; these are allowed.
"""

import errno
from collections.abc import Iterable
from pathlib import Path

from harness.errors import UserError

# models--ORG--NAME/snapshots/COMMIT/..., where files are links to models--ORG--NAME/blobs/HASH.
SNAPSHOTS, BLOBS, REPOSITORY_PREFIX = "snapshots", "blobs", "models--"


def require_own(folder: Path, paths: Iterable[Path]) -> None:
    """Raises UserError for a path that leaves the folder, by a link or by its name, or is a broken link.

    Paths that do not exist are ignored. paths: in the folder or its subfolders.
    """
    root = folder.resolve()
    blobs = _blobs(root)
    for path in paths:
        if not path.exists() and not path.is_symlink():
            continue
        target = _target(path)
        if not target.is_relative_to(root) and target.parent != blobs:
            leads = f"is a link to {target}" if path.is_symlink() else f"is {target}"
            raise UserError(
                f"{path} {leads}, outside the folder: copy the file into {folder}, or name the folder that contains it"
            )


def _target(path: Path) -> Path:
    """The target of a path, with all links followed."""
    try:
        return path.resolve(strict=True)
    except FileNotFoundError:
        reason = f"is a link to {path.readlink()}, which does not exist"
    except RuntimeError:  # before Python 3.13
        reason = "is a link to itself"
    except OSError as error:
        loop = error.errno == errno.ELOOP
        reason = "is a link to itself" if loop else f"cannot be followed ({error.strerror})"
    raise UserError(f"{path} {reason}: put the file itself into the folder")


def _blobs(root: Path) -> Path | None:
    """The blobs folder for a snapshot in the Hub cache or a subfolder of one; None for other folders."""
    for snapshots in root.parents:
        repository = snapshots.parent
        if snapshots.name == SNAPSHOTS and repository.name.startswith(REPOSITORY_PREFIX):
            return repository / BLOBS
    return None
