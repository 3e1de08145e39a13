"""How much of a plan is done, told while it is worked on: between batches, between steps, between a model's layers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class BatchProgress:
    """Tells `tell` the share of the plan that is done, from 0 to 1, never a smaller one than before."""

    def __init__(self) -> None:
        self.report: Callable[[float], object] = lambda share: None
        self._whole = 1.0
        self._done = 0.0
        self._weight = 0.0
        self._part = (0, 1)

    def start(self, whole: float) -> None:
        """A plan of that weight begins."""
        self._whole, self._done, self._weight = float(whole), 0.0, 0.0

    @contextmanager
    def turns(self, turn: int, turns: int) -> Iterator[None]:
        """What begins inside is one of several turns of a plan."""
        self._part = (turn, turns)
        try:
            yield
        finally:
            self._part = (0, 1)

    @contextmanager
    def batch(self, weight: float) -> Iterator[None]:
        """Around a batch of that weight; one that fails has done nothing."""
        self._weight = float(weight)
        self.within(0.0)
        yield
        self._done += self._weight
        self._weight = 0.0
        self.within(0.0)

    def within(self, share: float) -> None:
        """So much of the batch is done."""
        turn, turns = self._part
        done = (self._done + min(1.0, share) * self._weight) / self._whole
        self.report(min(1.0, (turn + done) / turns))

    @contextmanager
    def layers(self, model: Any) -> Iterator[None]:
        """Around the one pass of a batch: it is told layer by layer."""
        layers = _layers(model)
        passed = 0

        def count(*_: object) -> None:
            nonlocal passed
            passed += 1
            self.within(passed / len(layers))

        hooks = [layer.register_forward_hook(count) for layer in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _layers(model: Any) -> list[nn.Module]:
    """The outermost list of a model's modules: its layers, in nearly all; none where a hook would be compiled anew."""
    if getattr(model, "_compiled_call_impl", None) is not None:
        return []
    return list(next((part for part in model.modules() if isinstance(part, nn.ModuleList)), []))
