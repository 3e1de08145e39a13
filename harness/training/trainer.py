"""The training loop: `transformers.Trainer` with the optimizer, schedule and loss of a recipe."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback

from fflm_data.terminal import Bar
from harness.errors import UserError
from harness.training.data import IGNORED, collate
from harness.training.recipe import Recipe
from harness.training.validation import summary

# Number of log lines and of checkpoints of a training, as far as it has that many steps.
LOGS = 200
CHECKPOINTS = 20


@dataclass(frozen=True)
class Execution:
    """How a training runs. None of it is part of the recipe.

    bf16, tf32, compile, gradient_accumulation, report_to: as in TrainingArguments; without tf32, float32 is exact.
    evaluations: number of evaluations during training, at equal distances. progress: a callback
    instead of the progress bar.
    """

    bf16: bool = False
    tf32: bool = False
    compile: bool = False
    gradient_accumulation: int = 1
    report_to: tuple[str, ...] = ()
    evaluations: int = 10
    progress: TrainerCallback | None = None

    @property
    def options(self) -> list[str]:
        """The command-line arguments that affect the weights."""
        return [flag for flag in self.all_options() if getattr(self, flag.lstrip("-"))]

    @staticmethod
    def all_options() -> tuple[str, ...]:
        """All command-line arguments that affect the weights."""
        return "--bf16", "--tf32", "--compile"


def steps_between(steps: int, times: int) -> int:
    """The number of steps between events that happen about so many times."""
    return max(1, steps // times) if times else steps + 1


class RecipeTrainer(Trainer):
    """Trains a model, or a stack of models, with a recipe.

    evaluate_model: called every few steps, and at the end; returns numbers by name, which are logged. progress: as in
    Execution.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: Any,
        rows: Any,
        arguments: TrainingArguments,
        *,
        evaluate_model: Callable[[], dict[str, float]],
        evaluations: int,
        progress: TrainerCallback | None = None,
    ):
        self.recipe = recipe
        self._weights = list(model.parameters())
        self._rows = rows
        self._loss_sum: Tensor | None = None
        self._loss_steps = 0.0
        super().__init__(model, arguments, data_collator=collate, train_dataset=rows)
        self._parts = arguments.world_size * arguments.gradient_accumulation_steps
        self.model_accepts_loss_kwargs = self._parts > 1  # it then passes the number of labels to compute_loss
        every = steps_between(recipe.schedule.steps, evaluations)
        self.remove_callback(PrinterCallback)
        self.add_callback(_Evaluation(self, evaluate_model, every))
        self._progress = _Progress(recipe.name)
        if self.is_world_process_zero():
            self.add_callback(progress or self._progress)

    def train(self, *given: Any, **more: Any) -> Any:
        """Trains as Trainer does; if the training is stopped, it ends the line of the progress bar."""
        try:
            return super().train(*given, **more)
        finally:
            self._progress.close()

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(self._rows)

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW on all parameters, biases and norms included, as in the paper."""
        if self.optimizer is None:
            optimizer = self.recipe.optimizer
            self.optimizer = torch.optim.AdamW(
                self._weights,
                lr=optimizer.learning_rate,
                betas=(optimizer.betas[0], optimizer.betas[1]),
                weight_decay=optimizer.weight_decay,
                fused=self.args.device.type == "cuda" or None,
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule of the recipe; the scheduler counts steps from 0."""
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                self.create_optimizer(), lambda step: self.recipe.schedule.factor(step + 1)
            )
        return self.lr_scheduler

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The sum of the members' losses, with the penalty on attention weights."""
        intervention = self.recipe.intervention
        sharp = {} if intervention.sharpness == "none" else {"sharpness": intervention.sharpness}
        output = model(**inputs, **sharp)
        losses = output.losses if hasattr(output, "losses") else output.loss.reshape(1)
        share: Any = 1.0
        if num_items_in_batch is not None:
            share = _labels(inputs["labels"], len(losses)) / num_items_in_batch
        self._add_loss(losses.detach().float() * share)
        # DistributedDataParallel divides the sum over processes by their number.
        loss = (losses * share).sum() * self.args.world_size
        if sharp:
            coefficient = intervention.coefficient_at(self.state.global_step + 1, self.recipe.schedule.steps)
            loss = loss + coefficient * output.sharpness.sum() / self.args.gradient_accumulation_steps
        return (loss, output) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        """Labels of a step over all its parts, per member, (members,): the mean loss must not depend on the parts."""
        if self._parts == 1:
            return None
        members = getattr(self.accelerator.unwrap_model(self.model), "size", 1)
        total = torch.stack([_labels(batch["labels"], members) for batch in batch_samples]).sum(0).to(device)
        return self.accelerator.reduce(total, "sum") if self.args.world_size > 1 else total

    def _add_loss(self, losses: Tensor) -> None:
        self._loss_sum = losses if self._loss_sum is None else self._loss_sum + losses
        self._loss_steps += 1 / self.args.gradient_accumulation_steps

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Logs the mean loss since the last log line instead of Trainer's, and that of each member of a stack."""
        if "loss" in logs and self._loss_sum is not None:
            mean = self._loss_sum / self._loss_steps
            if self.args.world_size > 1:
                mean = self.accelerator.reduce(mean, "sum")
            losses = mean.tolist()
            logs = logs | {"loss": sum(losses) / len(losses)}
            if len(losses) > 1:
                logs |= {f"loss/{number}": value for number, value in enumerate(losses)}
            step = self.state.global_step
            logs["learning_rate"] = self.recipe.optimizer.learning_rate * self.recipe.schedule.factor(step)
            self._loss_sum, self._loss_steps = None, 0.0
            if not all(map(_is_finite, losses)):
                raise UserError(
                    f"the loss is not finite at step {step:,}: lower the learning rate, for example "
                    f"--set optimizer.learning_rate={self.recipe.optimizer.learning_rate / 3:.1g}"
                )
        super().log(logs, start_time)


