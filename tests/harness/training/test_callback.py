"""The callback in a real training by transformers.Trainer, on the package's own stream."""

from pathlib import Path
from typing import Any

import pytest
from transformers import Trainer, TrainingArguments

import fflm_data  # noqa: F401  registers the data
from harness.evaluation.glitch_rates import glitch_rates
from harness.models.classes.recurrent import LSTMConfig, LSTMForCausalLM
from harness.training.callback import GlitchCallback


def trainer_of(tmp_path: Path) -> Trainer:
    from datasets import load_dataset

    stream = load_dataset("fflm", "flipflop-train", split="train", streaming=True, length=64)
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=5, per_device_train_batch_size=4, learning_rate=1e-2, report_to=[],
        logging_steps=5, save_strategy="no", use_cpu=True, seed=0, disable_tqdm=True,
    )  # fmt: skip
    return Trainer(LSTMForCausalLM(LSTMConfig()), arguments, train_dataset=stream)


def test_rates_are_logged_every_few_steps_and_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = trainer_of(tmp_path)
    trainer.add_callback(GlitchCallback(every=2, limit=5, length=64))
    trainer.train()
    logs = [one for one in trainer.state.log_history if "glitch_rate/val" in one]
    assert [one["step"] for one in logs] == [2, 4, 5]
    expected = glitch_rates(trainer.model, limit=5, length=64)
    assert {name: logs[-1][f"glitch_rate/{name}"] for name in expected} == {
        name: rate.rate for name, rate in expected.items()
    }
    assert "step 2: glitches: val " in capsys.readouterr().out


def test_callback_with_own_log(tmp_path: Path) -> None:
    logged: list[dict[str, Any]] = []
    trainer = trainer_of(tmp_path)
    trainer.add_callback(GlitchCallback(every=5, sets=["val"], limit=5, log=logged.append, length=64))
    trainer.train()
    assert len(logged) == 1 and set(logged[0]) == {"glitch_rate/val"}
    assert not any("glitch_rate/val" in one for one in trainer.state.log_history)
