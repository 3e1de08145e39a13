"""The `datasets` builder of `load_dataset("fflm", ...)`: one shard per block, rows generated as Arrow tables."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import datasets
import pyarrow as pa

from fflm_data.config import Config, ParameterError
from fflm_data.flipflop import FlipFlopTrain
from fflm_data.infinite_stream import InfiniteExamplesIterable
from fflm_data.registry import CONFIGS, DEFAULT_CONFIG, STREAMS, get_config
from fflm_data.version import GENERATOR_VERSION


@dataclass(eq=False)
class FflmConfig(datasets.BuilderConfig):
    """A `datasets` config that holds the frozen fflm config in `parameters`."""

    parameters: Config | None = None


def _builder_config(parameters: Config) -> FflmConfig:
    return FflmConfig(
        name=parameters.name,
        version=datasets.Version(GENERATOR_VERSION),
        description=parameters.title,
        parameters=parameters,
    )


class Fflm(datasets.ArrowBasedBuilder):
    """Generates the rows of every fflm config, offline."""

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
        """Returns the config for these parameters and its id, which names the cache folder.

        Replaces the method of `datasets`, which would set the attributes one by one without validation.
        """
        unsupported = [key for key in ("data_files", "data_dir", "version", "description") if parameters.pop(key, None)]
        if custom_features is not None:
            unsupported.append("features")
        if unsupported:
            raise ParameterError(f"fflm generates its rows: remove the argument {unsupported[0]}")
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
        assert self.config.parameters is not None  # _builder_config creates every FflmConfig
        return self.config.parameters

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        config = self._config()
        if isinstance(config, FlipFlopTrain):
            if not dl_manager.is_streaming:
                raise ParameterError(f"{config.name} is an infinite stream. Load it with streaming=True.")
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
            return InfiniteExamplesIterable(
                config, split_generator.name, range(config.shards), total_shards=config.shards
            )
        return super()._get_examples_iterable_for_split(split_generator)

    def _generate_tables(self, split: str, blocks: list[int]) -> Iterator[tuple[tuple[int, int], pa.Table]]:
        config = self._config()
        size = config.block_rows(split)
        for shard, block in enumerate(blocks):
            yield (shard, 0), config.table(split, block * size, (block + 1) * size)
