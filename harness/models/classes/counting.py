"""A Transformer that predicts a count as a number: a linear head on the last token (arXiv 2407.15160, section 6)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput

from harness.models.classes.selection import Selected
from harness.models.classes.transformer import PreTrainedTransformer, Transformer, TransformerConfig


class CountingTransformerConfig(TransformerConfig):
    """Sizes and positions, as of the Transformer. The output is one number."""

    model_type = "fflm-counting-transformer"

    tie_word_embeddings: bool = False


class CountingTransformer(PreTrainedTransformer):
    """The predicted count of a sequence, from the hidden state of its last token."""

    config_class = CountingTransformerConfig

    def __init__(self, config: CountingTransformerConfig):
        super().__init__(config)
        self.transformer = Transformer(config)
        self.head = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding."""
        return self.transformer.embedding

    def forward(self, input_ids: Tensor, labels: Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """input_ids: int64 (batch, time), no padding. labels: float32 (batch,), the counts.

        Logits: (batch, 1), the predicted counts. Loss: mean squared error.
        """
        last = input_ids.new_full((*input_ids.shape[:-1], 1), input_ids.shape[-1] - 1)
        states, _penalty = self.transformer(input_ids, Selected(last, torch.ones_like(last[..., 0])), None, self.fused)
        logits = self.head(states[..., 0, :])
        loss = None if labels is None else functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
        return SequenceClassifierOutput(loss=loss, logits=logits)
