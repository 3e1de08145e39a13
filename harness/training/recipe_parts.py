"""The parts of a recipe: data, model, optimizer, schedule, intervention; each checks its own values."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from fflm_data.config import ParameterError, require, require_integer
from fflm_data.counting_ids import TASKS as COUNTING_TASKS
from fflm_data.flipflop.distributions import FFL, Distribution, Mixture

DETERMINISTIC, GENERATIVE = MODES = ("deterministic", "generative")

CELLS = ("lstm", "gru")
POSITIONS = ("learned", "sinusoidal", "rope", "alibi", "none")
SHARPNESS = ("none", "entropy", "l2", "linf")
ANNEALING = ("none", "linear", "oscillating")
# Full cosine waves of the oscillating coefficient during a training.
OSCILLATIONS = 10
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class FlipFlopData:
    """Fresh flip-flop strings (arXiv 2306.00946, sections 3.2 and 4).

    p_ignore: of FFL(p_ignore); an equal mixture if there are several. mode: "deterministic" predicts only the symbols
    after reads, "generative" every token. batch_size: sequences per step, over all processes.
    """

    kind: ClassVar[str] = "flipflop"

    p_ignore: tuple[float, ...] = (0.8,)
    length: int = 512
    symbols: int = 2
    mode: str = DETERMINISTIC
    batch_size: int = 16
    seed: int = 0

    def validate(self) -> None:
        """Raises ParameterError for a value out of range."""
        from fflm_data.flipflop.sampling import require_disjoint_splits

        require_integer("data.batch_size", self.batch_size, 1)
        require_integer("data.seed", self.seed, 0, MAX_SEED)
        require(self.mode in MODES, "data.mode", self.mode, f"one of {', '.join(MODES)}", MODES)
        with naming("data"):
            require_disjoint_splits(self.distribution)

    @property
    def distribution(self) -> Distribution:
        """The distribution of the strings."""
        components = tuple(FFL.from_p_ignore(p_ignore, self.length, self.symbols) for p_ignore in self.p_ignore)
        return components[0] if len(components) == 1 else Mixture(components)


@dataclass(frozen=True)
class CountingData:
    """Token sequences with a count to predict (arXiv 2407.15160, section 6).

    task: "query-count" (occurrences of the last token among the others) or "most-frequent" (the largest count).
    vocabulary: number of distinct tokens, m; a sequence has expected_count * m tokens.
    """

    kind: ClassVar[str] = "counting"

    task: str = "query-count"
    vocabulary: int = 16
    expected_count: int = 10
    batch_size: int = 16
    seed: int = 0

    def validate(self) -> None:
        """Raises ParameterError for a value out of range."""
        require(
            self.task in COUNTING_TASKS, "data.task", self.task, f"one of {', '.join(COUNTING_TASKS)}", COUNTING_TASKS
        )
        require_integer("data.vocabulary", self.vocabulary, 2, 10_000)
        require_integer("data.expected_count", self.expected_count, 1, 1_000)
        require_integer("data.batch_size", self.batch_size, 1)
        require_integer("data.seed", self.seed, 0, MAX_SEED)

    @property
    def length(self) -> int:
        """Tokens of a sequence, with the query."""
        return self.expected_count * self.vocabulary + (self.task == "query-count")


@dataclass(frozen=True)
class TransformerModel:
    """A Transformer like GPT-2, from scratch.

    max_positions: number of learned positions. init_std: standard deviation of initial weights.
    """

    kind: ClassVar[str] = "transformer"

    layers: int = 6
    width: int = 512
    heads: int = 8
    positions: str = "learned"
    max_positions: int = 512
    init_std: float = 0.02
    seed: int = 0

    def validate(self) -> None:
        """Raises ParameterError for a value out of range."""
        require_integer("model.seed", self.seed, 0, MAX_SEED)
        for name in ("layers", "width", "heads", "max_positions"):
            require_integer(f"model.{name}", getattr(self, name), 1)
        _require_number("model.init_std", self.init_std, above=0)
        names = f"one of {', '.join(POSITIONS)}"
        require(self.positions in POSITIONS, "model.positions", self.positions, names, POSITIONS)
        require(self.width % self.heads == 0, "model.width", self.width, f"a multiple of model.heads={self.heads}")
        pairs = {"rope": 2 * self.heads, "sinusoidal": 2}.get(self.positions, 1)  # dimensions are rotated in pairs
        allowed = f"a multiple of {pairs} with {self.positions} positions"
        require(self.width % pairs == 0, "model.width", self.width, allowed)


@dataclass(frozen=True)
class RecurrentModel:
    """A recurrent language model, from scratch. cell: "lstm" or "gru"."""

    kind: ClassVar[str] = "recurrent"

    cell: str = "lstm"
    layers: int = 1
    width: int = 128
    seed: int = 0

    def validate(self) -> None:
        """Raises ParameterError for a value out of range."""
        require_integer("model.seed", self.seed, 0, MAX_SEED)
        require(self.cell in CELLS, "model.cell", self.cell, f"one of {', '.join(CELLS)}", CELLS)
        for name in ("layers", "width"):
            require_integer(f"model.{name}", getattr(self, name), 1)


@dataclass(frozen=True)
class ArchitectureModel:
    """A causal LM class of transformers by its config, from scratch. settings: fields of the config."""

    kind: ClassVar[str] = "architecture"

    architecture: str = ""
    settings: tuple[tuple[str, Any], ...] = ()
    seed: int = 0

    def validate(self) -> None:
        """Raises ParameterError for an invalid seed. The config checks the settings when the model is built."""
        require_integer("model.seed", self.seed, 0, MAX_SEED)


@dataclass(frozen=True)
class PretrainedModel:
    """A pretrained model that is fine-tuned. source: Hub id or folder."""

    kind: ClassVar[str] = "pretrained"

    source: str = ""
    revision: str | None = None
    seed: int = 0

    def validate(self) -> None:
        """Raises ParameterError for an invalid seed. The model is resolved before training."""
        require_integer("model.seed", self.seed, 0, MAX_SEED)


@dataclass(frozen=True)
class Optimizer:
    """AdamW on all parameters. Without weight decay it is Adam."""

    learning_rate: float = 3e-4
    betas: tuple[float, ...] = (0.9, 0.999)
    weight_decay: float = 0.1

    def validate(self) -> None:
        """Raises ParameterError for a value out of range."""
        _require_number("optimizer.learning_rate", self.learning_rate, above=0)
        require(self.learning_rate <= 1e6, "optimizer.learning_rate", self.learning_rate, "at most 1e6")
        _require_number("optimizer.weight_decay", self.weight_decay)
        valid = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(valid, "optimizer.betas", self.betas, "two numbers from 0 to below 1")


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then linear decay that reaches 0 at step `zero_at` (default: the step after the last one)."""

    steps: int = 10_000
    warmup_steps: int = 50
    zero_at: int | None = None

    def validate(self) -> None:
        """Raises ParameterError for a value out of range."""
        require_integer("schedule.steps", self.steps, 1)
        require_integer("schedule.warmup_steps", self.warmup_steps, 0, self.last_step - 1)
        if self.zero_at is not None:
            require_integer("schedule.zero_at", self.zero_at, self.steps + 1)

    @property
    def last_step(self) -> int:
        """The step at which the learning rate is 0."""
        return self.steps + 1 if self.zero_at is None else self.zero_at

    def factor(self, step: int) -> float:
        """Learning rate at a step, counted from 1, as a share of the maximum."""
        warmup = step / self.warmup_steps if self.warmup_steps else 1.0
        return max(0.0, min(warmup, (self.last_step - step) / (self.last_step - self.warmup_steps), 1.0))


