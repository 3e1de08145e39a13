"""How much a batch may hold on this device, and what happens when it was too much."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from fflm_data.arrays import Ints
from harness.engine.batches import Budget
from harness.errors import UserError

Output = TypeVar("Output")

# Where memory cannot be measured: activations of a layer, taken as 256 floats a token and unit of width.
ACTIVATION_BYTES = 1024
ASSUMED_MEMORY = 2**32
ASSUMED_LOGITS = 2**28
# Of the memory that is free, what the measured need of a batch may fill, and what its logits may.
SHARE, LOGITS_SHARE = 0.7, 0.2
# A batch larger than this is no faster on any device, and what is in flight is what a kill loses.
MOST_TOKENS = 2**18


def assumed_budget(width: int, vocabulary: int) -> Budget:
    """For a device whose memory is not measured, such as a CPU, where large batches are no faster than these."""
    tokens = ASSUMED_MEMORY // (ACTIVATION_BYTES * width)
    return Budget(min(MOST_TOKENS, max(1024, tokens)), max(1, ASSUMED_LOGITS // (4 * vocabulary)))


def fitting_budget(free: int, used: int, tokens: int, points: int, vocabulary: int) -> Budget:
    """From one probe: `used` bytes at the peak of a pass over `tokens` tokens with logits at `points` of them, and
    `free` bytes for a batch. Logits are counted as float32 and twice: as they are, and while they are summed."""
    row = 8 * vocabulary
    per_token = max(1, (used - points * row) // tokens)
    held = int(free * SHARE)
    most_points = max(1, int(held * LOGITS_SHARE) // row)
    return Budget(min(MOST_TOKENS, max(1, (held - most_points * row) // per_token)), most_points)


def measured_budget(
    run: Callable[[], object], device: torch.device, tokens: int, points: int, vocabulary: int, *, sharing: int
) -> Budget | None:
    """The budget after a run of one row of that many tokens; None where the device keeps no account of memory.

    sharing: how many processes compute on the device, each of which gets its part of what is free. Raises UserError
    if that row does not fit.
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
    """Runs rows batch by batch. When one does not fit into memory, what is left is cut again, and smaller.

    `shrink` is told of the batch that did not fit, so that `cut` makes smaller ones. Raises UserError if a single
    row does not fit.
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
        "there is not enough memory for a single row: add --dtype bfloat16, or --device-map auto to spread the model "
        "over several GPUs"
    )


@contextmanager
def single_row() -> Iterator[None]:
    """What is tried with one row must fit. Raises UserError if it does not."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise _no_memory() from None
        raise


def _unless_out_of_memory(run: Callable[[Ints], Output], batch: Ints) -> tuple[Output] | None:
    # The error holds the frames of the pass, and they its tensors: it must be gone before the next try.
    try:
        return (run(batch),)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    from accelerate.utils.memory import should_reduce_batch_size

    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or (isinstance(error, Exception) and bool(should_reduce_batch_size(error)))


def _release() -> None:
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)
