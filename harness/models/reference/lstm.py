"""The reference model that does not glitch: the 1-layer LSTM of arXiv 2306.00946 as a Hugging Face causal LM.

Embedding 5 x 128, one LSTM layer of width 128, a linear head to 5 logits: 133,381 parameters
(section 4, "LSTM"). Importing this module makes `fflm-lstm` known to AutoConfig and AutoModelForCausalLM.
"""

from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutput


class LSTMConfig(PreTrainedConfig):
    """Sizes of the LSTM; the defaults are the paper's."""

    model_type = "fflm-lstm"

    vocab_size: int = 5
    hidden_size: int = 128
    num_hidden_layers: int = 1
    use_cache: bool = False


class LSTMForCausalLM(PreTrainedModel, GenerationMixin):
    """Next-symbol logits from a unidirectional LSTM. No attention, no positions, any length."""

    config_class = LSTMConfig
    _is_stateful = True  # tells transformers that there is no key-value cache to roll back

    def __init__(self, config: LSTMConfig):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.lstm = nn.LSTM(config.hidden_size, config.hidden_size, config.num_hidden_layers, batch_first=True)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding | nn.LSTM | nn.Linear):
            module.reset_parameters()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **_: Any,
    ) -> CausalLMOutput:
        """input_ids: int64 (batch, time). Logits: (batch, kept, 5), or (kept, 5) for a 2-D bool mask.

        labels: int64 (batch, time), -100 where nothing is to be predicted; the loss shifts them by one.
        Padding must be on the right: a recurrent state cannot skip what comes first (ValueError).
        """
        if attention_mask is not None and not bool((attention_mask[:, :-1] >= attention_mask[:, 1:]).all()):
            raise ValueError("fflm-lstm reads from left to right: pad on the right, or not at all")
        hidden, _state = self.lstm(self.embedding(input_ids))
        if isinstance(logits_to_keep, Tensor):
            hidden = hidden[logits_to_keep] if logits_to_keep.ndim == 2 else hidden[:, logits_to_keep]
        elif logits_to_keep:
            hidden = hidden[:, -logits_to_keep:]
        logits = self.head(hidden)
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)


AutoConfig.register(LSTMConfig.model_type, LSTMConfig)
AutoModelForCausalLM.register(LSTMConfig, LSTMForCausalLM)
