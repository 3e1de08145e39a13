"""Memory budget of a batch on a device, and retries after running out of memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from fflm_data.arrays import Ints
from harness.engine.batches import Budget
from harness.errors import UserError

Output = TypeVar("Output")

# Without memory measurements: activations of a layer, as 256 floats per token and unit of width.
ACTIVATION_BYTES = 1024
ASSUMED_MEMORY = 2**32
ASSUMED_LOGITS = 2**28
# Shares of the free memory for a batch, and of that for its logits.
SHARE, LOGITS_SHARE = 0.7, 0.2
# Larger batches are not faster on any device, and a killed run loses its current batch.
MAX_TOKENS = 2**18


def assumed_budget(width: int, vocabulary: int) -> Budget:
    """The budget for a device without memory measurements, such as a CPU, where larger batches are not faster."""
    tokens = ASSUMED_MEMORY // (ACTIVATION_BYTES * width)
    return Budget(min(MAX_TOKENS, max(1024, tokens)), max(1, ASSUMED_LOGITS // (4 * vocabulary)))


def fitting_budget(free: int, used: int, tokens: int, points: int, vocabulary: int) -> Budget:
    """The budget from one measurement: a pass over `tokens` tokens with logits at `points` of them had a peak of `used`
    bytes, and `free` bytes are available. Logits count twice as float32: themselves and their sums."""
    row = 8 * vocabulary
    per_token = max(1, (used - points * row) // tokens)
    available = int(free * SHARE)
    max_points = max(1, int(available * LOGITS_SHARE) // row)
    return Budget(min(MAX_TOKENS, max(1, (available - max_points * row) // per_token)), max_points)


def measured_budget(
    run: Callable[[], object], device: torch.device, tokens: int, points: int, vocabulary: int, *, sharing: int
) -> Budget | None:
    """The budget measured with a run of one row of `tokens` tokens; None if the device does not report memory.

    sharing: number of processes on the device, among which the free memory is divided. Raises UserError if the row
    does not fit.
    """
    if device.type != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with single_row():
        run()
    torch.cuda.synchronize()
    used = torch.cuda.max_memory_allocated() - before
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    return fitting_budget(free // sharing, used, tokens, points, vocabulary)


def retry_on_out_of_memory(
    rows: Ints, cut: Callable[[Ints], list[Ints]], run: Callable[[Ints], Output], shrink: Callable[[Ints], None]
) -> Iterator[Output]:
    """Runs rows batch by batch. If a batch does not fit into memory, the remaining rows are cut into smaller batches.

    shrink: called with the batch that did not fit, so that `cut` makes smaller ones. Raises UserError if a single row
    does not fit.
    """
    waiting = cut(rows)[::-1]
    while waiting:
        batch = waiting.pop()
        output = _unless_out_of_memory(run, batch)
        if output is not None:
            yield output[0]
            continue
        _release()
        if len(batch) == 1:
            raise _no_memory()
        shrink(batch)
        waiting = cut(np.concatenate([batch, *waiting[::-1]]))[::-1]


def _no_memory() -> UserError:
    return UserError(
        "not enough memory for a single row. Add --dtype bfloat16, or --device-map auto to spread the model over "
        "several GPUs."
    )


@contextmanager
def single_row() -> Iterator[None]:
    """Around a trial with one row. Raises UserError if it runs out of memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise _no_memory() from None
        raise


def _unless_out_of_memory(run: Callable[[Ints], Output], batch: Ints) -> tuple[Output] | None:
    # The error references the frames of the pass and their tensors: it must be released before the next try.
    try:
        return (run(batch),)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an out-of-memory error of any device."""
    from accelerate.utils.memory import should_reduce_batch_size

    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or (isinstance(error, Exception) and bool(should_reduce_batch_size(error)))


def _release() -> None:
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)
