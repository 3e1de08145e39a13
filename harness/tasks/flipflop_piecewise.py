"""
name: flipflop-piecewise
what: flip-flop strings with a distribution shift: dense writes, then a sparse tail
paper: arXiv 2306.00946; models trained on a mixture of distributions still make errors on them
data: fflm_data config flipflop-piecewise, test
scored: as flipflop; nearly all reads are in the dense head, so the tail is also scored separately
rendering: as flipflop, spaced or plain
baselines: chance; the most frequent symbol; the previous data symbol
"""

from typing import ClassVar

from fflm_data.arrays import Bools, Ints
from fflm_data.flipflop import FlipFlopPiecewise
from harness.tasks.base import Membership, Suites
from harness.tasks.flipflop import FlipFlopTask


class FlipFlopPiecewiseTask(FlipFlopTask[FlipFlopPiecewise]):
    """Reads of strings with a dense head and a sparse tail."""

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
