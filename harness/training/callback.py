"""A callback of `transformers.Trainer` that logs glitch rates during training."""

from collections.abc import Callable, Sequence
from typing import Any

from transformers import TrainerCallback

from fflm_data.config import require_integer
from fflm_data.terminal import echo
from harness.evaluation.glitch_rates import SETS, glitch_rates


class GlitchCallback(TrainerCallback):
    """Computes the glitch rates of the model every N steps, and at the end of training.

        trainer.add_callback(harness.GlitchCallback(every=100, log=trainer.log))

    every: number of steps between measurements. sets, limit, parameters: as in `harness.glitch_rates`. log: called
    with a dict such as `{"glitch_rate/val": 0.01, ...}`; by default it is appended to `trainer.state.log_history` and
    printed.

    The model must be whole in each process (not sharded by FSDP or DeepSpeed stage 3); only the main process measures.
    """

    def __init__(
        self,
        every: int = 100,
        sets: Sequence[str] = SETS,
        limit: int | None = 200,
        log: Callable[[dict[str, float]], object] | None = None,
        **parameters: Any,
    ):
        require_integer("every", every, 1)
        self.every, self.sets, self.limit, self.log, self.parameters = every, tuple(sets), limit, log, parameters
        self._measured_at = -1

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if state.global_step % self.every == 0:
            self._measure(state, given["model"])

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self._measure(state, given["model"])

    def _measure(self, state: Any, model: Any) -> None:
        if not state.is_world_process_zero or state.global_step == self._measured_at:
            return
        self._measured_at = state.global_step
        rates = glitch_rates(model, self.sets, self.limit, **self.parameters)
        logs = {f"glitch_rate/{name}": rate.rate for name, rate in rates.items()}
        if self.log is not None:
            self.log(logs)
            return
        state.log_history.append({**logs, "step": state.global_step})
        shown = ", ".join(f"{name} {rate.errors:,} of {rate.reads:,}" for name, rate in rates.items())
        echo(f"step {state.global_step:,}: glitches: {shown}")
