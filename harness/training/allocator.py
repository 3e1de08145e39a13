"""Memory of freed tensors: kept by the process, since a training step allocates the same tensors again.

By default, glibc returns large blocks to the system, which clears every page again at the next step: 10% to 20% of the
time of a step of a small model.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGEST = 2**30


def keep_freed_memory() -> None:
    """Makes glibc keep freed blocks of up to 1 GiB. Does nothing on other systems."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGEST - 1)
