"""Progress within a plan, reported after each batch, decoding step and layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class BatchProgress:
    """Calls `report` with the share of the plan that is done, from 0 to 1, never decreasing."""

    def __init__(self) -> None:
        self.report: Callable[[float], object] = lambda share: None
        self._total = 1.0
        self._done = 0.0
        self._weight = 0.0
        self._turn = (0, 1)

    def start(self, total: float) -> None:
        """Starts a plan of this weight."""
        self._total, self._done, self._weight = float(total), 0.0, 0.0

    @contextmanager
    def turn(self, turn: int, turns: int) -> Iterator[None]:
        """Around one of several turns of a plan, each started separately."""
        self._turn = (turn, turns)
        try:
            yield
        finally:
            self._turn = (0, 1)

    @contextmanager
    def batch(self, weight: float) -> Iterator[None]:
        """Around a batch of this weight; a batch that fails does not count."""
        self._weight = float(weight)
        self.within(0.0)
        yield
        self._done += self._weight
        self._weight = 0.0
        self.within(0.0)

    def within(self, share: float) -> None:
        """Reports the share of the batch that is done."""
        turn, turns = self._turn
        done = (self._done + min(1.0, share) * self._weight) / self._total
        self.report(min(1.0, (turn + done) / turns))

    @contextmanager
    def layers(self, model: Any) -> Iterator[None]:
        """Around the single pass of a batch: reports progress after each layer."""
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
    """The outermost module list of a model, which has its layers in nearly all models. Empty for compiled models, which
    hooks would recompile."""
    if getattr(model, "_compiled_call_impl", None) is not None:
        return []
    return list(next((part for part in model.modules() if isinstance(part, nn.ModuleList)), []))
