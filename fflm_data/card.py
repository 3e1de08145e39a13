"""The data card of a built folder, written from the configs: a header that `datasets` reads, a text for people."""

import json
from collections.abc import Sequence
from typing import Any

from huggingface_hub import DatasetCardData

from fflm_data.config import Config
from fflm_data.registry import DEFAULT_CONFIG
from fflm_data.version import GENERATOR_VERSION

SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]

CITATIONS = """```bibtex
@inproceedings{liu2023exposing,
  title = {Exposing Attention Glitches with Flip-Flop Language Modeling},
  author = {Liu, Bingbin and Ash, Jordan T. and Goel, Surbhi and Krishnamurthy, Akshay and Zhang, Cyril},
  booktitle = {Advances in Neural Information Processing Systems}, year = {2023}, note = {arXiv 2306.00946}
}
@misc{yehudai2024count,
  title = {When Can Transformers Count to n?},
  author = {Yehudai, Gilad and Kaplan, Haim and Ghandeharioun, Asma and Geva, Mor and Globerson, Amir},
  year = {2024}, note = {arXiv 2407.15160}
}
```"""


def data_file(config: str, split: str) -> str:
    """Where the rows of a split lie in the folder."""
    return f"{config}/{split}-00000-of-00001.parquet"


def write_card(configs: Sequence[Config]) -> str:
    """The README.md of a folder that holds these configs."""
    return f"---\n{_header(configs)}\n---\n\n{_body(configs)}"


def _header(configs: Sequence[Config]) -> str:
    rows = sum(sum(config.splits().values()) for config in configs)
    names = [config.name for config in configs]
    default = DEFAULT_CONFIG if DEFAULT_CONFIG in names else names[0]
    return DatasetCardData(
        pretty_name="fflm",
        license="mit",
        language=["en"],
        tags=["flip-flop", "counting", "reasoning", "synthetic", "benchmark"],
        task_categories=["text-generation"],
        size_categories=[next((size for limit, size in SIZES if rows < limit), "n>10M")],
        configs=[_data_files(config, default) for config in configs],
    ).to_yaml()


def _data_files(config: Config, default: str) -> dict[str, Any]:
    files = [{"split": split, "path": data_file(config.name, split)} for split in config.splits()]
    mark = {"default": True} if config.name == default else {}
    return {"config_name": config.name, **mark, "data_files": files}


def _body(configs: Sequence[Config]) -> str:
    sections = "\n\n".join(_section(config) for config in configs)
    return f"""# fflm

Whether a language model can hold one bit and count to n: rows made by the generators of the package
`fflm`, version {GENERATOR_VERSION}. Every row is a function of (generator version, config, split, seed, index),
so that the same rows come without a download:

```python
import fflm_data
from datasets import load_dataset

load_dataset("fflm", "{configs[0].name}")
```

{sections}

## Citation

{CITATIONS}

Licence: MIT. The English words come from SCOWL; its licence stands in the package.
"""


def _section(config: Config) -> str:
    summary = (type(config).__doc__ or "").strip().split("\n\n")[0]
    splits = "\n".join(f"| `{split}` | {rows:,} |" for split, rows in config.splits().items())
    split = next(iter(config.splits()))
    example = json.dumps(config.table(split, 0, 1).to_pylist()[0], ensure_ascii=False)
    return f"""## {config.name}: {config.title}

{summary} ({config.paper})

| split | rows |
|---|---:|
{splits}

Parameters: `{json.dumps(config.parameters())}`

First row of `{split}`:

```json
{example}
```"""
