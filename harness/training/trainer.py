"""The training loop: `transformers.Trainer` with the optimizer, schedule and loss of a recipe."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from harness.errors import UserError
from harness.training.data import IGNORED, collate
from harness.training.execution import steps_between
from harness.training.recipe import Recipe
from harness.training.trainer_callbacks import Evaluation, ProgressBar


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
        self.add_callback(Evaluation(self, evaluate_model, every))
        self._progress = ProgressBar(recipe.name)
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


def _labels(labels: Tensor, members: int) -> Tensor:
    """Number of labels that count for the loss, per member. labels: (batch, time), (batch,) or with members second."""
    per_member = labels if members > 1 else labels.unsqueeze(1)
    counted = per_member[..., 1:] != IGNORED if per_member.ndim == 3 else torch.ones_like(per_member)
    return counted.transpose(0, 1).flatten(1).sum(1).float()


def _is_finite(value: float) -> bool:
    return value - value == 0
