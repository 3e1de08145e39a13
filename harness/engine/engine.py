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
from harness.engine.batches import Budget, cut, padded
from harness.engine.capabilities import (
    Completing,
    Reading,
    in_float32,
    probe_completing,
    probe_dialogue,
    probe_lengths,
    probe_reading,
    probe_sharing,
    repeats_at_length,
)
from harness.engine.decoding import Decoder, Limit
from harness.engine.dialogues import DialogueOutputs, converse
from harness.engine.forward import Forward, KVState
from harness.engine.memory import assumed_budget, measured_budget, retry_on_out_of_memory, single_row
from harness.engine.threads import Threads
from harness.planning.plans import CompletionPlan, DialoguePlan, ReadPlan

# What the keys and values of a batch may take.
CACHE_BYTES = 2**31
# The shared beginning of prompts is computed apart if that leaves out this part of all tokens.
WORTH_SHARING = 1 / 3
# What any pass costs, in tokens: a GPU takes as long for one token as for thousands, a CPU does not.
PASS_TOKENS = {"cpu": 1}
PASS_TOKENS_ELSEWHERE = 4096


@dataclass(frozen=True)
class ReadOutputs:
    """What was said in some sequences. sequences: indices into the plan. points: indices of all their points;
    logprobs: float32 (points, wanted), natural logarithms over the whole vocabulary; argmax: token ids. Where the
    logits are no numbers, logprobs are NaN and argmax is -1."""

    sequences: Ints
    points: Ints
    logprobs: Logprobs
    argmax: Ints


@dataclass(frozen=True)
class CompletionOutputs:
    """What was written after some prompts. rows: indices into the plan; outputs: raw text; ids: its tokens; tokens:
    how many, -1 where the logits were no numbers."""

    rows: Ints
    outputs: list[str]
    ids: list[Ints]
    tokens: Ints


