"""How a training runs: options that are no part of its recipe, and the TrainingArguments of transformers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback

from harness.errors import UserError
from harness.training.recipe import Recipe

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
