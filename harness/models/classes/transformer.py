"""A GPT-2-like Transformer with a choice of positions and dropout, as in arXiv 2306.00946, sections 4 and 5.

With learned positions its logits are those of GPT2LMHeadModel with the same weights. Two things differ from the class
of transformers: positions can be sinusoidal, rotary, ALiBi or absent, and the attention weights can be regularized
(`sharpness`). And it is faster where only some positions are scored: the last block computes queries and MLP at these
positions only, which changes no result.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutput

from harness.models.classes.attention import Attention
from harness.models.classes.positions import LEARNED, POSITIONS, ROPE, SINUSOIDAL, sinusoids
from harness.models.classes.selection import Selected, before, loss_at, select


class TransformerConfig(PreTrainedConfig):
    """Sizes and positions; the defaults are the paper's baseline (19,180,032 parameters).

    Dropout: attention_dropout on attention weights, mlp_dropout on the output of each MLP, embedding_dropout on the sum
    of token and position embeddings. max_position_embeddings: None for positions without a maximum length.
    """

    model_type = "fflm-transformer"

    vocab_size: int = 5
    hidden_size: int = 512
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    positions: str = LEARNED
    max_position_embeddings: int | None = 512
    attention_dropout: float = 0.0
    mlp_dropout: float = 0.0
    embedding_dropout: float = 0.0
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    use_cache: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if self.positions not in POSITIONS:
            raise ValueError(f"positions={self.positions!r} is unknown: use one of {', '.join(POSITIONS)}")
        heads = self.num_attention_heads
        if self.hidden_size % heads:
            raise ValueError(f"hidden_size={self.hidden_size} is not divisible by num_attention_heads={heads}")
        if self.hidden_size % {ROPE: 2 * heads, SINUSOIDAL: 2}.get(self.positions, 1):
            raise ValueError(f"hidden_size={self.hidden_size} gives an odd width with {self.positions} positions")
        if self.positions != LEARNED:
            self.max_position_embeddings = None
        super().__post_init__(**kwargs)


@dataclass
class TransformerOutput(CausalLMOutput):
    """Loss, logits, and the mean sharpness penalty of all attention weights (a scalar) if it was requested."""

    sharpness: Tensor | None = None


class Block(nn.Module):
    """Attention and MLP, each after a layer norm and added to its input."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        size, epsilon = config.hidden_size, config.layer_norm_eps
        self.attention_norm = nn.LayerNorm(size, epsilon)
        self.attention = Attention(size, config.num_attention_heads, config.positions, config.attention_dropout)
        self.mlp_norm = nn.LayerNorm(size, epsilon)
        self.mlp_input = nn.Linear(size, 4 * size)
        self.mlp_output = nn.Linear(4 * size, size)
        self.mlp_dropout = config.mlp_dropout

    def forward(self, states: Tensor, selected: Selected | None, sharpness: str | None, fused: bool) -> Any:
        """states: (batch, time, width). Returns the states at the selected positions, and the sharpness penalty."""
        mixed, penalty = self.attention(self.attention_norm(states), selected, sharpness, fused)
        states = (states if selected is None else selected.take(states)) + mixed
        inner = functional.gelu(self.mlp_input(self.mlp_norm(states)), approximate="tanh")
        return states + functional.dropout(self.mlp_output(inner), self.mlp_dropout, self.training), penalty


