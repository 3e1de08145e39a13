"""Capabilities of a model, found by trying it on a few tokens: they follow from its logits, not from a list of names.

A method is used only if it gives the logits of the plain forward pass over one unpadded sequence. All trials are in
this file, because each compares with the same plain pass within the same tolerance.
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

# Errors of models that do not support a method.
UNSUPPORTED = (
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
# Config settings, in tokens, at which attention, positions or states may change their behaviour.
_LENGTH_SETTINGS = re.compile(
    r"window|chunk|block_size|original_max|topk|top_k|local_attention|max_position|n_positions"
)
# How many tokens are decoded across each of them.
_TOKENS_ACROSS = 3
HALF_DTYPES = (torch.bfloat16, torch.float16)

LogitsAt = Callable[[Tensor, Tensor], Tensor]


@contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """Converts half-precision weights to float32, so that trials show the computation and not its rounding; restores
    their dtype at the end, with changes that the model made (RWKV divides some weights by powers of two, once).

    Does nothing if memory does not hold both copies, or if weights are packed or spread over devices.
    """
    halves = [weight for weight in [*model.parameters(), *model.buffers()] if weight.dtype in HALF_DTYPES]
    needed = 4 * sum(weight.numel() for weight in halves)
    plain = all(type(weight.data) is Tensor and weight.device == model.device for weight in halves)
    if not plain or _is_packed(model) or needed > _free_memory(model.device) / 2:
        halves = []
    originals = [weight.data for weight in halves]
    try:
        for weight in halves:
            weight.data = weight.data.float()
        yield
    finally:
        for weight, data in zip(halves, originals, strict=True):
            weight.data = data.copy_(weight.data)


def _is_packed(model: Any) -> bool:
    """Whether quantized kernels compute with its weights; weights of GGUF files are dequantized when loaded."""
    config = getattr(getattr(model, "hf_quantizer", None), "quantization_config", None)
    return bool(getattr(model, "is_quantized", False)) and not getattr(config, "dequantize", False)


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


@dataclass(frozen=True)
class ReadMethod:
    """How the logits at some positions are computed.

    logits_at: the function (ids, mask) to logits. batchable: whether rows of a batch are independent. deterministic:
    whether repeated passes over a text give the same logits.
    """

    logits_at: LogitsAt
    batchable: bool
    deterministic: bool = True


@dataclass(frozen=True)
class DecodingMethod:
    """How a model decodes.

    cached: whether its KV state is used; else every step is a full pass. position_ids: whether it needs position ids.
    batchable: whether rows of a batch are independent. row_selection: whether rows of the KV state can be selected.
    prefix_cache: whether several rows can continue one cached prefix with several tokens each. left_padding: whether
    rows of different lengths can be batched. multi_token: whether several tokens at once can follow the KV state of a
    dialogue. masking: whether tokens of the KV state can be masked. bytes_per_token: size of the KV state.
    """

    cached: bool
    position_ids: bool = False
    batchable: bool = True
    row_selection: bool = False
    prefix_cache: bool = False
    left_padding: bool = False
    multi_token: bool = False
    masking: bool = False
    bytes_per_token: int = 0


def is_deterministic(forward: Forward, ids: Tensor) -> bool:
    """Whether two plain passes over the same tokens, (tokens,), agree; with random hashes they do not.

    Raises UserError for a model that does not accept text alone.
    """
    try:
        first, second = forward.logits(ids[None]), forward.logits(ids[None])
        if first.shape[:2] != (1, len(ids)):
            raise ValueError(f"its logits have shape {tuple(first.shape)} for {len(ids)} tokens")
    except UNSUPPORTED as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{type(forward.model).__name__} does not predict tokens from text alone ({reason}). Use a causal language "
            "model."
        ) from None
    return _close(forward, first, second)


def is_deterministic_at_length(forward: Forward, method: ReadMethod, ids: Tensor) -> bool:
    """The same at some positions of a long text: a model may hash only texts longer than a chunk."""
    mask = torch.zeros((1, len(ids)), dtype=torch.bool, device=ids.device)
    mask[0, torch.linspace(0, len(ids) - 1, min(8, len(ids)), device=ids.device).long()] = True
    return _close(forward, method.logits_at(ids[None], mask), method.logits_at(ids[None], mask))


def critical_lengths(config: Any, longest: int) -> list[int]:
    """The lengths in a config below `longest`, ascending: windows, chunks, lengths at which positions are scaled."""
    lengths: set[int] = set()

    def collect(settings: dict[str, Any]) -> None:
        for name, value in settings.items():
            if isinstance(value, dict):
                collect(value)
            elif type(value) is int and _TOKENS_ACROSS < value < longest and _LENGTH_SETTINGS.search(name):
                lengths.add(value)

    collect(config.get_text_config().to_dict())
    return sorted(lengths)


def probe_lengths(forward: Forward, method: ReadMethod, short: Tensor, long: Tensor) -> bool:
    """Whether a short text, (tokens,), and the longest text have the same logits in one batch, padded on the right, as
    alone. A few tokens do not show what depends on the length of a batch."""
    return _supports(_mixed_lengths, forward, method, short, long)


def _mixed_lengths(forward: Forward, method: ReadMethod, short: Tensor, long: Tensor) -> bool:
    texts = (short, long)
    rows = torch.stack([torch.cat([short, long[len(short) :]]), long])
    mask = torch.zeros(rows.shape, dtype=torch.bool, device=rows.device)
    for row, text in enumerate(texts):
        mask[row, torch.linspace(0, len(text) - 1, min(8, len(text)), device=rows.device).long()] = True
    alone = [method.logits_at(text[None], mask[row : row + 1, : len(text)]) for row, text in enumerate(texts)]
    return _close(forward, method.logits_at(rows, mask), torch.cat(alone))


def probe_prefix_cache(
    forward: Forward, read_method: ReadMethod, ids: Tensor, shared: int, method: DecodingMethod
) -> bool:
    """Whether the longest prompt, (tokens,), has the same logits after its cached prefix of `shared` tokens."""

    def trial() -> bool:
        prefix = KVState()
        forward.step(ids[None, :shared], prefix, method.position_ids)
        logits = forward.step(ids[None, shared:], prefix.repeat(1), method.position_ids)
        return _close(forward, logits, _last(forward, read_method, ids))

    return _supports(trial)


def _last(forward: Forward, method: ReadMethod, ids: Tensor) -> Tensor:
    """The logits after a text by a plain pass, (1, vocabulary)."""
    mask = torch.zeros((1, len(ids)), dtype=torch.bool, device=ids.device)
    mask[0, -1] = True
    return method.logits_at(ids[None], mask)


def probe_read_method(forward: Forward, ids: Tensor) -> ReadMethod:
    """ids: (tokens,), at least two of the tokens of the run. Raises UserError for a model that is not causal."""
    ids = ids[:PROBE_TOKENS]
    if not is_deterministic(forward, ids):
        return ReadMethod(forward.sliced, batchable=False, deterministic=False)
    full = forward.logits(ids[None])[0]
    short = ids[: max(1, len(ids) - 4)]
    # Later tokens must not change the logits of a text: then right padding cannot either.
    other = torch.cat([short, ids[:1].expand(len(ids) - len(short))])
    seen = forward.logits(other[None])[0][: len(short)]
    if not _mostly_close(forward, seen, full[: len(short)]):
        raise UserError(
            f"{type(forward.model).__name__} is not causal: its logits depend on later tokens. Use a causal language "
            "model."
        )
    # Nor may the number of later tokens.
    if not _mostly_close(forward, forward.logits(short[None])[0], full[: len(short)]):
        raise UserError(
            f"{type(forward.model).__name__} is not causal: its logits depend on the number of later tokens. Use a "
            "causal language model."
        )
    pair = forward.logits(torch.stack([ids, other]))
    batchable = _close(forward, pair[0], full) and _close(forward, pair[1][: len(short)], full[: len(short)])
    mask = torch.zeros((1, len(ids)), dtype=torch.bool, device=ids.device)
    mask[0, 1::2] = True
    for logits_at in (forward.masked, forward.at_head):
        try:
            logits = logits_at(ids[None], mask)
        except UNSUPPORTED:
            continue
        if logits.shape == full[1::2].shape and _close(forward, logits, full[1::2]):
            return ReadMethod(logits_at, batchable)
    return ReadMethod(forward.sliced, batchable)


def probe_decoding(
    forward: Forward, read_method: ReadMethod, prompt: Tensor, padding: int, given: int
) -> DecodingMethod:
    """prompt: (tokens,), one of the longest, with room for its output. padding: largest padding of other prompts, 0 for
    none. given: number of tokens before the output.

    Decoding from the KV state must give the logits of the plain pass at every length where the model may change its
    behaviour.
    """
    ids = (prompt if len(prompt) >= 4 else prompt.repeat(4))[:PROBE_TOKENS]
    if not is_deterministic(forward, ids):
        return DecodingMethod(False)
    full = forward.logits(ids[None])[0]
    plain = [False, True] if forward.takes("position_ids") else [False]
    methods = [DecodingMethod(True, positions, batchable) for batchable in (True, False) for positions in plain]
    method = next((method for method in methods if _supports(_steps, forward, ids, full, method)), None)
    starts = {length - 1 for length in critical_lengths(forward.model.config, len(prompt))} | {given, len(prompt) - 2}
    starts = {max(1, min(start, len(prompt) - 2)) for start in starts}
    if method is None or not all(
        _supports(_crossing, forward, read_method, prompt, start, method) for start in sorted(starts)
    ):
        return DecodingMethod(False)
    short = min(len(prompt) - padding, len(prompt) - 3)
    if padding and method.batchable and read_method.batchable and short > 0:
        # A model that counts positions itself miscounts with padding: then it gets position ids.
        for candidate in [replace(method, position_ids=positions) for positions in {method.position_ids, *plain}]:
            if _supports(_padded, forward, read_method, prompt, short, candidate) and _supports(
                _steps, forward, ids, full, candidate
            ):
                method = replace(candidate, left_padding=True)
                break
    row_selection = method.batchable and _supports(_row_selection, forward, ids, full, method)
    return replace(
        method,
        row_selection=row_selection,
        prefix_cache=row_selection and _supports(_prefix_cache, forward, ids, full, method),
        bytes_per_token=_bytes_per_token(forward, ids, method),
    )


def probe_dialogue(forward: Forward, ids: Tensor, method: DecodingMethod) -> DecodingMethod:
    """How turns follow each other; ids: (tokens,), as long as a whole dialogue.

    With masking, dialogues whose answers differ in length can be batched, and tokens that a chat template drops from
    earlier turns are masked.
    """
    for candidate in [
        replace(method, position_ids=positions) for positions in {method.position_ids, forward.takes("position_ids")}
    ]:
        if method.batchable and _supports(_masked_tokens, forward, ids, method, candidate):
            return replace(candidate, multi_token=True, masking=True)
    return replace(method, multi_token=_supports(_multi_token, forward, ids, method))


def _multi_token(forward: Forward, ids: Tensor, method: DecodingMethod) -> bool:
    """Whether a text in two blocks ends with the logits of the text in one."""
    third, last = len(ids) // 3, len(ids) - 1
    blocks = [_block_logits(forward, ids, ends, method) for ends in ((0, last, last + 1), (0, third, last, last + 1))]
    return all(_close(forward, *pair) for pair in zip(blocks[0][-2:], blocks[1][-2:], strict=True))


def _block_logits(forward: Forward, ids: Tensor, ends: tuple[int, ...], method: DecodingMethod) -> list[Tensor]:
    """The logits after each of several blocks with these ends."""
    state = KVState()
    return [forward.step(ids[None, start:end], state, method.position_ids) for start, end in pairwise(ends)]


def _masked_tokens(forward: Forward, ids: Tensor, trusted: DecodingMethod, method: DecodingMethod) -> bool:
    """Whether two rows with masked tokens at different positions end with the logits of the text without them, as
    computed by a trusted method."""
    third, last = len(ids) // 3, len(ids) - 1
    expected = torch.cat(_block_logits(forward, ids, (0, last, last + 1), trusted))
    masked = max(2, third // 2)
    other = ids[:1].expand(masked)
    # One far from the end, one right before it: within any attention window (counted in columns) and any state.
    starts = (third, last - 2)
    rows = torch.stack([torch.cat([ids[:start], other, ids[start:last]]) for start in starts])
    seen = torch.ones_like(rows)
    for row, start in enumerate(starts):
        seen[row, start : start + masked] = 0
    cut = 2 * third  # in two blocks, as in turns
    state = KVState(seen[:, :cut])
    forward.step(rows[:, :cut], state, method.position_ids)
    logits = forward.step(rows[:, cut:], state, method.position_ids, seen[:, cut:])
    # As for finished rows while others continue; one token may take another path than several.
    forward.step(other[:1].expand(2, 1), state, method.position_ids, torch.zeros_like(seen[:, :1]))
    after = forward.step(ids[None, last:].expand(2, 1), state, method.position_ids)
    return all(_close(forward, torch.stack(pair), expected) for pair in zip(logits, after, strict=True))


def _supports(trial: Callable[..., bool], *arguments: Any) -> bool:
    try:
        return trial(*arguments)
    except UNSUPPORTED:
        return False


def _steps(forward: Forward, ids: Tensor, full: Tensor, method: DecodingMethod) -> bool:
    """Whether decoding token by token gives the logits of the full pass."""
    rows = torch.stack([ids, ids.roll(1)]) if method.batchable else ids[None]
    expected = torch.stack([full, forward.logits(rows[-1:])[0]]) if method.batchable else full[None]
    state, given = KVState(), len(ids) - 2
    logits = [forward.step(rows[:, :given], state, method.position_ids)]
    logits += [
        forward.step(rows[:, position : position + 1], state, method.position_ids)
        for position in range(given, len(ids))
    ]
    return _close(forward, torch.stack(logits, dim=1), expected[:, given - 1 :])


def _crossing(forward: Forward, read_method: ReadMethod, ids: Tensor, start: int, method: DecodingMethod) -> bool:
    """Whether decoding some tokens after the first `start` gives the logits of plain passes."""
    state, ends = KVState(), range(start, min(start + _TOKENS_ACROSS, len(ids)) + 1)
    logits = [forward.step(ids[None, :start], state, method.position_ids)]
    logits += [forward.step(ids[None, end - 1 : end], state, method.position_ids) for end in ends[1:]]
    return _close(forward, torch.cat(logits), torch.cat([_last(forward, read_method, ids[:end]) for end in ends]))


def _row_selection(forward: Forward, ids: Tensor, full: Tensor, method: DecodingMethod) -> bool:
    """Whether the second of two rows continues after the first is dropped."""
    state, given = KVState(), len(ids) - 2
    forward.step(torch.stack([ids.roll(1), ids])[:, :given], state, method.position_ids)
    state.select(torch.tensor([1], device=ids.device))
    logits = [
        forward.step(ids[None, position : position + 1], state, method.position_ids)
        for position in range(given, len(ids))
    ]
    return _close(forward, torch.cat(logits), full[given:])


def _prefix_cache(forward: Forward, ids: Tensor, full: Tensor, method: DecodingMethod) -> bool:
    """Whether two rows can continue one cached prefix with several tokens each, and the prefix stays unchanged."""
    prefix, given, last = KVState(), len(ids) // 2, len(ids) - 1
    forward.step(ids[None, :given], prefix, method.position_ids)
    exact = True
    for _ in range(2):
        state = prefix.repeat(2)
        logits = forward.step(ids[None, given:last].expand(2, -1), state, method.position_ids)
        after = forward.step(ids[None, last:].expand(2, -1), state, method.position_ids)
        exact &= _close(forward, logits, full[[last - 1, last - 1]]) and _close(forward, after, full[[last, last]])
    return exact


def _padded(forward: Forward, read_method: ReadMethod, ids: Tensor, short: int, method: DecodingMethod) -> bool:
    """Whether a row of `short` tokens with left padding has the same logits as alone, at its end and one step later.

    In full length: what counts tokens from the start (such as chunked attention) does not show in a few tokens.
    """
    last = len(ids) - 1
    short_end, short_step, end, step = (
        _last(forward, read_method, ids[:length])[0] for length in (short, short + 1, last, last + 1)
    )
    rows = torch.stack([ids[:last], torch.cat([ids[-1:].expand(last - short), ids[:short]])])
    attention = torch.ones((2, last), dtype=torch.int64, device=ids.device)
    attention[1, : last - short] = 0
    state = KVState(attention)
    logits = forward.step(rows, state, method.position_ids)
    after = forward.step(torch.stack([ids[last:], ids[short : short + 1]]), state, method.position_ids)
    return _close(forward, logits, torch.stack([end, short_end])) and _close(
        forward, after, torch.stack([step, short_step])
    )


def _bytes_per_token(forward: Forward, ids: Tensor, method: DecodingMethod) -> int:
    state = KVState()
    forward.step(ids[None], state, method.position_ids)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(state.cache)) // len(ids)


def _tolerance(model: Any) -> float:
    """The tolerance of trials relative to the largest logit: above the effect of another order of additions, below that
    of another computation, as far as the dtype allows. Packed weights are coarse as well: LLM.int8 rounds differently
    if there are outliers anywhere in a batch."""
    coarse = _is_packed(model) or any(weight.dtype in HALF_DTYPES for weight in model.parameters())
    return 5e-2 if coarse else 1e-4


def _scale(logits: Tensor) -> float:
    finite = logits[torch.isfinite(logits)]
    return max(1.0, float(finite.abs().max()) if len(finite) else 1.0)


def _close(forward: Forward, logits: Tensor, expected: Tensor) -> bool:
    tolerance = _tolerance(forward.model) * _scale(expected)
    return torch.allclose(logits.float(), expected.float().to(logits.device), rtol=0, atol=tolerance, equal_nan=True)


def _mostly_close(forward: Forward, logits: Tensor, expected: Tensor) -> bool:
    """In half precision a mixture of experts may route single tokens differently; a model that is not causal differs
    at most tokens."""
    distance = (logits.float() - expected.float()).abs().amax(dim=-1)
    return bool((distance > _tolerance(forward.model) * _scale(expected)).float().mean() < 0.5)
