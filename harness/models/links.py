"""Symbolic links in the folder of a model or an adapter: nothing outside the folder is read under its name.

The files of a snapshot in the cache of the Hub are links to the blobs beside it; those are as good as files.
"""

import errno
from collections.abc import Iterable
from pathlib import Path

from harness.errors import UserError

# models--ORG--NAME/snapshots/COMMIT/..., where files are links to models--ORG--NAME/blobs/HASH.
SNAPSHOTS, BLOBS, OF_REPOSITORY = "snapshots", "blobs", "models--"


def require_own(folder: Path, paths: Iterable[Path]) -> None:
    """Raises UserError for a path that leads out of the folder by a link or by its name, or is a link to nothing.

    What is not there is no link and not looked at. paths: in the folder, or in folders of it.
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
                f"{path} {leads}, and nothing outside the folder is read: copy the file into {folder}, or name the "
                "folder that it lies in"
            )


def _target(path: Path) -> Path:
    """Where a path leads, all links followed."""
    try:
        return path.resolve(strict=True)
    except FileNotFoundError:
        reason = f"is a link to {path.readlink()}, which is not there"
    except RuntimeError:  # before Python 3.13
        reason = "is a link that leads back to itself"
    except OSError as error:
        loop = error.errno == errno.ELOOP
        reason = "is a link that leads back to itself" if loop else f"cannot be followed ({error.strerror})"
    raise UserError(f"{path} {reason}: put the file itself into the folder")


def _blobs(root: Path) -> Path | None:
    """The folder of blobs of a snapshot in the cache of the Hub, or of a folder in one; None for other folders."""
    for snapshots in root.parents:
        repository = snapshots.parent
        if snapshots.name == SNAPSHOTS and repository.name.startswith(OF_REPOSITORY):
            return repository / BLOBS
    return None
