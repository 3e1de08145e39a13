"""Builds what a recipe trains: model, tokenizer, stream of rows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fflm_data.config import ParameterError
from fflm_data.flipflop.strings import FIRST_SYMBOL, symbol_names
from fflm_data.suggestions import did_you_mean
from harness.errors import UserError
from harness.training.data import Built, CountingRows, FlipFlopRows
from harness.training.recipe import Recipe
from harness.training.recipe_parts import (
    ArchitectureModel,
    CountingData,
    PretrainedModel,
    RecurrentModel,
    TransformerModel,
)

# Sizes of an architecture whose settings do not name them.
WIDTH, LAYERS, HEADS = 64, 2, 4
LENGTHS = ("max_position_embeddings", "context_length")
# No token of the vocabulary is special: transformers would ignore the embedding of a padding token.
SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")


def build(recipe: Recipe) -> Built:
    """Model, rows and tokenizer of a recipe. Raises UserError or ParameterError if the model cannot be built."""
    import torch

    count = recipe.schedule.steps * recipe.data.batch_size
    if isinstance(recipe.model, PretrainedModel):
        from harness.training.pretrained import load_pretrained

        return load_pretrained(recipe, count)
    torch.manual_seed(recipe.model.seed)
    model = _model(recipe).train()
    if isinstance(recipe.data, CountingData):
        return Built(model, CountingRows(recipe.data, count))
    return Built(model, FlipFlopRows(recipe.data, count))


def vocabulary_size(recipe: Recipe) -> int:
    """Number of tokens."""
    data = recipe.data
    return data.vocabulary if isinstance(data, CountingData) else FIRST_SYMBOL + data.symbols


def _model(recipe: Recipe) -> Any:
    model, size = recipe.model, vocabulary_size(recipe)
    if isinstance(model, TransformerModel):
        from harness.models.classes.counting import CountingTransformer, CountingTransformerConfig
        from harness.models.classes.transformer import TransformerConfig, TransformerForCausalLM

        counting = isinstance(recipe.data, CountingData)
        config_class: Any = CountingTransformerConfig if counting else TransformerConfig
        config = config_class(
            vocab_size=size,
            hidden_size=model.width,
            num_hidden_layers=model.layers,
            num_attention_heads=model.heads,
            positions=model.positions,
            max_position_embeddings=model.max_positions,
            attention_dropout=recipe.intervention.attention_dropout,
            mlp_dropout=recipe.intervention.mlp_dropout,
            embedding_dropout=recipe.intervention.embedding_dropout,
            initializer_range=model.init_std,
        )
        return CountingTransformer(config) if counting else TransformerForCausalLM(config)
    if isinstance(model, RecurrentModel):
        from harness.models.classes import recurrent

        sizes: dict[str, Any] = {"vocab_size": size, "hidden_size": model.width, "num_hidden_layers": model.layers}
        if model.cell == "gru":
            return recurrent.GRUForCausalLM(recurrent.GRUConfig(**sizes))
        return recurrent.LSTMForCausalLM(recurrent.LSTMConfig(**sizes))
    if isinstance(model, ArchitectureModel):
        return _from_architecture(model, size, recipe.data.length)
    raise TypeError(f"no model is built from {model.kind}")


def _from_architecture(model: ArchitectureModel, vocabulary: int, length: int) -> Any:
    """A causal LM of transformers with random weights. Raises UserError for an unknown or unusable architecture."""
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    known = [name for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if name in CONFIG_MAPPING]
    if model.architecture not in known:
        hint = did_you_mean(model.architecture, known)
        raise UserError(
            f"transformers has no causal LM architecture {model.architecture!r}: name a model_type such as llama, gpt2 "
            f"or mamba{hint}"
        )
    config_class = CONFIG_MAPPING[model.architecture]
    if config_class not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(f"{model.architecture} has no causal LM class: use another architecture")
    plain = config_class()
    names = set(plain.to_dict()) | set(config_class.attribute_map)
    settings = dict(model.settings)
    for name in settings:
        if name not in names:
            raise ParameterError(
                f"there is no 'model.{name}' in the config of {model.architecture}{did_you_mean(name, names)}"
            )
    sizes = _small_sizes(settings) | {
        name: length for name in LENGTHS if (getattr(plain, name, None) or length) < length
    }
    defaults = {name: value for name, value in sizes.items() if name in names}
    special = {name: None for name in SPECIAL if name in names}
    try:
        config = config_class(**{"vocab_size": vocabulary, **defaults, **special, **settings})
        return AutoModelForCausalLM.from_config(config)
    except Exception as error:  # any kind, from the code of an architecture with settings it was not made for
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{model.architecture} cannot be built with {config_class.__name__}({_words({**defaults, **settings})}): "
            f"{reason}. Change it with --set model.KEY=VALUE."
        ) from None


def _small_sizes(settings: Mapping[str, Any]) -> dict[str, int]:
    """Sizes of a small model that fit together with the given ones; a config may lack some of them."""
    width, heads = settings.get("hidden_size", WIDTH), settings.get("num_attention_heads", HEADS)
    valid = isinstance(width, int) and isinstance(heads, int) and heads > 0
    return {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": heads,
        "head_dim": width // heads if valid else WIDTH // HEADS,
        "intermediate_size": 4 * width if valid else 4 * WIDTH,
    }


def _words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in settings.items())


def write_tokenizer(output: Path, symbols: int = 2) -> None:
    """The tokenizer of flip-flop strings: one token a symbol, spaces skipped, anything else an error."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    vocabulary = {symbol: number for number, symbol in enumerate([*"wri", *symbol_names(symbols)])}
    backend = Tokenizer(models.WordLevel(vocabulary))
    piece = "." if symbols <= 10 else r"\d+|\D"
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(piece), "isolated")]
    )
    backend.save(str(output / "tokenizer.json"))
    # Every version of transformers has this class for a tokenizer that is fully defined by tokenizer.json.
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    text = json.dumps(settings, indent=1) + "\n"
    (output / "tokenizer_config.json").write_text(text, encoding="utf-8", newline="\n")