@dataclass(frozen=True)
class Intervention:
    """Regularization of a Transformer (arXiv 2306.00946, section 5).

    sharpness: penalty on attention weights, averaged over heads, layers and positions. coefficient: its factor in the
    loss. annealing: "linear" raises the coefficient from 0 to its value during training, "oscillating" moves it between
    0 and its value in cosine waves.
    """

    attention_dropout: float = 0.0
    mlp_dropout: float = 0.0
    embedding_dropout: float = 0.0
    sharpness: str = "none"
    coefficient: float = 0.0
    annealing: str = "none"

    def validate(self) -> None:
        """Raises ParameterError for a value out of range."""
        for name in ("attention_dropout", "mlp_dropout", "embedding_dropout"):
            value = getattr(self, name)
            valid = isinstance(value, int | float) and 0 <= value < 1
            require(valid, f"intervention.{name}", value, "a number from 0 to below 1")
        names = f"one of {', '.join(SHARPNESS)}"
        require(self.sharpness in SHARPNESS, "intervention.sharpness", self.sharpness, names, SHARPNESS)
        names = f"one of {', '.join(ANNEALING)}"
        require(self.annealing in ANNEALING, "intervention.annealing", self.annealing, names, ANNEALING)
        _require_number("intervention.coefficient", self.coefficient)
        both = (self.sharpness == "none") == (self.coefficient == 0)
        require(both, "intervention.coefficient", self.coefficient, "above 0 if and only if there is a sharpness")

    def coefficient_at(self, step: int, steps: int) -> float:
        """The coefficient at a step, counted from 1."""
        if self.annealing == "linear":
            return self.coefficient * step / steps
        if self.annealing == "oscillating":
            return self.coefficient * (1 - math.cos(2 * math.pi * OSCILLATIONS * step / steps)) / 2
        return self.coefficient


Data = FlipFlopData | CountingData
Model = TransformerModel | RecurrentModel | ArchitectureModel | PretrainedModel
KINDS: dict[str, dict[str, Any]] = {
    "data": {part.kind: part for part in (FlipFlopData, CountingData)},
    "model": {part.kind: part for part in (TransformerModel, RecurrentModel, ArchitectureModel, PretrainedModel)},
}


class naming:
    """A context that puts the name of a part before the parameters of errors: "length" becomes "data.length"."""

    def __init__(self, part: str):
        self.part = part

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ParameterError):
            raise ParameterError(f"{self.part}.{error}") from None


def _require_number(parameter: str, value: object, above: float | None = None) -> None:
    valid = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if above is None:
        require(valid and value >= 0, parameter, value, "a number of at least 0")  # type: ignore[operator]
    else:
        require(valid and value > above, parameter, value, f"a number above {above}")  # type: ignore[operator]
