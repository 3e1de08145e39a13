"""The recipe of the bundled LSTM (arXiv 2306.00946, sections 4 and A.5), and its 5-symbol tokenizer.

Fresh rows of FFL(0.8), T = 512, batches of 16, 500 steps; AdamW with betas (0.9, 0.999), learning
rate 3e-4, weight decay 0.1, 50 steps of warm-up, then linear decay that would reach 0 at step 10,001.
Deterministic mode: the loss is over the symbols after reads only. Takes half a minute on two CPU cores.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fflm_data.flipflop import FFL, Ids, reads, sample
from fflm_data.terminal import Bar
from harness.engine import threads


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters and seeds of the training of the LSTM."""

    steps: int = 500
    batch_size: int = 16
    learning_rate: float = 3e-4
    weight_decay: float = 0.1
    warmup_steps: int = 50
    decay_steps: int = 10_001
    data_seed: int = 0
    weight_seed: int = 0

    def learning_rate_factor(self, step: int) -> float:
        """Linear warm-up over the first steps, then linear decay to 0 at `decay_steps`."""
        return min((step + 1) / self.warmup_steps, (self.decay_steps - step) / (self.decay_steps - self.warmup_steps))


@threads.single_thread()  # as fast as two for such a small model, and bit-identical
def train_lstm(output: Path, recipe: Recipe, ffl: FFL | None = None) -> float:
    """Trains the LSTM, writes model, tokenizer and recipe to `output` and returns the last loss (nats)."""
    import torch

    from harness.models.reference.lstm import LSTMConfig, LSTMForCausalLM

    ffl = ffl or FFL()
    torch.manual_seed(recipe.weight_seed)
    model = LSTMForCausalLM(LSTMConfig()).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.999), weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, recipe.learning_rate_factor)
    progress = Bar(range(recipe.steps), desc="training the LSTM", unit="step")
    for step in progress:
        ids = sample(ffl, recipe.batch_size, seed=recipe.data_seed, start=step * recipe.batch_size)
        loss = model(input_ids=torch.from_numpy(ids.astype("int64")), labels=torch.from_numpy(read_labels(ids))).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    model.eval().save_pretrained(output)
    write_tokenizer(output)
    (output / "recipe.json").write_text(_json(asdict(recipe)), encoding="utf-8", newline="\n")
    return float(loss.item())


def read_labels(ids: Ids) -> Any:
    """int64 labels of the shape of `ids`: the id at the answer of each read, -100 (ignored) elsewhere."""
    import numpy as np

    targets = reads(ids)
    labels = np.full(ids.shape, -100, dtype=np.int64)
    labels[targets.row, targets.position] = ids[targets.row, targets.position]
    return labels


def write_tokenizer(output: Path) -> None:
    """The 5-symbol tokenizer: one token a character, spaces skipped, anything else an error."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    vocabulary = {symbol: number for number, symbol in enumerate("wri01")}
    backend = Tokenizer(models.WordLevel(vocabulary))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("."), "isolated")]
    )
    backend.save(str(output / "tokenizer.json"))
    # Every version of transformers has this class for a tokenizer that is fully defined by tokenizer.json.
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    (output / "tokenizer_config.json").write_text(_json(settings), encoding="utf-8", newline="\n")


def _json(value: object) -> str:
    import json

    return json.dumps(value, indent=1) + "\n"
