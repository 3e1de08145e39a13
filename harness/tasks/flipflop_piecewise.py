"""
name: flipflop-piecewise
what: flip-flop strings that change within: dense writes, then a sparse tail
paper: arXiv 2306.00946, on which models trained on a mixture of distributions still err
data: fflm_data config flipflop-piecewise, test
scored: as flipflop; nearly all reads stand in the dense head, so those of the tail are scored apart
rendering: the symbols joined by single spaces, nothing before them, or plain, as of flipflop
baselines: chance; the most frequent symbol; the previous data symbol
"""

from typing import ClassVar

from fflm_data.arrays import Bools, Ints
from fflm_data.flipflop import FlipFlopPiecewise
from harness.tasks.base import Membership, Suites
from harness.tasks.flipflop import FlipFlopTask


class FlipFlopPiecewiseTask(FlipFlopTask[FlipFlopPiecewise]):
    """The reads of strings with a head and a tail."""

    name = "flipflop-piecewise"
    version = 1
    order = 20
    group = "memory"
    suites: ClassVar[Suites] = {
        "quick": (Membership(since=1, rows=4),),
        "full": (Membership(since=1),),
    }
    config = "flipflop-piecewise"
    splits = ("test",)
    headline_groups = ("head", "tail")

    def groups(self, config: FlipFlopPiecewise, position: Ints, gap: Ints) -> dict[str, Bools]:
        tail = position >= config.length - config.tail
        return {"head": ~tail, "tail": tail} | super().groups(config, position, gap)
