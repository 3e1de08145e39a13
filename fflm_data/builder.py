"""The `datasets` builder behind `load_dataset("fflm", ...)`: one shard a block, tables as they are generated."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import datasets
import pyarrow as pa

from fflm_data.config import Config, ParameterError
from fflm_data.endless import EndlessExamplesIterable
from fflm_data.flipflop import FlipFlopTrain
from fflm_data.registry import CONFIGS, DEFAULT_CONFIG, STREAMS, get_config
from fflm_data.version import GENERATOR_VERSION


@dataclass(eq=False)
class FflmConfig(datasets.BuilderConfig):
    """A `datasets` config that carries the frozen config of fflm in `parameters`."""

    parameters: Config | None = None


def _builder_config(parameters: Config) -> FflmConfig:
    return FflmConfig(
        name=parameters.name,
        version=datasets.Version(GENERATOR_VERSION),
        description=parameters.title,
        parameters=parameters,
    )


class Fflm(datasets.ArrowBasedBuilder):
    """Generates the rows of every config of fflm, offline."""

    BUILDER_CONFIG_CLASS = FflmConfig
    BUILDER_CONFIGS = [_builder_config(config()) for config in (CONFIGS | STREAMS).values()]
    DEFAULT_CONFIG_NAME = DEFAULT_CONFIG

    def _create_builder_config(
        self,
        config_name: str | None = None,
        custom_features: Any = None,
        config_id: str | None = None,
        **parameters: Any,
    ) -> tuple[FflmConfig, str]:
        """The config for these parameters, and an id of it that names its cache folder.

        `datasets` would set attributes one by one, past any validation, so this replaces its method.
        """
        for foreign in ("data_files", "data_dir", "version", "description"):
            if parameters.pop(foreign, None):
                raise ParameterError(f"the rows of fflm are generated: they have no {foreign} to choose")
        if custom_features is not None:
            raise ParameterError("the rows of fflm are generated: they have no features to choose")
        config = get_config(config_name or DEFAULT_CONFIG, **parameters)
        changed = config.changed_parameters()
        if config_id is None:
            config_id = config.name
            if changed:
                text = json.dumps(changed, sort_keys=True)
                config_id += "-" + hashlib.sha256(text.encode()).hexdigest()[:16]
        return _builder_config(config), config_id

    def _info(self) -> datasets.DatasetInfo:
        config = self._config()
        return datasets.DatasetInfo(
            description=config.title,
            features=datasets.Features.from_arrow_schema(config.schema),
            homepage=f"https://arxiv.org/abs/{config.paper.split()[-1]}",
            license=config.licence,
        )

    def _config(self) -> Config:
        assert self.config.parameters is not None  # every FflmConfig is made by _builder_config
        return self.config.parameters

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        config = self._config()
        if isinstance(config, FlipFlopTrain):
            if not dl_manager.is_streaming:
                raise ParameterError(f"{config.name} has no end: load it with streaming=True")
            return [datasets.SplitGenerator(name=split) for split in config.splits()]
        return [
            datasets.SplitGenerator(
                name=split, gen_kwargs={"split": split, "blocks": list(range(config.blocks(split)))}
            )
            for split in config.splits()
        ]

    def _get_examples_iterable_for_split(self, split_generator: datasets.SplitGenerator) -> Any:
        config = self._config()
        if isinstance(config, FlipFlopTrain):
            return EndlessExamplesIterable(config, split_generator.name, range(config.shards), of=config.shards)
        return super()._get_examples_iterable_for_split(split_generator)

    def _generate_tables(self, split: str, blocks: list[int]) -> Iterator[tuple[tuple[int, int], pa.Table]]:
        config = self._config()
        size = config.block_rows(split)
        for shard, block in enumerate(blocks):
            yield (shard, 0), config.table(split, block * size, (block + 1) * size)
