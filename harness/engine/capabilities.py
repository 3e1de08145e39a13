"""What a model can do, found by trying it once on a few tokens: no list of names says it, the logits do.

A way of computing is taken only if it gives what the plain forward pass over one unpadded sequence gives.
All trials are in this file, because each compares with the same plain pass within the same tolerance.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import psutil
import torch
from torch import Tensor

from harness.engine.forward import Forward, KVState, tensors_of
from harness.engine.memory import is_out_of_memory
from harness.errors import UserError

# A way that does not fit fails in many ways, each model's own.
MISFITS = (
    AttributeError,
    TypeError,
    IndexError,
    ValueError,
    RuntimeError,
    KeyError,
    NotImplementedError,
    StopIteration,
)
PROBE_TOKENS = 12
# Settings of a config at which attention, positions or states may change their ways, in tokens.
_TURNING = re.compile(r"window|chunk|block_size|original_max|topk|top_k|local_attention|max_position|n_positions")
# How many tokens are stepped over each of them.
_AROUND_TURNING = 3
HALVES = (torch.bfloat16, torch.float16)

Kept = Callable[[Tensor, Tensor], Tensor]


@contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """The weights of half precision in float32, where what is computed shows and rounding does not; then in their own
    dtype again, with what the model has changed in them meanwhile (RWKV divides some by powers of two, once).

    Left as they are where memory does not hold both, or where they are packed or spread over devices.
    """
    halves = [one for one in [*model.parameters(), *model.buffers()] if one.dtype in HALVES]
    needed = 4 * sum(one.numel() for one in halves)
    plain = all(type(one.data) is Tensor and one.device == model.device for one in halves)
    if not plain or _is_packed(model) or needed > _free_memory(model.device) / 2:
        halves = []
    as_they_were = [one.data for one in halves]
    try:
        for one in halves:
            one.data = one.data.float()
        yield
    finally:
        for one, data in zip(halves, as_they_were, strict=True):
            one.data = data.copy_(one.data)


def _is_packed(model: Any) -> bool:
    """Whether kernels of their own compute with its weights; those of a GGUF file are unpacked when it is loaded."""
    config = getattr(getattr(model, "hf_quantizer", None), "quantization_config", None)
    return bool(getattr(model, "is_quantized", False)) and not getattr(config, "dequantize", False)


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


@dataclass(frozen=True)
class Reading:
    """kept: how logits at some positions are had. together: whether rows of a batch leave each other alone. repeats:
    whether the same text is answered in the same way again."""

    kept: Kept
    together: bool
    repeats: bool = True


@dataclass(frozen=True)
class Completing:
    """How a model writes. steps: whether it keeps what it has seen; else every step reads all again.

    positions: whether it must be told where tokens stand. together: whether rows go side by side.
    leaving: whether some rows of what it keeps can be picked out. sharing: whether a beginning can be kept for many
    rows, each going on with several tokens. padded: whether rows of different lengths go together, padded on the
    left. blocks, masking: whether several tokens at once can follow what is kept of a dialogue, and whether some of it
    can be passed over. bytes_per_token: what is kept of each.
    """

    steps: bool
    positions: bool = False
    together: bool = True
    leaving: bool = False
    sharing: bool = False
    padded: bool = False
    blocks: bool = False
    masking: bool = False
    bytes_per_token: int = 0


def repeats_itself(forward: Forward, ids: Tensor) -> bool:
    """Whether two plain passes over the same tokens, (tokens,), say the same: random hashes do not.

    Raises UserError for a model that cannot be given text alone.
    """
    try:
        once, twice = forward.logits(ids[None]), forward.logits(ids[None])
        if once.shape[:2] != (1, len(ids)):
            raise ValueError(f"its logits have shape {tuple(once.shape)} for {len(ids)} tokens")
    except MISFITS as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{type(forward.model).__name__} says nothing of text alone ({reason}): give the id of a model that "
            "predicts the next token"
        ) from None
    return _close(forward, once, twice)


def repeats_at_length(forward: Forward, reading: Reading, ids: Tensor) -> bool:
    """The same at some places of a long text: a model may hash only what is longer than a chunk."""
    mask = torch.zeros((1, len(ids)), dtype=torch.bool, device=ids.device)
    mask[0, torch.linspace(0, len(ids) - 1, min(8, len(ids)), device=ids.device).long()] = True
    return _close(forward, reading.kept(ids[None], mask), reading.kept(ids[None], mask))


def turning_points(config: Any, longest: int) -> list[int]:
    """The lengths below `longest`, ascending, that a config names: windows, chunks, where positions are scaled."""
    found: set[int] = set()

    def look(facts: dict[str, Any]) -> None:
        for name, value in facts.items():
            if isinstance(value, dict):
                look(value)
            elif type(value) is int and _AROUND_TURNING < value < longest and _TURNING.search(name):
                found.add(value)

    look(config.get_text_config().to_dict())
    return sorted(found)


def probe_lengths(forward: Forward, reading: Reading, short: Tensor, long: Tensor) -> bool:
    """Whether a short text, (tokens,), says beside the longest one, padded on its right, what it says alone, and that
    one too. What depends on the length of a batch does not show in a few tokens."""
    return _fits(_beside, forward, reading, short, long)


def _beside(forward: Forward, reading: Reading, short: Tensor, long: Tensor) -> bool:
    texts = (short, long)
    rows = torch.stack([torch.cat([short, long[len(short) :]]), long])
    mask = torch.zeros(rows.shape, dtype=torch.bool, device=rows.device)
    for row, text in enumerate(texts):
        mask[row, torch.linspace(0, len(text) - 1, min(8, len(text)), device=rows.device).long()] = True
    alone = [reading.kept(text[None], mask[row : row + 1, : len(text)]) for row, text in enumerate(texts)]
    return _close(forward, reading.kept(rows, mask), torch.cat(alone))


def probe_sharing(forward: Forward, reading: Reading, ids: Tensor, shared: int, way: Completing) -> bool:
    """Whether the longest prompt, (tokens,), after its kept beginning of `shared` tokens says what it says at once."""

    def trial() -> bool:
        beginning = KVState()
        forward.step(ids[None, :shared], beginning, way.positions)
        said = forward.step(ids[None, shared:], beginning.repeated(1), way.positions)
        return _close(forward, said, _last(forward, reading, ids))

    return _fits(trial)


def _last(forward: Forward, reading: Reading, ids: Tensor) -> Tensor:
    """The logits after a text by a plain pass, (1, vocabulary)."""
    mask = torch.zeros((1, len(ids)), dtype=torch.bool, device=ids.device)
    mask[0, -1] = True
    return reading.kept(ids[None], mask)


def probe_reading(forward: Forward, ids: Tensor) -> Reading:
    """ids: (tokens,), two or more of them as the model will get them. Raises UserError for a model that looks ahead."""
    ids = ids[:PROBE_TOKENS]
    if not repeats_itself(forward, ids):
        return Reading(forward.sliced, together=False, repeats=False)
    full = forward.logits(ids[None])[0]
    short = ids[: max(1, len(ids) - 4)]
    # What follows a text must not change what is said in it: then padding on its right cannot either.
    other = torch.cat([short, ids[:1].expand(len(ids) - len(short))])
    seen = forward.logits(other[None])[0][: len(short)]
    if not _mostly_close(forward, seen, full[: len(short)]):
        raise UserError(
            f"{type(forward.model).__name__} sees what comes after a token: fflm scores causal language models"
        )
    # Nor may the number of tokens that follow, whatever they are.
    if not _mostly_close(forward, forward.logits(short[None])[0], full[: len(short)]):
        raise UserError(
            f"{type(forward.model).__name__} sees how much comes after a token: fflm scores causal language models"
        )
    pair = forward.logits(torch.stack([ids, other]))
    together = _close(forward, pair[0], full) and _close(forward, pair[1][: len(short)], full[: len(short)])
    mask = torch.zeros((1, len(ids)), dtype=torch.bool, device=ids.device)
    mask[0, 1::2] = True
    for way in (forward.masked, forward.at_head):
        try:
            kept = way(ids[None], mask)
        except MISFITS:
            continue
        if kept.shape == full[1::2].shape and _close(forward, kept, full[1::2]):
            return Reading(way, together)
    return Reading(forward.sliced, together)


def probe_completing(forward: Forward, reading: Reading, prompt: Tensor, padding: int, given: int) -> Completing:
    """prompt: (tokens,), one of the longest with what will be written after it; padding: how much of it others will
    need, 0 if none does; given: how many of its tokens are there before anything is written.

    What a model keeps must give what the plain forward pass gives, at every length where its ways may change.
    """
    ids = (prompt if len(prompt) >= 4 else prompt.repeat(4))[:PROBE_TOKENS]
    if not repeats_itself(forward, ids):
        return Completing(False)
    full = forward.logits(ids[None])[0]
    plain = [False, True] if forward.takes("position_ids") else [False]
    ways = [Completing(True, positions, together) for together in (True, False) for positions in plain]
    way = next((way for way in ways if _fits(_steps, forward, ids, full, way)), None)
    starts = {point - 1 for point in turning_points(forward.model.config, len(prompt))} | {given, len(prompt) - 2}
    starts = {max(1, min(start, len(prompt) - 2)) for start in starts}
    if way is None or not all(_fits(_crossing, forward, reading, prompt, start, way) for start in sorted(starts)):
        return Completing(False)
    short = min(len(prompt) - padding, len(prompt) - 3)
    if padding and way.together and reading.together and short > 0:
        # Padding hides where tokens stand from a model that counts them itself: then it is told.
        for told in [replace(way, positions=positions) for positions in {way.positions, *plain}]:
            if _fits(_padded, forward, reading, prompt, short, told) and _fits(_steps, forward, ids, full, told):
                way = replace(told, padded=True)
                break
    leaving = way.together and _fits(_leaving, forward, ids, full, way)
    return replace(
        way,
        leaving=leaving,
        sharing=leaving and _fits(_sharing, forward, ids, full, way),
        bytes_per_token=_bytes_per_token(forward, ids, way),
    )


def probe_dialogue(forward: Forward, ids: Tensor, way: Completing) -> Completing:
    """How turns follow each other; ids: (tokens,), as long as a whole dialogue.

    If what is kept can be passed over, rows whose answers differ in length go together, and what a template takes
    back is taken back.
    """
    for told in [replace(way, positions=positions) for positions in {way.positions, forward.takes("position_ids")}]:
        if way.together and _fits(_masked_tokens, forward, ids, way, told):
            return replace(told, blocks=True, masking=True)
    return replace(way, blocks=_fits(_blocks, forward, ids, way))


def _blocks(forward: Forward, ids: Tensor, way: Completing) -> bool:
    """Whether a text in two blocks says at its end what it says in one."""
    third, last = len(ids) // 3, len(ids) - 1
    blocks = [_stepped(forward, ids, ends, way) for ends in ((0, last, last + 1), (0, third, last, last + 1))]
    return all(_close(forward, *pair) for pair in zip(blocks[0][-2:], blocks[1][-2:], strict=True))


def _stepped(forward: Forward, ids: Tensor, ends: tuple[int, ...], way: Completing) -> list[Tensor]:
    """The logits after each of some blocks, that end at those places."""
    state = KVState()
    return [forward.step(ids[None, start:end], state, way.positions) for start, end in pairwise(ends)]


def _masked_tokens(forward: Forward, ids: Tensor, trusted: Completing, way: Completing) -> bool:
    """Whether two rows, with passed-over tokens at different places between, say at their end what they say without,
    by a way that is known to be right."""
    third, last = len(ids) // 3, len(ids) - 1
    expected = torch.cat(_stepped(forward, ids, (0, last, last + 1), trusted))
    gap = max(2, third // 2)
    other = ids[:1].expand(gap)
    # One far from the end, one right before it: within any window of attention, counted in columns, and any state.
    starts = (third, last - 2)
    rows = torch.stack([torch.cat([ids[:start], other, ids[start:last]]) for start in starts])
    seen = torch.ones_like(rows)
    for row, start in enumerate(starts):
        seen[row, start : start + gap] = 0
    cut = 2 * third  # in two blocks, as turns come
    state = KVState(seen[:, :cut])
    forward.step(rows[:, :cut], state, way.positions)
    said = forward.step(rows[:, cut:], state, way.positions, seen[:, cut:])
    # As for rows that have finished while others go on; one token may take another path than several.
    forward.step(other[:1].expand(2, 1), state, way.positions, torch.zeros_like(seen[:, :1]))
    after = forward.step(ids[None, last:].expand(2, 1), state, way.positions)
    return all(_close(forward, torch.stack([one, two]), expected) for one, two in zip(said, after, strict=True))


def _fits(trial: Callable[..., bool], *arguments: Any) -> bool:
    try:
        return trial(*arguments)
    except MISFITS:
        return False


def _steps(forward: Forward, ids: Tensor, full: Tensor, way: Completing) -> bool:
    """Whether a token at a time, after a text, says what the whole says."""
    rows = torch.stack([ids, ids.roll(1)]) if way.together else ids[None]
    expected = torch.stack([full, forward.logits(rows[-1:])[0]]) if way.together else full[None]
    state, given = KVState(), len(ids) - 2
    said = [forward.step(rows[:, :given], state, way.positions)]
    said += [forward.step(rows[:, place : place + 1], state, way.positions) for place in range(given, len(ids))]
    return _close(forward, torch.stack(said, dim=1), expected[:, given - 1 :])


def _crossing(forward: Forward, reading: Reading, ids: Tensor, start: int, way: Completing) -> bool:
    """Whether some tokens after the first `start` say, one by one, what plain passes up to each of them say."""
    state, ends = KVState(), range(start, min(start + _AROUND_TURNING, len(ids)) + 1)
    said = [forward.step(ids[None, :start], state, way.positions)]
    said += [forward.step(ids[None, end - 1 : end], state, way.positions) for end in ends[1:]]
    return _close(forward, torch.cat(said), torch.cat([_last(forward, reading, ids[:end]) for end in ends]))


def _leaving(forward: Forward, ids: Tensor, full: Tensor, way: Completing) -> bool:
    """Whether the second of two rows goes on when the first one has left."""
    state, given = KVState(), len(ids) - 2
    forward.step(torch.stack([ids.roll(1), ids])[:, :given], state, way.positions)
    state.of(torch.tensor([1], device=ids.device))
    said = [forward.step(ids[None, place : place + 1], state, way.positions) for place in range(given, len(ids))]
    return _close(forward, torch.cat(said), full[given:])


def _sharing(forward: Forward, ids: Tensor, full: Tensor, way: Completing) -> bool:
    """Whether two rows can follow one kept beginning, with several tokens each, and the beginning stays as it was."""
    beginning, given, last = KVState(), len(ids) // 2, len(ids) - 1
    forward.step(ids[None, :given], beginning, way.positions)
    exact = True
    for _ in range(2):
        state = beginning.repeated(2)
        said = forward.step(ids[None, given:last].expand(2, -1), state, way.positions)
        after = forward.step(ids[None, last:].expand(2, -1), state, way.positions)
        exact &= _close(forward, said, full[[last - 1, last - 1]]) and _close(forward, after, full[[last, last]])
    return exact


def _padded(forward: Forward, reading: Reading, ids: Tensor, short: int, way: Completing) -> bool:
    """Whether a row of `short` tokens padded on the left says what it says alone, at its end and one step later.

    At its whole length: what counts tokens from the beginning (chunks of attention, say) does not show in a few.
    """
    last = len(ids) - 1
    short_end, short_step, end, step = (
        _last(forward, reading, ids[:length])[0] for length in (short, short + 1, last, last + 1)
    )
    rows = torch.stack([ids[:last], torch.cat([ids[-1:].expand(last - short), ids[:short]])])
    attention = torch.ones((2, last), dtype=torch.int64, device=ids.device)
    attention[1, : last - short] = 0
    state = KVState(attention)
    said = forward.step(rows, state, way.positions)
    after = forward.step(torch.stack([ids[last:], ids[short : short + 1]]), state, way.positions)
    return _close(forward, said, torch.stack([end, short_end])) and _close(
        forward, after, torch.stack([step, short_step])
    )


def _bytes_per_token(forward: Forward, ids: Tensor, way: Completing) -> int:
    state = KVState()
    forward.step(ids[None], state, way.positions)
    return sum(one.numel() * one.element_size() for one in tensors_of(state.kept)) // len(ids)


def _share(model: Any) -> float:
    """What part of the largest logit two ways may differ by: above what another order of additions changes, below what
    another computation does, where the numbers are fine enough to tell. Packed weights make coarse numbers too: 8 bits
    (LLM.int8) round what is large anywhere in a batch otherwise."""
    coarse = _is_packed(model) or any(one.dtype in HALVES for one in model.parameters())
    return 5e-2 if coarse else 1e-4


def _scale(logits: Tensor) -> float:
    finite = logits[torch.isfinite(logits)]
    return max(1.0, float(finite.abs().max()) if len(finite) else 1.0)


def _close(forward: Forward, one: Tensor, other: Tensor) -> bool:
    tolerance = _share(forward.model) * _scale(other)
    return torch.allclose(one.float(), other.float().to(one.device), rtol=0, atol=tolerance, equal_nan=True)


def _mostly_close(forward: Forward, one: Tensor, other: Tensor) -> bool:
    """In half precision a mixture of experts may send a token elsewhere; a model that looks ahead differs all over."""
    far = (one.float() - other.float()).abs().amax(dim=-1) > _share(forward.model) * _scale(other)
    return bool(far.float().mean() < 0.5)