class Transformer(nn.Module):
    """Token ids to hidden states after the last layer norm."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = (
            nn.Embedding(config.max_position_embeddings or 0, config.hidden_size)
            if config.positions == LEARNED
            else None
        )
        self.positions, self.embedding_dropout = config.positions, config.embedding_dropout
        # The size of learned positions at the start. Of amplitude 1, they hide the embeddings, and nothing is learned.
        self.sinusoid_scale = 2**0.5 * config.initializer_range
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(
        self, ids: Tensor, selected: Selected | None = None, sharpness: str | None = None, fused: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """ids: int64 (batch, time). Returns (batch, time or selected, width), and the mean sharpness penalty."""
        states = self.embedding(ids)
        time = torch.arange(ids.shape[-1], device=ids.device)
        if self.position_embedding is not None:
            if len(time) > self.position_embedding.num_embeddings:
                raise ValueError(
                    f"{len(time)} tokens, but the model has {self.position_embedding.num_embeddings} learned positions"
                )
            states = states + self.position_embedding(time)
        elif self.positions == SINUSOIDAL:
            states = states + self.sinusoid_scale * sinusoids(time, states.shape[-1]).to(states.dtype)
        states = functional.dropout(states, self.embedding_dropout, self.training)
        penalties = []
        for number, block in enumerate(self.blocks, 1):
            # A penalty is over the attention of all positions.
            chosen = selected if number == len(self.blocks) and sharpness is None else None
            states, penalty = block(states, chosen, sharpness, fused)
            penalties.append(penalty)
        if selected is not None and sharpness is not None:
            states = selected.take(states)
        return self.norm(states), torch.stack(penalties).mean() if sharpness is not None else None


class PreTrainedTransformer(PreTrainedModel):
    """Initialization as in GPT-2: normal weights, smaller for the outputs of attention and MLP, biases 0."""

    _supports_sdpa = True

    def _init_weights(self, module: nn.Module) -> None:
        spread = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=spread)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, Block):
            for output in (module.attention.output, module.mlp_output):
                nn.init.normal_(output.weight, std=spread / (2 * self.config.num_hidden_layers) ** 0.5)

    @property
    def fused(self) -> bool:
        """Whether attention uses the fused kernel of PyTorch."""
        return bool(self.config._attn_implementation != "eager")


class TransformerForCausalLM(PreTrainedTransformer, GenerationMixin):
    """Next-token logits; the output embedding is the input embedding."""

    config_class = TransformerConfig
    _tied_weights_keys = {"head.weight": "transformer.embedding.weight"}

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.transformer = Transformer(config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding."""
        return self.transformer.embedding

    def get_output_embeddings(self) -> nn.Module:
        """The linear layer from hidden states to logits."""
        return self.head

    def forward(  # noqa: PLR0917  the names and order of transformers
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        sharpness: str | None = None,
        selected: Selected | None = None,
        skip_unlabelled: bool = True,
        **_: Any,
    ) -> TransformerOutput:
        """input_ids: int64 (batch, time). Logits: (batch, kept, vocabulary), or (kept, vocabulary) for a 2-D bool mask.

        labels: int64 (batch, time), -100 where nothing is to be predicted; the loss, in nats, shifts them by one. In
        training mode with few labels, the logits are those of the positions before labels, filled up to the largest
        number per sequence. sharpness: name of a penalty on attention weights ("entropy", "l2", "linf"). selected: the
        positions before labels, if the caller has computed them. skip_unlabelled: whether to compute only these
        positions if the caller has not.
        Padding must be on the right (ValueError).
        """
        if attention_mask is not None and not bool((attention_mask[:, :-1] >= attention_mask[:, 1:]).all()):
            raise ValueError("fflm-transformer has no masked positions: pad on the right, or not at all")
        mask = logits_to_keep if isinstance(logits_to_keep, Tensor) and logits_to_keep.ndim == 2 else None
        if labels is not None and self.training:
            selected = select(before(labels)) if selected is None and skip_unlabelled else selected
        elif mask is not None:
            selected = select(mask)
        states, penalty = self.transformer(input_ids, selected, sharpness, self.fused)
        if labels is not None:
            logits = self.head(states)
            return TransformerOutput(loss=loss_at(logits, labels, selected), logits=logits, sharpness=penalty)
        if mask is not None:
            states = states[mask if selected is None else selected.valid]
        elif isinstance(logits_to_keep, Tensor):
            states = states[:, logits_to_keep]
        elif logits_to_keep:
            states = states[:, -logits_to_keep:]
        return TransformerOutput(logits=self.head(states), sharpness=penalty)
