"""The model card of a trained model."""

import shlex
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from harness.evaluation.glitch_rates import SETS
from harness.training.curve import ACCURACY, ERROR, ERRORS, READS, last_numbers
from harness.training.recipe import Recipe
from harness.training.recipe_parts import CountingData, FlipFlopData

PAPERS = {"flipflop": "2306.00946", "counting": "2407.15160"}


def card(recipe: Recipe, content: Mapping[str, Any], curve: pa.Table, model: Any) -> str:
    """The text of README.md. content: recipe.json as it is stored."""
    from huggingface_hub import ModelCardData

    paper = PAPERS[recipe.data.kind]
    data = ModelCardData(library_name="transformers", tags=["fflm", f"arxiv:{paper}"], license="mit")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    changes = "".join(f"- `{key}` = `{_text(value)}`\n" for key, value in recipe.changes)
    # The title of a recipe may not be true of a changed one.
    made = f". From the recipe {recipe.name} ({recipe.title}), changed" if changes else f": {recipe.title}"
    changes = f"Changed:\n\n{changes}\n" if changes else ""
    settings = "".join(
        f"| {part} | {', '.join(f'{key} {_text(value)}' for key, value in values.items())} |\n"
        for part, values in recipe.parts().items()
    )
    return f"""---
{data.to_yaml()}
---

# {recipe.name}

{type(model).__name__}, {parameters:,} parameters{made}. Trained with
[fflm](https://pypi.org/project/fflm/), from arXiv [{paper}](https://arxiv.org/abs/{paper}).

{changes}To train it again:

```bash
{content["command"]}
```

{_usage(recipe)}

## At the end of training

{_results(curve)}

The training curve is in `curve.parquet`.

## Recipe

| part | values |
|---|---|
{settings}"""


def evaluation_command(folder: str, data: FlipFlopData) -> str:
    """The command that evaluates a model on strings like those of its training."""
    words = ["harness", "eval", "--model", folder, "--task", "flipflop"]
    for name, default in (("symbols", 2), ("length", 512)):
        if (value := getattr(data, name)) != default:
            words += ["--set", f"flipflop.{name}={value}"]
    return shlex.join(words)


def _usage(recipe: Recipe) -> str:
    if isinstance(recipe.data, CountingData):
        return (
            "The output is a number, the predicted count, for token ids 0, 1, ... of the vocabulary:\n\n"
            "```python\nfrom harness.models.classes import register\n"
            "from transformers import AutoModelForSequenceClassification\n\n"
            'register()\nmodel = AutoModelForSequenceClassification.from_pretrained("FOLDER")\n```'
        )
    return f"To evaluate it:\n\n```bash\n{evaluation_command('FOLDER', recipe.data)}\n```"


def _results(curve: pa.Table) -> str:
    numbers = last_numbers(curve)
    lines = ["| | |", "|---|---|", f"| steps | {numbers['step']:,} |", f"| loss, nats | {numbers['loss']:.4g} |"]
    for name in SETS:
        if reads := numbers.get(f"{name}/{READS}"):
            errors = numbers[f"{name}/{ERRORS}"]
            lines.append(f"| wrong reads of {name}, first rows | {errors:,} of {reads:,} ({errors / reads:.2%}) |")
    if ACCURACY in numbers:
        lines.append(f"| accuracy | {numbers[ACCURACY]:.3f} |")
        lines.append(f"| mean absolute error | {numbers[ERROR]:.3f} |")
    return "\n".join(lines)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