def training_arguments(recipe: Recipe, folder: Path, execution: Execution, processes: int, cpu: bool) -> Any:
    """The TrainingArguments of a recipe. Raises UserError if the batch cannot be divided."""
    parts = processes * execution.gradient_accumulation
    if recipe.data.batch_size % parts:
        raise UserError(
            f"data.batch_size={recipe.data.batch_size} cannot be divided into {parts} parts (processes times gradient "
            "accumulation): use another --num-processes or --gradient-accumulation"
        )
    steps = recipe.schedule.steps
    logging = steps_between(steps, LOGS)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=recipe.data.batch_size // parts,
        gradient_accumulation_steps=execution.gradient_accumulation,
        max_grad_norm=0.0,  # the papers state no clipping
        logging_steps=logging,
        logging_nan_inf_filter=False,
        # At a checkpoint the sum of losses since the last log line is empty, so that a resumed run logs the same.
        save_steps=logging * max(1, steps_between(steps, CHECKPOINTS) // logging),
        save_total_limit=2,
        seed=recipe.model.seed % 2**32,
        bf16=execution.bf16,
        tf32=None if cpu else execution.tf32,
        torch_compile=execution.compile,
        report_to=list(execution.report_to) or "none",
        run_name=recipe.name,
        use_cpu=cpu,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0 if cpu else 1,
        dataloader_pin_memory=not cpu,
        ddp_find_unused_parameters=False,
        ddp_backend="gloo" if cpu and processes > 1 else None,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs are used by several processes, never by DataParallel
    return arguments


def log_to(trainer: Trainer, folder: Path) -> None:
    """Writes the logs of TensorBoard into a folder, unless TENSORBOARD_LOGGING_DIR names another one."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(folder)


def _labels(labels: Tensor, members: int) -> Tensor:
    """Number of labels that count for the loss, per member. labels: (batch, time), (batch,) or with members second."""
    per_member = labels if members > 1 else labels.unsqueeze(1)
    counted = per_member[..., 1:] != IGNORED if per_member.ndim == 3 else torch.ones_like(per_member)
    return counted.transpose(0, 1).flatten(1).sum(1).float()


def _is_finite(value: float) -> bool:
    return value - value == 0


class _Evaluation(TrainerCallback):
    """Logs an evaluation every few steps, and after the last one."""

    def __init__(self, trainer: RecipeTrainer, evaluate: Callable[[], dict[str, float]], every: int):
        self.trainer, self.evaluate, self.every = trainer, evaluate, every

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        step = state.global_step
        if state.is_world_process_zero and (step % self.every == 0 or step == state.max_steps):
            should_log = control.should_log  # logging resets it, and the loss would not be logged at this step
            self.trainer.log(self.evaluate())
            control.should_log = should_log


class _Progress(TrainerCallback):
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
