"""Finds a token path by which greedy decoding, with near ties broken either way, writes a given text and ends there.

A record stores texts, not tokens, and a text may have several tokenizations. The search begins with the tokenizer's
own; where that fails, it continues with tokens that the model nearly wrote.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from fflm_data.arrays import Ints
from harness.engine.decoding import Limit
from harness.errors import UserError
from harness.models.tokens import encode
from leaderboard.replay.tolerances import Tolerance, near_best

# Forward passes beyond two per token: near ties in a row are rare if a text is correct.
SPARE_PASSES = 64


@dataclass(frozen=True)
class GreedyDecoder:
    """The model for the search. logprobs: as `Engine.logprobs`. decode: token ids to text as in the observations.
    limit: where answers end, including all end tokens."""

    logprobs: Callable[[Ints, Ints], Tensor]
    decode: Callable[[list[int]], str]
    tokenizer: Any
    limit: Limit
    tolerance: Tolerance


@dataclass(frozen=True)
class GreedyPath:
    """tokens: token ids of a text. flips: number of places, including the end, where another token was more
    probable."""

    tokens: Ints
    flips: int


def find_greedy_path(decoder: GreedyDecoder, prompt: Ints, text: str, count: int) -> GreedyPath | None:
    """Returns a path of `count` tokens after a prompt (token ids) that writes a text and ends; None if there is
    none."""
    limit = decoder.limit
    if not 0 <= count <= limit.tokens:
        return None
    starts, pieces = _pieces(decoder.tokenizer, text)

    def completed(path: list[int]) -> list[int]:
        """Extends a path by the tokenizer's tokens of the remaining text."""
        rest = pieces[starts >= len(decoder.decode(path))]
        return [*path, *rest.tolist()][:count]

    def fits(path: list[int]) -> bool:
        """Returns whether a path can be extended to the text. Its last character may be incomplete."""
        prefix = decoder.decode(path)
        ended = limit.is_complete is not None and len(path) < count and limit.is_complete(prefix)
        return not ended and path[-1] not in limit.ends and text.startswith((prefix, prefix.rstrip("\ufffd")))

    # Decoding stops here whatever the model predicts next.
    full = count == limit.tokens or (limit.is_complete is not None and limit.is_complete(text))
    waiting: list[tuple[list[int], int]] = [([], 0)]
    for _ in range(2 * count + SPARE_PASSES):
        if not waiting:
            break
        path, flips = waiting.pop()
        candidate = completed(path)
        places = len(prompt) + np.arange(len(path), len(candidate) + 1)
        predictions = decoder.logprobs(np.append(prompt, candidate).astype(np.int64), places).numpy()
        for place, logprobs in enumerate(predictions, start=len(path)):
            near = near_best(logprobs, decoder.tolerance).tolist()
            if place == count:
                if decoder.decode(candidate) == text and (full or not limit.ends.isdisjoint(near)):
                    late = not full and near[0] not in limit.ends
                    return GreedyPath(np.array(candidate, dtype=np.int64), flips + late)
                break
            others = [[*candidate[:place], token] for token in near if [token] != candidate[place : place + 1]]
            waiting += [(other, flips + (other[-1] != near[0])) for other in reversed(others) if fits(other)]
            if place == len(candidate) or candidate[place] not in near or not fits(candidate[: place + 1]):
                break
            flips += candidate[place] != near[0]
    return None


def _pieces(tokenizer: Any, text: str) -> tuple[Ints, Ints]:
    """Returns the first character and the id of each token of a text; empty if the tokenizer cannot encode it."""
    none = np.zeros(0, dtype=np.int64)
    try:
        tokens = encode(tokenizer, [text], special=False, check=False)[0]
    except UserError:
        return none, none
    return tokens.spans[:, 0], tokens.ids