class Engine:
    """A loaded model and its tokenizer, ready for any plan.

    batch_size: the most sequences in a batch, None for as many as memory holds. strict: one sequence a batch,
    so that what is said does not depend, in half precision either, on what is asked beside it. sharing: how many
    processes compute on the model's device.
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
        self._most_rows = 1 if strict else batch_size
        self._budget: Budget | None = None
        self._reading: Reading | None = None
        self._decoder: Decoder | None = None
        self._written = (0, 0)  # the tokens and the padding that the decoder was tried with
        self._tried: tuple[int, int] | None = None  # the shortest and the longest text that were tried in one batch
        self._together = True

    def read_batches(self, plan: ReadPlan, asked: Ints | None = None) -> list[Ints]:
        """Which sequences of a plan (default: all) go together; those without a point are not fed at all."""
        points = np.bincount(plan.sequence, minlength=len(plan.sequences))
        asked = np.flatnonzero(points) if asked is None else asked
        lengths = np.array([len(plan.sequences[one]) for one in asked.tolist()], dtype=np.int64)
        reading, budget = self.reading(plan.sequences[int(asked[0])]), self.budget(plan)
        most_rows = self._most_rows if reading.together else 1
        apart = most_rows != 1 and not self._lengths_go_together([plan.sequences[one] for one in asked.tolist()])
        batches = cut(lengths, points[asked], budget, most_rows, same_length=apart)
        return [asked[batch] for batch in batches]

    def reads(self, plan: ReadPlan) -> Iterator[ReadOutputs]:
        """One teacher-forced pass a batch, all its points at once; logits at the points only."""
        if not len(plan.sequence):
            return
        asked = np.unique(plan.sequence)
        self.progress.start(_tokens(plan, asked))

        def read(batch: Ints) -> ReadOutputs:
            with self.progress.batch(_tokens(plan, batch)), self.progress.layers(self.model):
                return self._read(plan, batch)

        yield from retry_on_out_of_memory(asked, lambda left: self.read_batches(plan, left), read, self._halve(plan))

    @torch.inference_mode()
    def _read(self, plan: ReadPlan, batch: Ints) -> ReadOutputs:
        ids = padded([plan.sequences[one] for one in batch.tolist()], self._padding, left=False)
        first, last = np.searchsorted(plan.sequence, [batch, batch + 1])
        points = np.concatenate([np.arange(*ends) for ends in zip(first, last, strict=True)])
        line = np.repeat(np.arange(len(batch)), last - first)
        # The logits for a token are those of the position before it; several points may share one.
        places, row_of_point = np.unique(line * ids.shape[1] + plan.at[points] - 1, return_inverse=True)
        mask = torch.zeros(ids.numel(), dtype=torch.bool)
        mask[torch.from_numpy(places)] = True
        device = self.model.device
        logits = (
            self.reading(plan.sequences[int(batch[0])]).kept(ids.to(device), mask.reshape(ids.shape).to(device)).float()
        )
        total = logits.logsumexp(dim=-1)
        argmax = logits.argmax(dim=-1).masked_fill(~total.isfinite(), -1)
        rows = torch.from_numpy(row_of_point).to(logits.device)
        wanted = torch.from_numpy(np.ascontiguousarray(plan.wanted[points])).to(logits.device)
        logprobs = logits[rows[:, None], wanted] - total[rows, None]
        logprobs = logprobs.masked_fill(~total.isfinite()[rows, None], torch.nan)
        return ReadOutputs(batch, points, logprobs.cpu().numpy(), argmax[rows].cpu().numpy())

    def _lengths_go_together(self, texts: list[Ints]) -> bool:
        """Whether texts of these lengths leave each other alone in a batch; tried once for the widest range so far."""
        short, long = min(texts, key=len), max(texts, key=len)
        tried = self._tried
        if len(short) == len(long) or (tried is not None and tried[0] <= len(short) and len(long) <= tried[1]):
            return self._together
        if self._together:
            self._tried = (len(short), len(long))
            reading, beginning = self.reading(short), torch.from_numpy(short).to(self.model.device)
            self._together = self._probe(lambda forward, ids: probe_lengths(forward, reading, beginning, ids), long)
        return self._together

    @torch.inference_mode()
    def logprobs(self, ids: Ints, places: Ints) -> Tensor:
        """Over the whole vocabulary, natural logarithms of the probability of the token at each of some places
        (ascending, from 1 to the number of ids), given those before it; float32 (places, vocabulary), in main memory.
        One pass over one sequence without padding."""
        fed = torch.from_numpy(ids[: int(places[-1])])[None].to(self.model.device)
        mask = torch.zeros(fed.shape, dtype=torch.bool, device=fed.device)
        mask[0, torch.from_numpy(places - 1).to(fed.device)] = True
        return self.reading(ids).kept(fed, mask).float().log_softmax(dim=-1).cpu()

    def completions(
        self, plan: CompletionPlan, max_new_tokens: int, is_complete: Callable[[str], bool] | None
    ) -> Iterator[CompletionOutputs]:
        """Greedy continuations, each up to the end of text, the limit, or what makes it complete (None: nothing)."""
        prompts = plan.prompts
        limit = Limit(max_new_tokens, plan.ends, is_complete)
        lengths = np.array([len(ids) for ids in prompts], dtype=np.int64) + max_new_tokens
        shared, decoder = self._way_to_write(prompts, lengths, max_new_tokens)
        way = decoder.way
        # After a shared beginning, and for models that padding disturbs, only prompts of one length go together.
        same_length = shared > 0 or not way.padded
        if not way.steps:
            same_length = not self._lengths_go_together([np.resize(ids, len(ids) + max_new_tokens) for ids in prompts])
        most_rows = self._most_rows if way.together and decoder.reading.together else 1

        def batches(asked: Ints) -> list[Ints]:
            budget = self._writing_budget(way)
            return [asked[one] for one in cut(lengths[asked], np.ones_like(asked), budget, most_rows, same_length)]

        def write(batch: Ints) -> CompletionOutputs:
            rows = [prompts[row] for row in batch.tolist()]
            with self.progress.batch(lengths[batch].sum()):
                written = decoder.write(rows, shared, limit, self.progress.within)
            counts = np.array([row.count for row in written], dtype=np.int64)
            ids = [np.array(row.tokens, dtype=np.int64) for row in written]
            return CompletionOutputs(batch, [row.text for row in written], ids, counts)

        def shrink(batch: Ints) -> None:
            budget = self._writing_budget(way)
            tokens = min(budget.tokens, len(batch) * int(lengths[batch].max()))
            self._budget = Budget(max(1, tokens // 2), budget.points)

        self.progress.start(lengths.sum())
        yield from retry_on_out_of_memory(np.arange(len(prompts)), batches, write, shrink)

    def _way_to_write(self, prompts: list[Ints], lengths: Ints, written: int) -> tuple[int, Decoder]:
        """How many first tokens of all prompts are computed once, and how the model goes on; lengths: with all that may
        be written, `written` tokens."""
        shared = 0 if self._strict else _shared_length(prompts)
        if shared * (len(prompts) - 1) < WORTH_SHARING * sum(map(len, prompts)):
            shared = 0
        apart = shared > 0 and self._cost(lengths - shared, written, True) <= self._cost(lengths, written, False)
        decoder = self._decoder_for(prompts, int(lengths.max()), 0 if apart else int(np.ptp(lengths)))
        if not apart and decoder.way.padded:
            return 0, decoder
        can = decoder.way.sharing and self._can_share(decoder, max(prompts, key=len), shared)
        return shared if can else 0, decoder

    def _cost(self, lengths: Ints, written: int, same_length: bool) -> int:
        """Of writing, in tokens: a pass over what is given, and one for each token that is written."""
        least = PASS_TOKENS.get(self.model.device.type, PASS_TOKENS_ELSEWHERE)
        batches = cut(lengths, np.ones_like(lengths), self._budget or self._assumed, self._most_rows, same_length)
        given = sum(max(least, len(batch) * (int(lengths[batch].max()) - written)) for batch in batches)
        return given + sum(written * max(least, len(batch)) for batch in batches)

    def dialogues(
        self, plan: DialoguePlan, max_new_tokens: int, is_complete: Callable[[str], bool] | None
    ) -> Iterator[DialogueOutputs]:
        """Dialogues of greedy answers, with what was seen kept from turn to turn where the model keeps anything."""
        limit = Limit(max_new_tokens, plan.ends, is_complete)
        longest = int(plan.longest.max())
        decoder = self._decoder_for(plan.prompts, longest, 0)
        way = decoder.way
        if not way.steps:
            yield from self._dialogues_anew(plan, limit)
            return
        apart = self._probe(partial(probe_dialogue, way=way), np.resize(plan.prompts[0], longest))
        most_rows = self._most_rows if apart.masking and decoder.reading.together else 1

        # Only its prompt is fed at once; the rest of a dialogue is what is kept.
        room = Budget(CACHE_BYTES // max(1, way.bytes_per_token), self._writing_budget(way).points)

        def batches(asked: Ints) -> list[Ints]:
            return [asked[one] for one in cut(plan.longest[asked], np.ones_like(asked), room, most_rows, False)]

        def shrink(batch: Ints) -> None:
            nonlocal room
            room = Budget(max(1, min(room.tokens, len(batch) * longest) // 2), room.points)

        def write(batch: Ints) -> DialogueOutputs:
            with self.progress.batch(plan.longest[batch].sum()):
                return converse(decoder, apart, plan, batch, limit, self.progress.within)

        self.progress.start(plan.longest.sum())
        yield from retry_on_out_of_memory(np.arange(len(plan.prompts)), batches, write, shrink)

    def _dialogues_anew(self, plan: DialoguePlan, limit: Limit) -> Iterator[DialogueOutputs]:
        """For a model that keeps nothing: each turn is a completion of its own."""
        rows = np.arange(len(plan.prompts))
        said: list[list[tuple[Ints, str]]] = [[] for _ in rows]
        counts = np.zeros((len(rows), plan.turns), dtype=np.int64)
        for turn in range(plan.turns):
            prompts = plan.prompts if turn == 0 else [plan.following(row, said[row]) for row in rows.tolist()]
            with self.progress.turns(turn, plan.turns):
                for part in self.completions(CompletionPlan(prompts, plan.ends), limit.tokens, limit.is_complete):
                    counts[part.rows, turn] = part.tokens
                    for row, output, ids in zip(part.rows.tolist(), part.outputs, part.ids, strict=True):
                        said[row].append((ids, output))
        yield DialogueOutputs(rows, [[text for _, text in turns] for turns in said], counts)

    @torch.inference_mode()
    def _measure_writing(self, prompt: Ints, way: Completing) -> None:
        """The budget of a run that reads nothing, from the longest prompt, where the device keeps account of memory."""
        if self._budget is None and way.steps:
            ids = torch.from_numpy(prompt).to(self.model.device)[None]
            run = partial(self.forward.step, ids, KVState(), way.positions)
            self._budget = self._measured(run, len(prompt), 1)

    def _writing_budget(self, way: Completing) -> Budget:
        budget = self._budget or self._assumed
        return Budget(min(budget.tokens, CACHE_BYTES // max(1, way.bytes_per_token)), budget.points)

    def reading(self, ids: Ints) -> Reading:
        """How this model gives logits, found with the first text it gets."""
        if self._reading is None:
            found: Reading = self._probe(probe_reading, ids)
            if found.repeats and not self._probe(lambda forward, text: repeats_at_length(forward, found, text), ids):
                found = Reading(self.forward.sliced, together=False, repeats=False)
            self._reading = found
        return self._reading

    def _can_share(self, decoder: Decoder, prompt: Ints, shared: int) -> bool:
        """Whether the longest prompt can follow what is kept of its beginning."""
        return shared == 0 or bool(
            self._probe(lambda forward, ids: probe_sharing(forward, decoder.reading, ids, shared, decoder.way), prompt)
        )

    def _decoder_for(self, prompts: list[Ints], length: int, padding: int) -> Decoder:
        """How this model writes texts of up to that length, prompts included; found again for longer ones, or with more
        padding."""
        longest = max(prompts, key=len)
        if self._decoder is None or length > self._written[0] or padding > self._written[1]:
            padding = max(padding, len(longest) // 2) if padding else 0  # so that it need not be found again soon
            reading, given = self.reading(longest), len(longest)
            way = Completing(False)
            if reading.repeats:
                way = self._probe(
                    lambda forward, ids: probe_completing(forward, reading, ids, padding, given), longest, length
                )
            self._decoder = Decoder(self.forward, reading, way, self.tokenizer, self._padding)
            self._measure_writing(longest, way)
            self._written = (length, padding)
        return self._decoder

    @torch.inference_mode()
    def _probe(self, probe: Callable[[Forward, Tensor], Any], ids: Ints, length: int = 2) -> Any:
        ids = np.resize(ids, max(length, len(ids)))  # said again from the beginning, up to that length
        with single_row(), in_float32(self.model):
            return probe(self.forward, torch.from_numpy(ids).to(self.model.device))

    @property
    def _assumed(self) -> Budget:
        return assumed_budget(getattr(self.model.config.get_text_config(), "hidden_size", 4096), self._vocabulary)

    @property
    def _vocabulary(self) -> int:
        return int(self.model.config.get_text_config().vocab_size)

    def budget(self, plan: ReadPlan) -> Budget:
        """What a batch may hold: measured with the longest sequence, where the device keeps account of memory."""
        if self._budget is None:
            longest = max(np.unique(plan.sequence).tolist(), key=lambda one: len(plan.sequences[one]))
            points = int((plan.sequence == longest).sum())
            alone, tokens = np.array([longest]), len(plan.sequences[longest])
            self.reading(plan.sequences[longest])  # trials of the model are not part of what a row takes
            self._budget = self._measured(lambda: self._read(plan, alone), tokens, points) or self._assumed
        return self._budget

    def _measured(self, run: Callable[[], object], tokens: int, points: int) -> Budget | None:
        return measured_budget(run, self.model.device, tokens, points, self._vocabulary, sharing=self._sharing)

    def _halve(self, plan: ReadPlan) -> Callable[[Ints], None]:
        """Later batches hold half of what did not fit."""

        def shrink(batch: Ints) -> None:
            tokens = len(batch) * max(len(plan.sequences[one]) for one in batch.tolist())
            points = int(np.isin(plan.sequence, batch).sum())
            before = self.budget(plan)
            self._budget = Budget(max(1, min(before.tokens, tokens) // 2), max(1, min(before.points, points) // 2))

        return shrink

    @property
    def _padding(self) -> int:
        """Any id will do: what stands right of a text is never read, what stands left of it is masked out."""
        tokens = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(token for token in tokens if token is not None and token < self._vocabulary)


def _tokens(plan: ReadPlan, sequences: Ints) -> int:
    return sum(len(plan.sequences[one]) for one in sequences.tolist())


def _threads(model: Any, strict: bool) -> Threads | None:
    """What chooses the threads of passes on the CPU. Their number can move the last bits of a sum, which strict
    forbids; what is compiled is compiled for one number."""
    is_compiled = getattr(model, "_compiled_call_impl", None) is not None
    return Threads() if model.device.type == "cpu" and not strict and not is_compiled else None


def _shared_length(prompts: list[Ints]) -> int:
    """How many tokens all prompts begin with, leaving at least one to each."""
    width = min(len(ids) for ids in prompts) - 1
    first = prompts[0][:width]
    for ids in prompts:
        same = ids[: len(first)] == first
        first = first if same.all() else first[: int(np.argmin(same))]
    return len(first)
