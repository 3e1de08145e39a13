"""Compares replayed observations with recorded ones, by kind of observation.

Log-probabilities must be equal within the tolerance; that of a candidate includes all candidates that begin with it.
The most probable token may differ only at a near tie. A different text must be one that greedy decoding writes with
near ties broken otherwise. NaN is never equal. `bias_test` examines the differences as a whole. All kinds of
observations are in this file, so that the requirements of a replay are in one place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Bools, Floats, Ints
from harness.engine.capabilities import DecodingMethod
from harness.engine.decoding import Decoder, Limit
from harness.planning.plans import ChoicePlan, CompletionPlan, ContinuationPlan, DialoguePlan, ReadPlan
from harness.prompts.jobs import Job
from harness.scoring.grading import wrong_rows
from harness.tasks import CompletionTask, ReadTask
from leaderboard.replay.bias_test import Tally, clusters, correct
from leaderboard.replay.greedy_path import GreedyDecoder, find_greedy_path
from leaderboard.replay.rerun import ReplayedRows, ReplayModel
from leaderboard.replay.tolerances import (
    Tolerance,
    absolute_differences,
    could_be_missed,
    could_be_written,
    exceeds,
    lead,
    prefix_logprobs,
)
from leaderboard.untrusted_text import quote_output

MOST_DIFFERENCES = 20


@dataclass
class ReplayFindings:
    """Findings so far. compared: numbers and tokens. largest: largest difference of log-probabilities. flips: changed
    near ties. found: number of differences; differences: the first of them."""

    compared: int = 0
    largest: float = 0.0
    flips: int = 0
    found: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Whether there are so many differences that near ties, which need a forward pass each, are not checked."""
        return self.found >= MOST_DIFFERENCES

    def add(self, text: str) -> None:
        """Adds a difference."""
        self.found += 1
        if len(self.differences) < MOST_DIFFERENCES:
            self.differences.append(text)


