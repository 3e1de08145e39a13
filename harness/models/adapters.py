"""PEFT adapters: what PeftModel makes of a model, or a refusal. Never the plain model under an adapter's name."""

import warnings
from typing import Any

from harness.errors import UserError
from harness.models.packages import lacks_package
from harness.models.source import Adapter

# Tokens that show whether an adapter does anything.
TRIAL_TOKENS = 16


def adapt(model: Any, adapter: Adapter) -> Any:
    """The model with the adapter in its layers, as PeftModel puts it there.

    Raises UserError for an adapter that does not fit, fits in part only, changes nothing, or works on more than the
    model's weights (soft prompts, adapters that a text turns on), so that the model's own forward pass lacks it.
    """
    try:
        from peft import PeftConfig, PeftModel
        from safetensors import SafetensorError
    except ImportError as error:
        raise lacks_package(error) from None
    try:
        config = PeftConfig.from_pretrained(str(adapter.folder))
        if config.is_prompt_learning:
            raise _misfit(adapter, f"{config.peft_type} adds tokens to a prompt, which are not scored here")
        if getattr(config, "alora_invocation_tokens", None):
            raise _misfit(adapter, "it is turned on by tokens of a text (activated LoRA), which are not in the rows")
        with warnings.catch_warnings():  # what is missing is said below, in one line
            warnings.simplefilter("ignore")
            adapted = PeftModel.from_pretrained(model, str(adapter.folder), config=config).eval()
        _require_all(adapted, adapter)
        _require_effect(adapted, adapter)
    except UserError:
        raise
    except ImportError as error:
        raise lacks_package(error) from None
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, SafetensorError) as error:
        raise _misfit(adapter, str(error)) from None
    return adapted.get_base_model()


def _require_all(adapted: Any, adapter: Adapter) -> None:
    """Raises UserError unless the adapter's weights are those of its file, all of them and no others."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    stored = load_file(adapter.folder / "adapter_model.safetensors")
    used = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    everything = adapted.state_dict()
    odd = sorted(used.keys() - stored.keys()) + sorted(stored.keys() - used.keys() - everything.keys())
    if odd:
        raise _misfit(adapter, f"{odd[0]}{f' and {len(odd) - 1} more' if odd[1:] else ''} on one side only")
    for name, weight in stored.items():
        there = used.get(name, everything.get(name))
        if there.shape != weight.shape or not torch.equal(there.cpu().to(weight.dtype), weight):
            raise _misfit(adapter, f"{name} is not loaded as it is stored")


def _require_effect(adapted: Any, adapter: Adapter) -> None:
    """Raises UserError unless the adapter changes what is said, and the model's own forward pass says that too."""
    import torch

    own = adapted.get_base_model()
    vocabulary = int(own.config.get_text_config().vocab_size)
    config = adapted.peft_config[adapted.active_adapter]
    trained = getattr(config, "trainable_token_indices", None) or []
    trained = [one for ids in trained.values() for one in ids] if isinstance(trained, dict) else list(trained)
    spread = torch.linspace(0, vocabulary - 1, TRIAL_TOKENS).long()
    ids = torch.cat([torch.tensor(trained[:TRIAL_TOKENS], dtype=torch.int64), spread])[None].to(own.device)
    with torch.inference_mode():
        said, wanted = own(input_ids=ids).logits, adapted(input_ids=ids).logits
        with adapted.disable_adapter():
            before = adapted(input_ids=ids).logits
    if not torch.allclose(said.float(), wanted.float(), rtol=1e-3, atol=1e-3, equal_nan=True):
        raise _misfit(adapter, "the model's own forward pass does not say what the adapted one says")
    if torch.equal(said, before):
        raise _misfit(adapter, "it changes no logit")


def _misfit(adapter: Adapter, reason: str) -> UserError:
    reason = " ".join(reason.split())[:160]
    return UserError(
        f"the adapter {adapter.name} does not fit the model ({reason}): name a PEFT adapter that was trained on this "
        "model, or merge it into the model and save that"
    )
