"""Recurrent language models, LSTM and GRU: embedding, recurrent layers, linear head.

The defaults of the LSTM are those of arXiv 2306.00946, section 4: embedding 5 x 128, one layer of width 128, a head to
5 logits, 133,381 parameters.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutput


class RecurrentConfig(PreTrainedConfig):
    """Sizes of a recurrent model."""

    vocab_size: int = 5
    hidden_size: int = 128
    num_hidden_layers: int = 1
    use_cache: bool = False


class LSTMConfig(RecurrentConfig):
    """Sizes of the LSTM."""

    model_type = "fflm-lstm"


class GRUConfig(RecurrentConfig):
    """Sizes of the GRU."""

    model_type = "fflm-gru"


class RecurrentForCausalLM(PreTrainedModel, GenerationMixin):
    """Next-symbol logits from a unidirectional recurrence. No attention, no positions, any length.

    unrolled: whether to compute the recurrence step by step from plain operations, for `torch.func.vmap`, which has no
    rule for the fused kernels.
    """

    layer_class: type[nn.LSTM] | type[nn.GRU]
    layer_name: str  # part of the names of the stored weights
    unrolled = False
    _is_stateful = True  # tells transformers that there is no key-value cache to roll back

    def __init__(self, config: RecurrentConfig):
        super().__init__(config)
        size = config.hidden_size
        self.embedding = nn.Embedding(config.vocab_size, size)
        self.add_module(self.layer_name, self.layer_class(size, size, config.num_hidden_layers, batch_first=True))
        self.head = nn.Linear(size, config.vocab_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding | nn.RNNBase | nn.Linear):
            module.reset_parameters()

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding."""
        return self.embedding

    def get_output_embeddings(self) -> nn.Module:
        """The linear layer from hidden states to logits."""
        return self.head

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
            raise ValueError(f"{self.config.model_type} reads from left to right: pad on the right, or not at all")
        layers = self.get_submodule(self.layer_name)
        inputs = self.embedding(input_ids)
        hidden = _unroll(layers, inputs) if self.unrolled else layers(inputs)[0]
        if isinstance(logits_to_keep, Tensor):
            hidden = hidden[logits_to_keep] if logits_to_keep.ndim == 2 else hidden[:, logits_to_keep]
        elif logits_to_keep:
            hidden = hidden[:, -logits_to_keep:]
        logits = self.head(hidden)
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)


class LSTMForCausalLM(RecurrentForCausalLM):
    """The LSTM language model."""

    config_class = LSTMConfig
    layer_class = nn.LSTM
    layer_name = "lstm"


class GRUForCausalLM(RecurrentForCausalLM):
    """The GRU language model."""

    config_class = GRUConfig
    layer_class = nn.GRU
    layer_name = "gru"


def _unroll(layers: Any, inputs: Tensor) -> Tensor:
    """The outputs of `nn.LSTM` or `nn.GRU` layers on (batch, time, width), one operation after another."""
    step = _lstm_step if isinstance(layers, nn.LSTM) else _gru_step
    for number in range(layers.num_layers):
        weights = [getattr(layers, f"{name}_l{number}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        from_inputs = functional.linear(inputs, weights[0], weights[2])  # of all times
        state = (torch.zeros_like(inputs[:, 0]),) * 2
        outputs = []
        for time in range(inputs.shape[1]):
            state = step(from_inputs[:, time], functional.linear(state[0], weights[1], weights[3]), state)
            outputs.append(state[0])
        inputs = torch.stack(outputs, dim=1)
    return inputs


def _lstm_step(from_input: Tensor, from_hidden: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One step of `nn.LSTM`, whose gates are in the order input, forget, cell, output."""
    enter, forget, cell, leave = (from_input + from_hidden).chunk(4, dim=-1)
    memory = forget.sigmoid() * state[1] + enter.sigmoid() * cell.tanh()
    return leave.sigmoid() * memory.tanh(), memory


def _gru_step(from_input: Tensor, from_hidden: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One step of `nn.GRU`, whose gates are in the order reset, update, new."""
    reset, update, new = zip(from_input.chunk(3, dim=-1), from_hidden.chunk(3, dim=-1), strict=True)
    gate = (update[0] + update[1]).sigmoid()
    candidate = (new[0] + (reset[0] + reset[1]).sigmoid() * new[1]).tanh()
    hidden = candidate + gate * (state[0] - candidate)
    return hidden, hidden
