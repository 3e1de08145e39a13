"""The forward passes: plans in, what the model said out. Nothing here knows what is right."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from harness.errors import UserError
from harness.plan import Budget, CompletionPlan, ReadPlan
from harness.tasks.base import Ints


@dataclass(frozen=True)
class ReadsSaid:
    """What was said at some reads. reads: indices into the plan. logprobs: float32 (reads, candidates),
    natural logarithms over the whole vocabulary. argmax: token ids."""

    reads: Ints
    logprobs: npt.NDArray[np.float32]
    argmax: Ints


@dataclass(frozen=True)
class CompletionsSaid:
    """What was written after some prompts. rows: indices into the plan; outputs: raw text; tokens: how many."""

    rows: Ints
    outputs: list[str]
    tokens: Ints


class Engine:
    """Runs a model over plans, one batch at a time."""

    def __init__(self, model: Any, tokenizer: Any):
        self.model = model
        self.tokenizer = tokenizer
        self._logits: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None

    @property
    def budget(self) -> Budget:
        """Batches whose activations, taken as 256 floats a token and unit of width, fit 4 GiB, and whose logits
        fit 256 MiB."""
        config = self.model.config.get_text_config()
        width = getattr(config, "hidden_size", 4096)
        return Budget(max(1024, 2**32 // (1024 * width)), max(1, 2**26 // config.vocab_size))

    @torch.inference_mode()
    def reads(self, plan: ReadPlan) -> Iterator[ReadsSaid]:
        """One teacher-forced pass a batch, all its reads at once; logits at the read positions only."""
        candidates = torch.from_numpy(plan.candidates).to(self.model.device)
        for batch in plan.batches:
            ids, attention = _pad([plan.tokens[row] for row in batch], self._padding, left=False)
            # Line by line and from left to right, which is the order in which a mask picks positions.
            reads_of_line = [np.arange(*np.searchsorted(plan.row, [row, row + 1])) for row in batch]
            mask = torch.zeros(ids.shape, dtype=torch.bool)
            for line, reads in enumerate(reads_of_line):
                mask[line, plan.at[reads] - 1] = True  # the logits for a token are those of the position before it
            logits = self._kept(*(tensor.to(self.model.device) for tensor in (ids, attention, mask))).float()
            _require_numbers(logits)
            argmax = logits.argmax(dim=-1)
            logprobs = logits[:, candidates] - logits.logsumexp(dim=-1, keepdim=True)
            yield ReadsSaid(np.concatenate(reads_of_line), logprobs.cpu().numpy(), argmax.cpu().numpy())

    def _kept(self, ids: Tensor, attention: Tensor, mask: Tensor) -> Tensor:
        """Logits where `mask` is true, (true positions, vocabulary), the way this model can do it."""
        if self._logits is None:
            self._logits = self._probe(ids, attention, mask)
        return self._logits(ids, attention, mask)

    def _probe(self, ids: Tensor, attention: Tensor, mask: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Asks once for two positions of one short text: the cheapest way that agrees with all logits is taken."""
        short = torch.zeros((1, 4), dtype=torch.bool, device=ids.device)
        short[0, 1] = short[0, 3] = True
        full = self._sliced(ids[:1, :4], attention[:1, :4], short)
        for way in (self._masked, self._at_head):
            try:
                kept = way(ids[:1, :4], attention[:1, :4], short)
            except (AttributeError, TypeError, IndexError, ValueError, RuntimeError):
                continue
            if kept.shape == full.shape and torch.allclose(kept.float(), full.float(), atol=1e-3):
                return way
        return self._sliced

    def _masked(self, ids: Tensor, attention: Tensor, mask: Tensor) -> Tensor:
        """transformers' own way, in its newer versions and most of its models."""
        output = self.model(input_ids=ids, attention_mask=attention, logits_to_keep=mask, use_cache=False)
        return output.logits.reshape(-1, output.logits.shape[-1])

    def _at_head(self, ids: Tensor, attention: Tensor, mask: Tensor) -> Tensor:
        """Only the marked hidden states are let into the output embedding; what follows it is elementwise."""
        head = self.model.get_output_embeddings()
        handle = head.register_forward_pre_hook(lambda module, inputs: (inputs[0][mask], *inputs[1:]))
        try:
            return self.model(input_ids=ids, attention_mask=attention, use_cache=False).logits
        finally:
            handle.remove()

    def _sliced(self, ids: Tensor, attention: Tensor, mask: Tensor) -> Tensor:
        """All logits, most of them for nothing."""
        return self.model(input_ids=ids, attention_mask=attention, use_cache=False).logits[mask]

    @property
    def _padding(self) -> int:
        """Any id will do: padding is masked out, and what stands right of it is never read."""
        tokens = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(token for token in tokens if token is not None)

    @torch.inference_mode()
    def completions(self, plan: CompletionPlan, max_new_tokens: int) -> Iterator[CompletionsSaid]:
        """Greedy continuations, up to the end of the first line that says something."""
        for batch in plan.batches:
            ids, attention = _pad([plan.tokens[row] for row in batch], self._padding, left=True)
            stop = _AfterOneLine(self.tokenizer, ids.shape[1], len(batch))
            written = self.model.generate(
                input_ids=ids.to(self.model.device),
                attention_mask=attention.to(self.model.device),
                max_new_tokens=max_new_tokens,
                pad_token_id=self._padding,
                logits_processor=LogitsProcessorList([_OnlyNumbers()]),
                stopping_criteria=StoppingCriteriaList([stop]),
            )[:, ids.shape[1] :].cpu()
            lengths = np.array(
                [self._length(line, stopped) for line, stopped in zip(written, stop.lengths, strict=True)]
            )
            outputs = [
                self.tokenizer.decode(line[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False)
                for line, length in zip(written, lengths, strict=True)
            ]
            yield CompletionsSaid(batch, outputs, lengths)

    def _length(self, line: Tensor, stopped: int | None) -> int:
        """Tokens of the text; one that only says that it ends is none of them."""
        end = self.model.generation_config.eos_token_id
        ends = torch.isin(line, torch.tensor([] if end is None else end)).nonzero()
        first = int(ends[0]) if len(ends) else len(line)
        return first if stopped is None else min(first, stopped)


def _require_numbers(logits: Tensor) -> None:
    """Raises UserError for NaN and overflow, whose argmax would pass for an answer."""
    if bool((torch.isnan(logits) | torch.isposinf(logits)).any()):
        raise UserError("the model gives NaN or infinity instead of logits: try another --dtype, such as float32")


class _OnlyNumbers(LogitsProcessor):
    """Looks at the logits of every step of a completion and changes nothing."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        _require_numbers(scores)
        return scores


class _AfterOneLine(StoppingCriteria):
    """Ends a text at the first line break after something was written."""

    def __init__(self, tokenizer: Any, prompt_tokens: int, rows: int):
        self.tokenizer = tokenizer
        self.prompt_tokens = prompt_tokens
        self.lengths: list[int | None] = [None] * rows

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        written = input_ids[:, self.prompt_tokens :]
        for row, length in enumerate(self.lengths):
            if length is None and "\n" in self.tokenizer.decode(written[row]).lstrip():
                self.lengths[row] = written.shape[1]
        return torch.tensor([length is not None for length in self.lengths], device=input_ids.device)


def _pad(rows: list[Ints], padding: int, left: bool) -> tuple[Tensor, Tensor]:
    """int64 ids and attention mask, both (rows, longest)."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), padding, dtype=torch.int64)
    attention = torch.zeros((len(rows), width), dtype=torch.int64)
    for line, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[line, place] = torch.from_numpy(row)
        attention[line, place] = 1
    return ids, attention