@dataclass(frozen=True)
class ReplayComparison:
    """A loaded model, the tolerance, the findings, and the counts by job."""

    model: ReplayModel
    tolerance: Tolerance
    findings: ReplayFindings = field(default_factory=ReplayFindings)
    tallies: dict[str, Tally] = field(default_factory=dict)

    def compare(self, output: ReplayedRows, recorded: pa.Table) -> None:
        """Compares replayed rows with the table of their job. Raises UserError if it has other rows."""
        recorded = recorded.filter(pa.array(np.isin(recorded["id"].to_numpy(), output.ids))).combine_chunks()
        for name in ("id", "position", "turn"):
            if name in recorded.schema.names and not recorded[name].equals(output.table[name]):
                raise wrong_rows(output.job)
        self.tallies.setdefault(output.job.name, Tally())
        if isinstance(output.plan, ChoicePlan):
            self._choices(output, output.plan, recorded)
        elif isinstance(output.plan, ReadPlan):
            self._reads(output, output.plan, recorded)
        else:
            self._texts(output, output.plan, recorded)
        graded = (correct(output.job, output.rows, table) for table in (recorded, output.table))
        self.tallies[output.job.name].add_answers(clusters(output.job, output.table), *graded)

    # ---- Reads

    def _reads(self, output: ReplayedRows, plan: ReadPlan, recorded: pa.Table) -> None:
        symbols = cast(ReadTask, output.job.task).symbols(output.job.config)
        tables = (recorded, output.table)
        was, replayed = (table["logprobs"].combine_chunks().values.to_numpy() for table in tables)
        places = [
            f"{output.job.name} row {row}, position {position}"
            for row, position in zip(recorded["id"].to_pylist(), recorded["position"].to_pylist(), strict=True)
        ]
        names = [f"{place}: log-probability of {symbol}" for place in places for symbol in symbols]
        candidates = plan.read * len(symbols) + plan.candidate if isinstance(plan, ContinuationPlan) else None
        tokens = np.ones(len(was)) if candidates is None else np.bincount(candidates, minlength=len(was))
        target = np.arange(len(was)) % len(symbols) == np.repeat(output.table["gold"].to_numpy(), len(symbols))
        self._compare_logprobs(output.job, names, (was, replayed), self.tolerance.allowed(replayed, tokens), target)
        for name in ("gap", "gold", "gold_token"):
            self._compare_columns(name, places, recorded, output.table)
        first, second = (table["argmax"].to_numpy() for table in tables)
        self.findings.compared += len(first)
        for read in np.flatnonzero(first != second).tolist():
            pair = (int(first[read]), int(second[read]))
            if candidates is None:
                near = self._near_token(plan, read, pair[0])
            else:
                near = self._near(plan, candidates, range(read * len(symbols), (read + 1) * len(symbols)), pair)
            self._flip(f"{places[read]}: the most probable", pair, near)

    # ---- Choices

    def _choices(self, output: ReplayedRows, plan: ChoicePlan, recorded: pa.Table) -> None:
        tables = (recorded, output.table)
        lists = [table["logprobs"].combine_chunks() for table in tables]
        if not lists[0].value_lengths().equals(lists[1].value_lengths()):
            raise wrong_rows(output.job)
        was, replayed = (prefix_logprobs(plan, values.flatten().to_numpy()) for values in lists)
        places = [f"{output.job.name} row {row}" for row in output.ids.tolist()]
        names = [
            f"{place}: log-probability of candidate {candidate}"
            for place, count in zip(places, np.diff(plan.first).tolist(), strict=True)
            for candidate in range(count)
        ]
        tokens = np.bincount(plan.candidate, minlength=len(was))
        target = np.zeros(len(was), dtype=bool)
        target[plan.first[:-1] + output.table["gold"].to_numpy()] = True
        self._compare_logprobs(output.job, names, (was, replayed), self.tolerance.allowed(replayed, tokens), target)
        self._compare_columns("gold", places, recorded, output.table)
        first, second = (table["written"].to_numpy() for table in tables)
        self.findings.compared += len(first)
        for row in np.flatnonzero(first != second).tolist():
            pair = (int(first[row]), int(second[row]))
            near = self._near(plan, plan.candidate, range(int(plan.first[row]), int(plan.first[row + 1])), pair)
            self._flip(f"{places[row]}: the written candidate", pair, near)

    # ---- Shared by reads and choices

    def _compare_logprobs(
        self, job: Job, names: Sequence[str], numbers: tuple[Floats, Floats], allowed: Floats, target: Bools
    ) -> None:
        """numbers: recorded and replayed. target: which of them are those of targets."""
        was, replayed = numbers
        distances = absolute_differences(was, replayed)
        self.tallies[job.name].add_differences(distances, allowed, target)
        self.findings.compared += len(was)
        self.findings.largest = max(self.findings.largest, float(distances[np.isfinite(distances)].max(initial=0)))
        for place in np.flatnonzero(exceeds(was, replayed, allowed)).tolist():
            self.findings.add(f"{names[place]} recorded {was[place]:.4f}, replayed {replayed[place]:.4f}")

    def _compare_columns(self, name: str, places: Sequence[str], recorded: pa.Table, replayed: pa.Table) -> None:
        first, second = (table[name].to_numpy() for table in (recorded, replayed))
        for item in np.flatnonzero(first != second).tolist():
            self.findings.add(f"{places[item]}: {name} recorded {first[item]}, replayed {second[item]}")

    def _flip(self, what: str, pair: tuple[int, int], near: bool) -> None:
        self.findings.flips += near
        if not near:
            self.findings.add(f"{what} recorded {pair[0]}, replayed {pair[1]}, and it was no near tie")

    def _near_token(self, plan: ReadPlan, point: int, token: int) -> bool:
        """Returns whether a token may have been the most probable one at a point of a plan."""
        if self.findings.has_failed:
            return False
        return could_be_written(*self._leads(plan, np.array([point]), np.array([token])))

    def _near(self, plan: ReadPlan, candidates: Ints, own: range, pair: tuple[int, int]) -> bool:
        """Returns whether the first candidate of a pair may have been written instead of the second (-1: none). own:
        the candidates of the read or row. candidates: (points,), by point of the plan."""
        was = pair[0]
        if self.findings.has_failed or not -1 <= was < len(own):
            return False
        points = [np.flatnonzero(candidates == own[index]) if index >= 0 else None for index in pair]
        if points[0] is not None and not could_be_written(*self._wanted_leads(plan, points[0])):
            return False
        # The longest of several possible candidates is written.
        if points[1] is not None and (points[0] is None or len(points[1]) > len(points[0])):
            return could_be_missed(*self._wanted_leads(plan, points[1]))
        return True

    def _wanted_leads(self, plan: ReadPlan, points: Ints) -> tuple[Floats, Floats]:
        return self._leads(plan, points, plan.wanted[points, 0])

    def _leads(self, plan: ReadPlan, points: Ints, tokens: Ints) -> tuple[Floats, Floats]:
        """Returns by how much other tokens are above the given ones at points of a plan, and the margin of a near
        tie."""
        leads, margins = np.empty(len(points)), np.empty(len(points))
        for line, (point, token) in enumerate(zip(points.tolist(), tokens.tolist(), strict=True)):
            ids = plan.sequences[plan.sequence[point]]
            logprobs = self.model.engine.logprobs(ids, plan.at[point : point + 1])[0].numpy()
            leads[line], margins[line] = lead(logprobs, token), self.tolerance.margin(float(logprobs.max()))
        return leads, margins

    # ---- Completions and dialogues

    def _texts(self, output: ReplayedRows, plan: CompletionPlan, recorded: pa.Table) -> None:
        turns = output.job.prompting.turns
        first, second = (
            list(zip(table["output"].to_pylist(), table["tokens"].to_pylist(), strict=True))
            for table in (recorded, output.table)
        )
        decoder = self._greedy_decoder(output.job, plan)
        for row, number in enumerate(output.ids.tolist()):
            lines = slice(row * turns, (row + 1) * turns)
            was, replayed = first[lines], second[lines]
            self.findings.compared += sum(max(count, 0) + 1 for _, count in was)
            place = f"{output.job.name} row {number}"
            if min(count for _, count in [*was, *replayed]) < 0:
                self.findings.add(f"{place}: the output ends in non-finite logits")
            elif was != replayed:
                self._compare_text(place, row, plan, decoder, was, replayed)

    def _compare_text(  # noqa: PLR0917
        self,
        place: str,
        row: int,
        plan: CompletionPlan,
        decoder: GreedyDecoder,
        was: Sequence[tuple[str, int]],
        replayed: Sequence[tuple[str, int]],
    ) -> None:
        """Compares the turns of a row, each after the recorded earlier turns. Stops at the first that differs."""
        turns: list[tuple[Ints, str]] = []
        flips = 0
        for turn, (text, count) in enumerate(was):
            prompt = plan.following(row, turns) if isinstance(plan, DialoguePlan) and turns else plan.prompts[row]
            path = None if self.findings.has_failed else find_greedy_path(decoder, prompt, text, count)
            if path is None:
                where = f"{place}, turn {turn}" if len(was) > 1 else place
                now = "" if was[:turn] != replayed[:turn] else f", {quote_output(replayed[turn][0])} replayed"
                self.findings.add(f"{where}: {quote_output(text)} recorded{now}, and it was no near tie")
                return
            turns.append((path.tokens, text))
            flips += path.flips
        self.findings.flips += max(flips, 1)

    def _greedy_decoder(self, job: Job, plan: CompletionPlan) -> GreedyDecoder:
        engine, task = self.model.engine, cast(CompletionTask, job.task)
        # It does not generate here: it provides end tokens and detokenization.
        decoder = Decoder(
            engine.forward, engine.read_method(plan.prompts[0]), DecodingMethod(False), engine.tokenizer, 0
        )
        is_complete = None if job.prompting.chat else task.is_complete
        limit = Limit(job.prompting.max_new_tokens(task), plan.ends | decoder.ends, is_complete)
        return GreedyDecoder(engine.logprobs, decoder.text, engine.tokenizer, limit, self.tolerance)
