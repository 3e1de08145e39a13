"""Callbacks of the training loop: evaluation every few steps, and the progress bar."""

from collections.abc import Callable
from typing import Any

from transformers import Trainer, TrainerCallback

from fflm_data.terminal import Bar
from harness.training.validation import summary


class Evaluation(TrainerCallback):
    """Logs an evaluation every few steps, and after the last one."""

    def __init__(self, trainer: Trainer, evaluate: Callable[[], dict[str, float]], every: int):
        self.trainer, self.evaluate, self.every = trainer, evaluate, every

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        step = state.global_step
        if state.is_world_process_zero and (step % self.every == 0 or step == state.max_steps):
            should_log = control.should_log  # logging resets it, and the loss would not be logged at this step
            self.trainer.log(self.evaluate())
            control.should_log = should_log


class ProgressBar(TrainerCallback):
    """A progress bar with the loss and the errors of the latest evaluation."""

    def __init__(self, title: str):
        self.title = title
        self.bar: Any = None
        self.shown: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.bar = Bar(total=state.max_steps, initial=state.global_step, desc=self.title, unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **given: Any) -> None:
        logs = logs or {}
        if "loss" in logs:
            self.shown["loss"] = f"{logs['loss']:.4f}"
        self.shown |= summary(logs)
        self.bar.set_postfix(self.shown, refresh=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the line of the bar, if it is shown."""
        if self.bar is not None:
            self.bar.close()
