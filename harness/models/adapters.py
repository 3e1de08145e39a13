"""PEFT adapters: resolves them to a revision, and loads them into a model or raises an error.

An adapter that has no effect on the logits is an error: the plain model must not be scored under the adapter's name.
"""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HTTPError

from harness.errors import UserError
from harness.models import name_suggestions
from harness.models.hub import require_reachable
from harness.models.load_errors import short_reason
from harness.models.model_config import CONFIG
from harness.models.model_name import local_id
from harness.models.packages import lacks_package
from harness.models.revision import folder_revision
from harness.models.tokenizer_file import TOKENIZER_FILES

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# Number of tokens on which an adapter must change the logits.
TRIAL_TOKENS = 16
MAX_REASON = 160  # characters


@dataclass(frozen=True)
class Adapter:
    """A PEFT adapter pinned to one revision (40 hex digits), its files in a folder."""

    name: str
    revision: str
    folder: Path


def resolve_adapter(adapter: str, local_files_only: bool) -> Adapter:
    """The adapter of a Hub id, ID@REVISION, or folder; downloads a Hub adapter.

    Raises UserError if its config or its safetensors are missing; pickles are not read.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    required = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
    folder, (name, _, branch) = Path(adapter), adapter.partition("@")
    try:
        if folder.is_dir():
            paths = [folder / file for file in required]
            revision, name = folder_revision(folder, None), local_id(folder.resolve().name)
        else:
            name_suggestions.require_id("adapter", name, name_suggestions.is_adapter)
            if not local_files_only:
                require_reachable(name, ADAPTER_CONFIG, branch or None)
            fetch = partial(hf_hub_download, name, revision=branch or None, local_files_only=local_files_only)
            paths = [Path(fetch(file)) for file in required]
            for file in TOKENIZER_FILES:  # optional
                with suppress(EntryNotFoundError, LocalEntryNotFoundError):
                    fetch(file)
            folder, revision = paths[0].parent, paths[0].parent.name
    except (OSError, ValueError, HTTPError) as error:
        paths, reason = [], error
    else:
        reason = FileNotFoundError(f"it lacks one of {', '.join(required)}")
    hint = name_suggestions.near_folder(Path(name), name_suggestions.is_adapter)
    if not paths or not all(path.is_file() for path in paths):
        raise UserError(
            f"the adapter {adapter!r} cannot be loaded ({short_reason(reason)}): name a PEFT adapter on the Hub, or a "
            f"folder with {' and '.join(required)}{hint}"
        )
    return Adapter(name, revision, folder)


def require_no_adapter(folder: Path, model: str) -> None:
    """Raises UserError for a model folder that also has an adapter.

    transformers would load that adapter, even from a pickle, and its base model from the Hub, under this model's name.
    """
    if name_suggestions.is_adapter(folder):
        raise UserError(
            f"{model} is both a model and an adapter ({ADAPTER_CONFIG} beside {CONFIG}): use --adapter {model} with "
            f"--model {name_suggestions.base_model(folder)}"
        )


def load_adapter(model: Any, adapter: Adapter) -> Any:
    """The model with the adapter in its layers, as PeftModel loads it.

    Raises UserError for an adapter that does not fit the model, fits only partly, changes no logit, or acts outside
    the model's weights (soft prompts, activated LoRA): the model's own forward pass would not include it.
    """
    try:
        from peft import PeftConfig, PeftModel
        from safetensors import SafetensorError
    except ImportError as error:
        raise lacks_package(error) from None
    try:
        config = PeftConfig.from_pretrained(str(adapter.folder))
        if config.is_prompt_learning:
            raise _mismatch(adapter, f"{config.peft_type} adds tokens to the prompt, which is not supported")
        if getattr(config, "alora_invocation_tokens", None):
            raise _mismatch(adapter, "activated LoRA needs invocation tokens, which the prompts do not have")
        with warnings.catch_warnings():  # missing weights are reported below
            warnings.simplefilter("ignore")
            adapted = PeftModel.from_pretrained(model, str(adapter.folder), config=config).eval()
        _require_all_weights(adapted, adapter)
        _require_effect(adapted, adapter)
    except UserError:
        raise
    except ImportError as error:
        raise lacks_package(error) from None
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, SafetensorError) as error:
        raise _mismatch(adapter, str(error)) from None
    return adapted.get_base_model()


def _require_all_weights(adapted: Any, adapter: Adapter) -> None:
    """Raises UserError unless the loaded adapter weights are exactly those of its file."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    stored = load_file(adapter.folder / ADAPTER_WEIGHTS)
    loaded = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    everything = adapted.state_dict()
    odd = sorted(loaded.keys() - stored.keys()) + sorted(stored.keys() - loaded.keys() - everything.keys())
    if odd:
        more = f" and {len(odd) - 1} more" if odd[1:] else ""
        raise _mismatch(adapter, f"{odd[0]}{more} is only in the file or only in the model")
    for name, weight in stored.items():
        parameter = loaded.get(name, everything.get(name))
        if parameter.shape != weight.shape or not torch.equal(parameter.cpu().to(weight.dtype), weight):
            raise _mismatch(adapter, f"{name} differs from the stored weight after loading")


def _require_effect(adapted: Any, adapter: Adapter) -> None:
    """Raises UserError unless the adapter changes the logits, in the base model's own forward pass too."""
    import torch

    base = adapted.get_base_model()
    vocabulary = int(base.config.get_text_config().vocab_size)
    config = adapted.peft_config[adapted.active_adapter]
    trained = getattr(config, "trainable_token_indices", None) or []
    trained = [token for ids in trained.values() for token in ids] if isinstance(trained, dict) else list(trained)
    spread = torch.linspace(0, vocabulary - 1, TRIAL_TOKENS).long()
    ids = torch.cat([torch.tensor(trained[:TRIAL_TOKENS], dtype=torch.int64), spread])[None].to(base.device)
    with torch.inference_mode():
        base_logits, adapted_logits = base(input_ids=ids).logits, adapted(input_ids=ids).logits
        with adapted.disable_adapter():
            plain_logits = adapted(input_ids=ids).logits
    if not torch.allclose(base_logits.float(), adapted_logits.float(), rtol=1e-3, atol=1e-3, equal_nan=True):
        raise _mismatch(adapter, "the model's own forward pass differs from the adapted one")
    if torch.equal(base_logits, plain_logits):
        raise _mismatch(adapter, "it changes no logit")


def _mismatch(adapter: Adapter, reason: str) -> UserError:
    reason = " ".join(reason.split())[:MAX_REASON]
    return UserError(
        f"the adapter {adapter.name} does not fit the model ({reason}): name a PEFT adapter trained on this model, or "
        "merge it into the model and save that"
    )
