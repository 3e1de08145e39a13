"""Whether a text is what greedy decoding writes, up to near ties: the tokens that write it, each the most probable or
nearly so, and an end where it ends.

A record has texts, not tokens, and a text can be written with several. They are guessed by the tokenizer, and where
the guess fails the search goes on with whatever the model itself nearly wrote.
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
from leaderboard.replay.agreement import Tolerance, near_best

# Passes beyond two a token: near ties in a row are few where a text is right.
SPARE_PASSES = 64


@dataclass(frozen=True)
class Writer:
    """What retracing needs of a writer. logprobs: as `Engine.logprobs`. decode: tokens to text as it stands in
    observations. limit: where answers end, by all tokens that end one."""

    logprobs: Callable[[Ints, Ints], Tensor]
    decode: Callable[[list[int]], str]
    tokenizer: Any
    limit: Limit
    tolerance: Tolerance


@dataclass(frozen=True)
class Retraced:
    """tokens: those that write a text. flips: at how many places, its end among them, another was more probable."""

    tokens: Ints
    flips: int


def retrace(writer: Writer, prompt: Ints, text: str, count: int) -> Retraced | None:
    """How `count` tokens after a prompt, token ids, write a text and end there; None if greedy decoding does not."""
    limit = writer.limit
    if not 0 <= count <= limit.tokens:
        return None
    starts, pieces = _pieces(writer.tokenizer, text)

    def completed(path: list[int]) -> list[int]:
        """Some tokens, and those that the tokenizer writes the rest of the text with."""
        rest = pieces[starts >= len(writer.decode(path))]
        return [*path, *rest.tolist()][:count]

    def fits(path: list[int]) -> bool:
        """Whether a text that begins like this can become the one; its last character may be half written."""
        said = writer.decode(path)
        ended = limit.is_complete is not None and len(path) < count and limit.is_complete(said)
        return not ended and path[-1] not in limit.ends and text.startswith((said, said.rstrip("\ufffd")))

    # Nothing more would be written, whatever the model thinks.
    full = count == limit.tokens or (limit.is_complete is not None and limit.is_complete(text))
    waiting: list[tuple[list[int], int]] = [([], 0)]
    for _ in range(2 * count + SPARE_PASSES):
        if not waiting:
            break
        path, flips = waiting.pop()
        guess = completed(path)
        places = len(prompt) + np.arange(len(path), len(guess) + 1)
        said = writer.logprobs(np.append(prompt, guess).astype(np.int64), places).numpy()
        for place, logprobs in enumerate(said, start=len(path)):
            near = near_best(logprobs, writer.tolerance).tolist()
            if place == count:
                if writer.decode(guess) == text and (full or not limit.ends.isdisjoint(near)):
                    late = not full and near[0] not in limit.ends
                    return Retraced(np.array(guess, dtype=np.int64), flips + late)
                break
            others = [[*guess[:place], token] for token in near if [token] != guess[place : place + 1]]
            waiting += [(other, flips + (other[-1] != near[0])) for other in reversed(others) if fits(other)]
            if place == len(guess) or guess[place] not in near or not fits(guess[: place + 1]):
                break
            flips += guess[place] != near[0]
    return None


def _pieces(tokenizer: Any, text: str) -> tuple[Ints, Ints]:
    """At which character each token of a text begins, and its id; none for a text that the tokenizer cannot write."""
    none = np.zeros(0, dtype=np.int64)
    try:
        tokens = encode(tokenizer, [text], special=False, check=False)[0]
    except UserError:
        return none, none
    return tokens.spans[:, 0], tokens.ids
