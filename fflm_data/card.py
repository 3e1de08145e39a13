"""The data card of a folder or repository, from the configs: a header for the Hub and `datasets`, a text for people."""

import inspect
import json
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

from fflm_data.citations import CITATIONS
from fflm_data.config import Config
from fflm_data.eval_yaml import scored_splits
from fflm_data.figures import figure_file
from fflm_data.flipflop import TextConfig
from fflm_data.manifest import MANIFEST_FILE, Manifest
from fflm_data.number_formats import percent
from fflm_data.registry import DEFAULT_CONFIG
from fflm_data.version import GENERATOR_VERSION

CARD_FILE = "README.md"
SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]
LONGEST_SHOWN = 160


def write_card(manifest: Manifest, repository: str | None = None) -> str:
    """The README.md of a folder, or of the repository of that name on the Hub, with the rows of a manifest."""
    return f"---\n{_header(manifest)}\n---\n\n{_body(manifest, repository or 'FOLDER')}"


def _header(manifest: Manifest) -> str:
    rows = sum(split.rows for splits in manifest.splits.values() for split in splits.values())
    names = [config.name for config in manifest.configs]
    default = DEFAULT_CONFIG if DEFAULT_CONFIG in names else names[0]
    card = DatasetCardData(
        pretty_name="fflm",
        license=list(dict.fromkeys(config.licence for config in manifest.configs)),
        language=["en"],
        tags=["benchmark", "flip-flop", "counting", "arithmetic", "reasoning", "synthetic"],
        task_categories=["text-generation", "question-answering"],
        size_categories=[next((size for limit, size in SIZES if rows < limit), "n>10M")],
    )
    MetadataConfigs(
        {config.name: _data_files(config, config.name == default) for config in manifest.configs}
    ).to_dataset_card_data(card)
    DatasetInfosDict({config.name: _info(config, manifest) for config in manifest.configs}).to_dataset_card_data(card)
    return card.to_yaml()


def _data_files(config: Config, default: bool) -> dict[str, Any]:
    files = [{"split": split, "path": f"{config.name}/{split}-*.parquet"} for split in config.splits()]
    return {"data_files": files} | ({"default": True} if default else {})


def _info(config: Config, manifest: Manifest) -> datasets.DatasetInfo:
    splits = datasets.SplitDict()
    for name, split in manifest.splits[config.name].items():
        splits.add(datasets.SplitInfo(name=name, num_bytes=split.bytes, num_examples=split.rows))
    features = datasets.Features.from_arrow_schema(config.schema)
    size = sum(split.bytes for split in manifest.splits[config.name].values())
    return datasets.DatasetInfo(features=features, splits=splits, dataset_size=size, config_name=config.name)


def _body(manifest: Manifest, repository: str) -> str:
    configs = manifest.configs
    contents = "\n".join(
        f"| [`{config.name}`](#{config.name}) | {config.title} | {sum(config.splits().values()):,} |"
        for config in configs
    )
    sections = "\n\n".join(_section(config, manifest, repository) for config in configs)
    citations = "\n".join(CITATIONS[arxiv] for arxiv in dict.fromkeys(map(_arxiv, configs)))
    sources = "\n".join(f"- {line}" for line in SOURCES if any(config.name in line for config in configs))
    return f"""# fflm

Can a language model hold one bit and count to n? These rows ask: strings whose one readable bit must be carried over
a distance, lists and words to count in, sums that carry, facts with one right answer. All of them come from a
program, version {GENERATOR_VERSION} of the generators in the Python package `fflm`, and each is a function of (version,
config, split, seed, index): whoever has the package has the rows, without a download, and another seed gives a set
that no model has seen.

| config | what is asked | rows |
|---|---|---:|
{contents}

From the Hub or from this folder, and the same rows generated on the spot:

```python
import fflm_data  # makes the name "fflm" known
from datasets import load_dataset

load_dataset("{repository}", "{configs[0].name}")
{_generated(configs[0])}
```

`fflm-data check {repository}` makes every row again and compares. `{MANIFEST_FILE}` lists the parameters and a hash of
the rows of each split; `eval.yaml` makes each test split a benchmark task, of which `inspect eval` runs those that ask
a question and `harness eval` of the package the flip-flop strings. Baselinees are given beside every split: a
score means something above the best of them. Do not train on the test splits; for training there is an endless
stream, `load_dataset("fflm", "flipflop-train", streaming=True)`, which never holds one of their rows (under 256 symbols
a string: over the same alphabet).

{sections}

## Citation

Cite the papers whose tasks you use:

```bibtex
{citations}
```

## Licence

Rows and generators: MIT.

{sources}
"""


SOURCES = (
    "The English words of `letters` come from SCOWL (its licence stands in the package).",
    "The facts of `capitals` come from GeoNames (https://www.geonames.org), CC BY 4.0, selected by fflm.",
)


def _section(config: Config, manifest: Manifest, repository: str) -> str:
    made = manifest.splits[config.name]
    scores = {split: config.baselines(split) for split in scored_splits(config)}
    baseline_predictions = list(dict.fromkeys(name for split in scores.values() for name in split))
    head = "".join(f" {name} |" for name in baseline_predictions)
    lines = "\n".join(
        f"| `{split}` | {entry.rows:,} |"
        + "".join(f" {_percent(scores.get(split, {}).get(name))} |" for name in baseline_predictions)
        for split, entry in made.items()
    )
    first = next(iter(scored_splits(config) or made))
    example = _example(config.table(first, 0, 1).to_pylist()[0])
    figures = ""
    if isinstance(config, TextConfig):
        figures = "\n\n" + "\n".join(
            f"![Distance from write to read in {split}]({figure_file(config, split)})" for split in made
        )
    return f"""## {config.name}

{config.title[0].upper() + config.title[1:]} ([{config.paper}](https://arxiv.org/abs/{_arxiv(config)})).
{_description(config)}

| split | rows |{head}
|---|---:|{"---:|" * len(baseline_predictions)}
{lines}

The columns after `rows` are the accuracies of baselinees on the same rows. Parameters:
`{json.dumps(config.parameters())}`.

```python
load_dataset("{repository}", "{config.name}", split="{first}")[0]
{_generated(config, first)}[0]
```

```json
{example}
```{figures}"""


def _generated(config: Config, split: str | None = None) -> str:
    """The call that generates the rows on the spot."""
    changed = {"split": split} if split else {}
    given = "".join(f", {name}={value!r}" for name, value in (changed | config.changed_parameters()).items())
    return f'load_dataset("fflm", "{config.name}"{given})'.replace("'", '"')


def _arxiv(config: Config) -> str:
    """The number of the paper that a config follows."""
    return config.paper.split()[-1]


def _description(config: Config) -> str:
    return " ".join(inspect.cleandoc(type(config).__doc__ or "").split())


def _percent(share: float | None) -> str:
    return "" if share is None else f"{percent(share)}%"


def _example(row: dict[str, Any]) -> str:
    """A row as JSON, a column a line, long texts cut."""
    lines = []
    for name, value in row.items():
        long = isinstance(value, str) and len(value) > LONGEST_SHOWN
        text = json.dumps(value[: LONGEST_SHOWN - 1] + "…" if long else value, ensure_ascii=False)
        lines.append(f'  "{name}": {text}')
    return "{\n" + ",\n".join(lines) + "\n}"
