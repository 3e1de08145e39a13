"""Runs a model over plans, batch by batch, with the methods that the model supports.

Reads, completions and dialogues are methods of one class, because they share one memory budget and the results of the
trials.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fflm_data.arrays import Ints, Logprobs
from harness.engine.batch_progress import BatchProgress
from harness.engine.batches import Budget, cut, pad
from harness.engine.capabilities import (
    DecodingMethod,
    ReadMethod,
    in_float32,
    is_deterministic_at_length,
    probe_decoding,
    probe_dialogue,
    probe_lengths,
    probe_prefix_cache,
    probe_read_method,
)
from harness.engine.decoding import Decoder, Limit
from harness.engine.dialogues import DialogueOutputs, decode_dialogues
from harness.engine.forward import Forward, KVState
from harness.engine.memory import assumed_budget, measured_budget, retry_on_out_of_memory, single_row
from harness.engine.threads import Threads
from harness.planning.plans import CompletionPlan, DialoguePlan, ReadPlan

# Maximum size of the KV state of a batch.
CACHE_BYTES = 2**31
# The shared prefix of prompts is computed separately if that saves this part of all tokens.
MIN_SAVING = 1 / 3
# Minimum cost of a pass, in tokens: a GPU takes as long for one token as for thousands.
MIN_PASS_TOKENS = {"cpu": 1}
MIN_PASS_TOKENS_GPU = 4096


@dataclass(frozen=True)
class ReadOutputs:
    """Log-probabilities at the points of some sequences.

    sequences: indices into the plan. points: indices of all their points. logprobs: float32 (points, wanted), in nats,
    over the whole vocabulary. argmax: token ids. Where logits are non-finite, logprobs are NaN and argmax is -1.
    """

    sequences: Ints
    points: Ints
    logprobs: Logprobs
    argmax: Ints


@dataclass(frozen=True)
class CompletionOutputs:
    """The outputs of some prompts. rows: indices into the plan; outputs: raw text; ids: its tokens; tokens: their
    number, -1 where logits are non-finite."""

    rows: Ints
    outputs: list[str]
    ids: list[Ints]
    tokens: Ints


class Engine:
    """A loaded model with its tokenizer.

    batch_size: maximum number of sequences per batch; None: as many as memory holds. strict: one sequence per batch,
    so that results do not depend on the batch even in half precision. sharing: number of processes on the model's
    device.
    """

    def __init__(
        self, model: Any, tokenizer: Any, batch_size: int | None = None, strict: bool = False, sharing: int = 1
    ):
        self.model = model
        self.tokenizer = tokenizer
        self.forward = Forward(model, _threads(model, strict))
        self.progress = BatchProgress()
        self._strict = strict
        self._sharing = sharing
        self._max_rows = 1 if strict else batch_size
        self._budget: Budget | None = None
        self._read_method: ReadMethod | None = None
        self._decoder: Decoder | None = None
        self._decoder_limits = (0, 0)  # tokens and padding that the decoder was tried with
        self._tried_lengths: tuple[int, int] | None = None  # the shortest and the longest text tried in one batch
        self._can_mix_lengths = True

    def read_batches(self, plan: ReadPlan, sequences: Ints | None = None) -> list[Ints]:
        """Batches of the sequences of a plan (default: all with points)."""
        points = np.bincount(plan.sequence, minlength=len(plan.sequences))
        sequences = np.flatnonzero(points) if sequences is None else sequences
        texts = [plan.sequences[index] for index in sequences.tolist()]
        lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
        method, budget = self.read_method(texts[0]), self.budget(plan)
        max_rows = self._max_rows if method.batchable else 1
        same_length = max_rows != 1 and not self._mixes_lengths(texts)
        batches = cut(lengths, points[sequences], budget, max_rows, same_length=same_length)
        return [sequences[batch] for batch in batches]

    def reads(self, plan: ReadPlan) -> Iterator[ReadOutputs]:
        """One teacher-forced pass per batch for all its points, with logits at the points only."""
        if not len(plan.sequence):
            return
        sequences = np.unique(plan.sequence)
        self.progress.start(_tokens(plan, sequences))

        def read(batch: Ints) -> ReadOutputs:
            with self.progress.batch(_tokens(plan, batch)), self.progress.layers(self.model):
                return self._read(plan, batch)

        yield from retry_on_out_of_memory(
            sequences, lambda left: self.read_batches(plan, left), read, self._halve_read_budget(plan)
        )

    @torch.inference_mode()
    def _read(self, plan: ReadPlan, batch: Ints) -> ReadOutputs:
        ids = pad([plan.sequences[index] for index in batch.tolist()], self._padding, left=False)
        first, last = np.searchsorted(plan.sequence, [batch, batch + 1])
        points = np.concatenate([np.arange(*ends) for ends in zip(first, last, strict=True)])
        line = np.repeat(np.arange(len(batch)), last - first)
        # The logits for a token are at the position before it; several points may share a position.
        positions, row_of_point = np.unique(line * ids.shape[1] + plan.at[points] - 1, return_inverse=True)
        mask = torch.zeros(ids.numel(), dtype=torch.bool)
        mask[torch.from_numpy(positions)] = True
        device = self.model.device
        method = self.read_method(plan.sequences[int(batch[0])])
        logits = method.logits_at(ids.to(device), mask.reshape(ids.shape).to(device)).float()
        total = logits.logsumexp(dim=-1)
        argmax = logits.argmax(dim=-1).masked_fill(~total.isfinite(), -1)
        rows = torch.from_numpy(row_of_point).to(logits.device)
        wanted = torch.from_numpy(np.ascontiguousarray(plan.wanted[points])).to(logits.device)
        logprobs = logits[rows[:, None], wanted] - total[rows, None]
        logprobs = logprobs.masked_fill(~total.isfinite()[rows, None], torch.nan)
        return ReadOutputs(batch, points, logprobs.cpu().numpy(), argmax[rows].cpu().numpy())

    def _mixes_lengths(self, texts: list[Ints]) -> bool:
        """Whether texts of these lengths are independent in a batch; tried once for the widest range so far."""
        short, long = min(texts, key=len), max(texts, key=len)
        tried = self._tried_lengths
        if len(short) == len(long) or (tried is not None and tried[0] <= len(short) and len(long) <= tried[1]):
            return self._can_mix_lengths
        if self._can_mix_lengths:
            self._tried_lengths = (len(short), len(long))
            method, short_ids = self.read_method(short), torch.from_numpy(short).to(self.model.device)
            self._can_mix_lengths = self._probe(
                lambda forward, ids: probe_lengths(forward, method, short_ids, ids), long
            )
        return self._can_mix_lengths

    @torch.inference_mode()
    def logprobs(self, ids: Ints, positions: Ints) -> Tensor:
        """Log-probabilities (nats) over the vocabulary of the token at some positions, given those before it.

        positions: ascending, from 1 to the number of ids. Returns float32 (positions, vocabulary), in main memory,
        from one pass over one sequence without padding.
        """
        fed = torch.from_numpy(ids[: int(positions[-1])])[None].to(self.model.device)
        mask = torch.zeros(fed.shape, dtype=torch.bool, device=fed.device)
        mask[0, torch.from_numpy(positions - 1).to(fed.device)] = True
        return self.read_method(ids).logits_at(fed, mask).float().log_softmax(dim=-1).cpu()

    def completions(
        self, plan: CompletionPlan, max_new_tokens: int, is_complete: Callable[[str], bool] | None
    ) -> Iterator[CompletionOutputs]:
        """Greedy decoding of each prompt until the end of text, the limit, or a complete text (`is_complete`)."""
        prompts = plan.prompts
        limit = Limit(max_new_tokens, plan.ends, is_complete)
        lengths = np.array([len(ids) for ids in prompts], dtype=np.int64) + max_new_tokens
        shared, decoder = self._decoding(prompts, lengths, max_new_tokens)
        method = decoder.method
        # After a shared prefix, and without left padding, all prompts of a batch need the same length.
        same_length = shared > 0 or not method.left_padding
        if not method.cached:
            same_length = not self._mixes_lengths([np.resize(ids, len(ids) + max_new_tokens) for ids in prompts])
        max_rows = self._max_rows if method.batchable and decoder.read_method.batchable else 1

        def batches(rows: Ints) -> list[Ints]:
            budget = self._decoding_budget(method)
            return [rows[batch] for batch in cut(lengths[rows], np.ones_like(rows), budget, max_rows, same_length)]

        def decode(batch: Ints) -> CompletionOutputs:
            with self.progress.batch(lengths[batch].sum()):
                rows = decoder.decode([prompts[row] for row in batch.tolist()], shared, limit, self.progress.within)
            counts = np.array([row.count for row in rows], dtype=np.int64)
            ids = [np.array(row.tokens, dtype=np.int64) for row in rows]
            return CompletionOutputs(batch, [row.text for row in rows], ids, counts)

        def shrink(batch: Ints) -> None:
            budget = self._decoding_budget(method)
            tokens = min(budget.tokens, len(batch) * int(lengths[batch].max()))
            self._budget = Budget(max(1, tokens // 2), budget.points)

        self.progress.start(lengths.sum())
        yield from retry_on_out_of_memory(np.arange(len(prompts)), batches, decode, shrink)

    def _decoding(self, prompts: list[Ints], lengths: Ints, new_tokens: int) -> tuple[int, Decoder]:
        """The length of the shared prefix that is computed once, and the decoder. lengths: with the output, up to
        `new_tokens` tokens."""
        shared = 0 if self._strict else _shared_length(prompts)
        if shared * (len(prompts) - 1) < MIN_SAVING * sum(map(len, prompts)):
            shared = 0
        share = shared > 0 and self._cost(lengths - shared, new_tokens, True) <= self._cost(lengths, new_tokens, False)
        decoder = self._decoder_for(prompts, int(lengths.max()), 0 if share else int(np.ptp(lengths)))
        if not share and decoder.method.left_padding:
            return 0, decoder
        can_share = decoder.method.prefix_cache and self._can_share(decoder, max(prompts, key=len), shared)
        return shared if can_share else 0, decoder

    def _cost(self, lengths: Ints, new_tokens: int, same_length: bool) -> int:
        """The cost of decoding, in tokens: a pass over the prompts, and one for each new token."""
        least = MIN_PASS_TOKENS.get(self.model.device.type, MIN_PASS_TOKENS_GPU)
        batches = cut(lengths, np.ones_like(lengths), self._budget or self._assumed, self._max_rows, same_length)
        given = sum(max(least, len(batch) * (int(lengths[batch].max()) - new_tokens)) for batch in batches)
        return given + sum(new_tokens * max(least, len(batch)) for batch in batches)

    def dialogues(
        self, plan: DialoguePlan, max_new_tokens: int, is_complete: Callable[[str], bool] | None
    ) -> Iterator[DialogueOutputs]:
        """Greedy decoding of all turns of each dialogue, with the KV state kept between turns if the model has one."""
        limit = Limit(max_new_tokens, plan.ends, is_complete)
        longest = int(plan.longest.max())
        decoder = self._decoder_for(plan.prompts, longest, 0)
        if not decoder.method.cached:
            yield from self._dialogues_without_cache(plan, limit)
            return
        method = self._probe(partial(probe_dialogue, method=decoder.method), np.resize(plan.prompts[0], longest))
        max_rows = self._max_rows if method.masking and decoder.read_method.batchable else 1

        # Only the prompt is fed in one pass; the rest of a dialogue is in the KV state.
        budget = Budget(
            CACHE_BYTES // max(1, decoder.method.bytes_per_token), self._decoding_budget(decoder.method).points
        )

        def batches(rows: Ints) -> list[Ints]:
            return [rows[batch] for batch in cut(plan.longest[rows], np.ones_like(rows), budget, max_rows, False)]

        def shrink(batch: Ints) -> None:
            nonlocal budget
            budget = Budget(max(1, min(budget.tokens, len(batch) * longest) // 2), budget.points)

        def decode(batch: Ints) -> DialogueOutputs:
            with self.progress.batch(plan.longest[batch].sum()):
                return decode_dialogues(decoder, method, plan, batch, limit, self.progress.within)

        self.progress.start(plan.longest.sum())
        yield from retry_on_out_of_memory(np.arange(len(plan.prompts)), batches, decode, shrink)

    def _dialogues_without_cache(self, plan: DialoguePlan, limit: Limit) -> Iterator[DialogueOutputs]:
        """For a model without a KV state: each turn is a separate completion."""
        rows = np.arange(len(plan.prompts))
        answers: list[list[tuple[Ints, str]]] = [[] for _ in rows]
        counts = np.zeros((len(rows), plan.turns), dtype=np.int64)
        for turn in range(plan.turns):
            prompts = plan.prompts if turn == 0 else [plan.following(row, answers[row]) for row in rows.tolist()]
            with self.progress.turn(turn, plan.turns):
                for part in self.completions(CompletionPlan(prompts, plan.ends), limit.tokens, limit.is_complete):
                    counts[part.rows, turn] = part.tokens
                    for row, output, ids in zip(part.rows.tolist(), part.outputs, part.ids, strict=True):
                        answers[row].append((ids, output))
        yield DialogueOutputs(rows, [[text for _, text in turns] for turns in answers], counts)

    @torch.inference_mode()
    def _measure_decoding(self, prompt: Ints, method: DecodingMethod) -> None:
        """Measures the budget with the longest prompt, unless reads have measured it, if the device reports memory."""
        if self._budget is None and method.cached:
            ids = torch.from_numpy(prompt).to(self.model.device)[None]
            run = partial(self.forward.step, ids, KVState(), method.position_ids)
            self._budget = self._measured(run, len(prompt), 1)

    def _decoding_budget(self, method: DecodingMethod) -> Budget:
        budget = self._budget or self._assumed
        return Budget(min(budget.tokens, CACHE_BYTES // max(1, method.bytes_per_token)), budget.points)

    def read_method(self, ids: Ints) -> ReadMethod:
        """The model's method for logits, found with the first text."""
        if self._read_method is None:
            method: ReadMethod = self._probe(probe_read_method, ids)
            if method.deterministic and not self._probe(
                lambda forward, text: is_deterministic_at_length(forward, method, text), ids
            ):
                method = ReadMethod(self.forward.sliced, batchable=False, deterministic=False)
            self._read_method = method
        return self._read_method

    def _can_share(self, decoder: Decoder, prompt: Ints, shared: int) -> bool:
        """Whether the longest prompt can continue its cached prefix."""
        return shared == 0 or bool(
            self._probe(
                lambda forward, ids: probe_prefix_cache(forward, decoder.read_method, ids, shared, decoder.method),
                prompt,
            )
        )

    def _decoder_for(self, prompts: list[Ints], length: int, padding: int) -> Decoder:
        """The decoder for texts up to `length` tokens with their prompts; tried again for longer texts or more
        padding."""
        longest = max(prompts, key=len)
        if self._decoder is None or length > self._decoder_limits[0] or padding > self._decoder_limits[1]:
            padding = max(padding, len(longest) // 2) if padding else 0  # avoids another trial soon
            read_method, given = self.read_method(longest), len(longest)
            method = DecodingMethod(False)
            if read_method.deterministic:
                method = self._probe(
                    lambda forward, ids: probe_decoding(forward, read_method, ids, padding, given), longest, length
                )
            self._decoder = Decoder(self.forward, read_method, method, self.tokenizer, self._padding)
            self._measure_decoding(longest, method)
            self._decoder_limits = (length, padding)
        return self._decoder

    @torch.inference_mode()
    def _probe(self, probe: Callable[[Forward, Tensor], Any], ids: Ints, length: int = 2) -> Any:
        ids = np.resize(ids, max(length, len(ids)))  # repeats the text up to that length
        with single_row(), in_float32(self.model):
            return probe(self.forward, torch.from_numpy(ids).to(self.model.device))

    @property
    def _assumed(self) -> Budget:
        return assumed_budget(getattr(self.model.config.get_text_config(), "hidden_size", 4096), self._vocabulary)

    @property
    def _vocabulary(self) -> int:
        return int(self.model.config.get_text_config().vocab_size)

    def budget(self, plan: ReadPlan) -> Budget:
        """The budget of a batch, measured with the longest sequence if the device reports memory."""
        if self._budget is None:
            longest = max(np.unique(plan.sequence).tolist(), key=lambda index: len(plan.sequences[index]))
            points = int((plan.sequence == longest).sum())
            alone, tokens = np.array([longest]), len(plan.sequences[longest])
            self.read_method(plan.sequences[longest])  # excludes the trials from the measurement
            self._budget = self._measured(lambda: self._read(plan, alone), tokens, points) or self._assumed
        return self._budget

    def _measured(self, run: Callable[[], object], tokens: int, points: int) -> Budget | None:
        return measured_budget(run, self.model.device, tokens, points, self._vocabulary, sharing=self._sharing)

    def _halve_read_budget(self, plan: ReadPlan) -> Callable[[Ints], None]:
        """Makes later batches half as large as the one that did not fit."""

        def shrink(batch: Ints) -> None:
            tokens = len(batch) * max(len(plan.sequences[index]) for index in batch.tolist())
            points = int(np.isin(plan.sequence, batch).sum())
            before = self.budget(plan)
            self._budget = Budget(max(1, min(before.tokens, tokens) // 2), max(1, min(before.points, points) // 2))

        return shrink

    @property
    def _padding(self) -> int:
        """The id of padding. Any id is correct: right padding is never read, left padding is masked."""
        tokens = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(token for token in tokens if token is not None and token < self._vocabulary)


def _tokens(plan: ReadPlan, sequences: Ints) -> int:
    return sum(len(plan.sequences[index]) for index in sequences.tolist())


def _threads(model: Any, strict: bool) -> Threads | None:
    """Chooses the number of threads on the CPU. None with strict, since the number changes the last bits of sums, and
    for compiled models, which are compiled for one number."""
    is_compiled = getattr(model, "_compiled_call_impl", None) is not None
    return Threads() if model.device.type == "cpu" and not strict and not is_compiled else None


def _shared_length(prompts: list[Ints]) -> int:
    """The length of the common prefix of all prompts, leaving at least one token to each."""
    width = min(len(ids) for ids in prompts) - 1
    first = prompts[0][:width]
    for ids in prompts:
        same = ids[: len(first)] == first
        first = first if same.all() else first[: int(np.argmin(same))]
    return len(first)
