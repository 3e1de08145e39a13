"""Recipes: everything that determines a trained model.

A recipe has five parts: data, model, optimizer, schedule, intervention. `changed` sets fields by names such as
`model.layers`. Two seeds are fields of a recipe, `data.seed` and `model.seed`; the digest does not depend on them.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fflm_data.config import ParameterError, require
from fflm_data.suggestions import did_you_mean
from harness.errors import UserError
from harness.models.training_statement import RECIPE_SCHEMA, SECTIONS, recipe_digest
from harness.training import recipe_values
from harness.training.recipe_parts import (
    DETERMINISTIC,
    ArchitectureModel,
    CountingData,
    Data,
    FlipFlopData,
    Intervention,
    Model,
    Optimizer,
    PretrainedModel,
    Schedule,
    TransformerModel,
)

SEEDS = ("data.seed", "model.seed")


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a trained model. changes: fields that differ from the named recipe, except seeds."""

    name: str
    title: str
    data: Data = field(default_factory=FlipFlopData)
    model: Model = field(default_factory=TransformerModel)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    intervention: Intervention = field(default_factory=Intervention)
    changes: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for name in SECTIONS:
            getattr(self, name).validate()
        self._require_fitting_parts()

    def _require_fitting_parts(self) -> None:
        model, transformer = self.model, isinstance(self.model, TransformerModel)
        if isinstance(model, TransformerModel) and model.positions == "learned":
            allowed = f"at most model.max_positions={model.max_positions} with learned positions"
            if isinstance(self.data, CountingData):
                longest = (model.max_positions - 1) // self.data.expected_count
                fits = self.data.length <= model.max_positions
                require(fits, "data.vocabulary", self.data.vocabulary, f"at most {longest}, so that {allowed}")
            else:
                require(self.data.length <= model.max_positions, "data.length", self.data.length, allowed)
        if isinstance(self.data, CountingData):
            require(transformer, "model", model.kind, "a transformer for counting tasks")
        if isinstance(model, PretrainedModel):
            deterministic = self.data.kind == "flipflop" and getattr(self.data, "mode", "") == DETERMINISTIC
            require(deterministic, "data.mode", getattr(self.data, "mode", "counting"), f"{DETERMINISTIC} for --from")
        if not transformer:
            plain = self.intervention == Intervention()
            require(plain, "intervention", self._changed_intervention(), "unchanged, except for a transformer")

    def _changed_intervention(self) -> dict[str, Any]:
        plain = dataclasses.asdict(Intervention())
        return {key: value for key, value in dataclasses.asdict(self.intervention).items() if value != plain[key]}

    @property
    def seeds(self) -> tuple[int, int]:
        """Data seed and weight seed."""
        return self.data.seed, self.model.seed

    def with_next_seeds(self, number: int) -> "Recipe":
        """The recipe with both seeds increased by a number."""
        data = replace(self.data, seed=self.data.seed + number)
        return replace(self, data=data, model=replace(self.model, seed=self.model.seed + number))

    @property
    def options(self) -> list[str]:
        """The command-line arguments of `harness train` for this recipe."""
        words, changes = [self.name], dict(self.changes)
        for key, flag in (("model.architecture", "--architecture"), ("model.source", "--from")):
            if key in changes:
                words += [flag, str(changes.pop(key))]
        if isinstance(self.model, PretrainedModel) and self.model.revision:
            words += ["--revision", self.model.revision]
        seeds = {key: seed for key, seed in zip(SEEDS, self.seeds, strict=True) if seed}
        for key, value in {**changes, **seeds}.items():
            is_setting = isinstance(self.model, ArchitectureModel) and key.startswith("model.") and key not in SEEDS
            words += ["--set", f"{key}={recipe_values.to_text(value, is_setting)}"]
        return words

    @property
    def has_dropout(self) -> bool:
        """Whether training draws random numbers besides the data."""
        part = self.intervention
        return max(part.attention_dropout, part.mlp_dropout, part.embedding_dropout) > 0

    def parts(self) -> dict[str, dict[str, Any]]:
        """All fields of all parts, as JSON values."""
        return {name: recipe_values.part_to_json(getattr(self, name)) for name in SECTIONS}

    def digest(self) -> str:
        """12 hex digits that identify the recipe without its seeds."""
        return recipe_digest(self.parts())

    def changed(self, changes: Mapping[str, Any]) -> "Recipe":
        """The recipe with other values, by keys such as "model.layers". Raises ParameterError for an unknown key."""
        by_part: dict[str, dict[str, Any]] = {}
        for key, value in changes.items():
            part, _, name = key.partition(".")
            record = getattr(self, part, None) if part in SECTIONS else None
            known = [known for each in SECTIONS for known in recipe_values.keys(each, getattr(self, each))]
            if record is None or not recipe_values.has_field(record, name):
                raise ParameterError(f"there is no {key!r} in recipe {self.name}{did_you_mean(key, known)}")
            by_part.setdefault(part, {})[name] = recipe_values.converted(record, name, key, value)
        parts = {part: recipe_values.replaced(getattr(self, part), values) for part, values in by_part.items()}
        merged = dict(self.changes)
        for key in set(changes) - {*SEEDS}:
            part, _, name = key.partition(".")
            value = recipe_values.value_of(parts[part], name)
            if key in merged or value != recipe_values.value_of(getattr(self, part), name):
                merged[key] = value
        return replace(self, **parts, changes=tuple(sorted(merged.items())))

    def with_model(self, model: Model, change: tuple[str, Any]) -> "Recipe":
        """The recipe with another kind of model, recorded as a change in place of those of the model."""
        others = [(key, value) for key, value in self.changes if not key.startswith("model.")]
        return replace(self, model=model, changes=tuple(sorted([*others, change])))

    def is_same(self, other: "Recipe") -> bool:
        """Whether both train the same model: all values and seeds, and the name."""
        return (self.name, self.parts()) == (other.name, other.parts())

    def difference_of(self, other: "Recipe") -> str:
        """The first value of another recipe that differs from this one's, in words."""
        parts = self.parts()
        for part, values in other.parts().items():
            for key in sorted({*values, *parts[part]}):
                if values.get(key) != parts[part].get(key):
                    return f"{part}.{key}={values.get(key)} instead of {parts[part].get(key)}"
        return f"{other.name} instead of {self.name}"

    def to_json(self) -> dict[str, Any]:
        """The recipe as the content of recipe.json."""
        changes = {key: recipe_values.plain(value) for key, value in self.changes}
        return {"schema": RECIPE_SCHEMA, "name": self.name, "title": self.title, "changes": changes, **self.parts()}


def recipe_from_json(content: Mapping[str, Any]) -> Recipe:
    """The recipe of a recipe.json. Raises ParameterError if it is none."""
    if content.get("schema") != RECIPE_SCHEMA:
        raise ParameterError(f"the file has schema {content.get('schema')!r} instead of {RECIPE_SCHEMA!r}")
    try:
        parts = {name: recipe_values.part_from_json(name, content[name]) for name in SECTIONS}
        changes = tuple((str(key), recipe_values.as_tuple(value)) for key, value in content["changes"].items())
        return Recipe(str(content["name"]), str(content["title"]), changes=changes, **parts)
    except (KeyError, TypeError, AttributeError) as error:
        raise ParameterError(f"the recipe has a missing or unknown field: {error}") from None


def read_recipe(path: Path) -> Recipe:
    """The recipe of a recipe.json. Raises UserError if it is none."""
    try:
        return recipe_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} is not a recipe ({reason})") from None
