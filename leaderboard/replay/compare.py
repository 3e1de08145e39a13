"""Rechecking: what a record says of some rows against what the model says again, by kind of observation.

Log-probabilities must be the same within a tolerance, that of a candidate with all that begins with it. What was the
most probable may be another only at a near tie; a text that differs must be one that greedy decoding writes with near
ties broken otherwise. NaN is never the same. Whether all of it leans to one side is `leaning`'s.
All kinds of observations stand in this file, so that what is demanded of a replay is read in one place.
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
from leaderboard.replay.agreement import Tolerance, apart, beginnings, could_be_missed, could_be_written, differ, lead
from leaderboard.replay.bias_test import Tally, clusters, right
from leaderboard.replay.differences import quoted
from leaderboard.replay.greedy_path import Writer, retrace
from leaderboard.replay.rerun import Again, Said

MOST_DIFFERENCES = 20


@dataclass
class Findings:
    """What has been found so far. compared: numbers and tokens. largest: of the differences of log-probabilities.
    flips: near ties that came out the other way. found: how many differences; differences: the first of them."""

    compared: int = 0
    largest: float = 0.0
    flips: int = 0
    found: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def hopeless(self) -> bool:
        """Whether no near tie can save it: none is looked for any more, which takes a pass each."""
        return self.found >= MOST_DIFFERENCES

    def differs(self, text: str) -> None:
        """Notes a difference."""
        self.found += 1
        if len(self.differences) < MOST_DIFFERENCES:
            self.differences.append(text)


@dataclass(frozen=True)
class Recheck:
    """A model that is asked again, what it may be off by, what has been found, and what was counted, by job."""

    again: Again
    tolerance: Tolerance
    findings: Findings = field(default_factory=Findings)
    tallies: dict[str, Tally] = field(default_factory=dict)

    def check(self, said: Said, recorded: pa.Table) -> None:
        """Compares what was said to some rows with the table of their job. Raises UserError if that has other rows."""
        recorded = recorded.filter(pa.array(np.isin(recorded["id"].to_numpy(), said.ids))).combine_chunks()
        for name in ("id", "position", "turn"):
            if name in recorded.schema.names and not recorded[name].equals(said.table[name]):
                raise wrong_rows(said.job)
        self.tallies.setdefault(said.job.name, Tally())
        if isinstance(said.plan, ChoicePlan):
            self._choices(said, said.plan, recorded)
        elif isinstance(said.plan, ReadPlan):
            self._reads(said, said.plan, recorded)
        else:
            self._texts(said, said.plan, recorded)
        judged = (right(said.job, said.rows, table) for table in (recorded, said.table))
        self.tallies[said.job.name].answered(clusters(said.job, said.table), *judged)

    # ---- Reads

    def _reads(self, said: Said, plan: ReadPlan, recorded: pa.Table) -> None:
        symbols = cast(ReadTask, said.job.task).symbols(said.job.config)
        tables = (recorded, said.table)
        was, replayed = (table["logprobs"].combine_chunks().values.to_numpy() for table in tables)
        places = [
            f"{said.job.name} row {row}, position {position}"
            for row, position in zip(recorded["id"].to_pylist(), recorded["position"].to_pylist(), strict=True)
        ]
        names = [f"{place}: log-probability of {symbol}" for place in places for symbol in symbols]
        candidates = plan.read * len(symbols) + plan.candidate if isinstance(plan, ContinuationPlan) else None
        tokens = np.ones(len(was)) if candidates is None else np.bincount(candidates, minlength=len(was))
        target = np.arange(len(was)) % len(symbols) == np.repeat(said.table["gold"].to_numpy(), len(symbols))
        self._numbers(said.job, names, (was, replayed), self.tolerance.of(replayed, tokens), target)
        for name in ("gap", "gold", "gold_token"):
            self._facts(name, places, recorded, said.table)
        one, other = (table["argmax"].to_numpy() for table in tables)
        self.findings.compared += len(one)
        for read in np.flatnonzero(one != other).tolist():
            pair = (int(one[read]), int(other[read]))
            if candidates is None:
                near = self._near_token(plan, read, pair[0])
            else:
                near = self._near(plan, candidates, range(read * len(symbols), (read + 1) * len(symbols)), pair)
            self._flip(f"{places[read]}: the most probable", pair, near)

    # ---- Choices

    def _choices(self, said: Said, plan: ChoicePlan, recorded: pa.Table) -> None:
        tables = (recorded, said.table)
        lists = [table["logprobs"].combine_chunks() for table in tables]
        if not lists[0].value_lengths().equals(lists[1].value_lengths()):
            raise wrong_rows(said.job)
        was, replayed = (beginnings(plan, one.flatten().to_numpy()) for one in lists)
        places = [f"{said.job.name} row {row}" for row in said.ids.tolist()]
        names = [
            f"{place}: log-probability of candidate {candidate}"
            for place, count in zip(places, np.diff(plan.first).tolist(), strict=True)
            for candidate in range(count)
        ]
        tokens = np.bincount(plan.candidate, minlength=len(was))
        target = np.zeros(len(was), dtype=bool)
        target[plan.first[:-1] + said.table["gold"].to_numpy()] = True
        self._numbers(said.job, names, (was, replayed), self.tolerance.of(replayed, tokens), target)
        self._facts("gold", places, recorded, said.table)
        one, other = (table["written"].to_numpy() for table in tables)
        self.findings.compared += len(one)
        for row in np.flatnonzero(one != other).tolist():
            pair = (int(one[row]), int(other[row]))
            near = self._near(plan, plan.candidate, range(int(plan.first[row]), int(plan.first[row + 1])), pair)
            self._flip(f"{places[row]}: the candidate that is written", pair, near)

    # ---- What reads and choices have in common

    def _numbers(
        self, job: Job, names: Sequence[str], numbers: tuple[Floats, Floats], allowed: Floats, target: Bools
    ) -> None:
        """numbers: as recorded and as replayed; gold: which are those of right answers."""
        was, replayed = numbers
        distances = apart(was, replayed)
        self.tallies[job.name].compared(distances, allowed, target)
        self.findings.compared += len(was)
        self.findings.largest = max(self.findings.largest, float(distances[np.isfinite(distances)].max(initial=0)))
        for one in np.flatnonzero(differ(was, replayed, allowed)).tolist():
            self.findings.differs(f"{names[one]} recorded {was[one]:.4f}, replayed {replayed[one]:.4f}")

    def _facts(self, name: str, places: Sequence[str], recorded: pa.Table, replayed: pa.Table) -> None:
        one, other = (table[name].to_numpy() for table in (recorded, replayed))
        for item in np.flatnonzero(one != other).tolist():
            self.findings.differs(f"{places[item]}: {name} recorded {one[item]}, replayed {other[item]}")

    def _flip(self, what: str, pair: tuple[int, int], near: bool) -> None:
        self.findings.flips += near
        if not near:
            self.findings.differs(f"{what} recorded {pair[0]}, replayed {pair[1]}, and it was no near tie")

    def _near_token(self, plan: ReadPlan, point: int, token: int) -> bool:
        """Whether a token may have been the most probable one at a point of a plan."""
        if self.findings.hopeless:
            return False
        return could_be_written(*self._leads(plan, np.array([point]), np.array([token])))

    def _near(self, plan: ReadPlan, candidates: Ints, own: range, pair: tuple[int, int]) -> bool:
        """Whether of the own candidates of a read or a row (-1: none) the first one of a pair may have been written
        instead of the second one; candidates: by point of the plan."""
        was = pair[0]
        if self.findings.hopeless or not -1 <= was < len(own):
            return False
        points = [np.flatnonzero(candidates == own[one]) if one >= 0 else None for one in pair]
        if points[0] is not None and not could_be_written(*self._wanted_leads(plan, points[0])):
            return False
        # Of several candidates that would be written, the longest is.
        if points[1] is not None and (points[0] is None or len(points[1]) > len(points[0])):
            return could_be_missed(*self._wanted_leads(plan, points[1]))
        return True

    def _wanted_leads(self, plan: ReadPlan, points: Ints) -> tuple[Floats, Floats]:
        return self._leads(plan, points, plan.wanted[points, 0])

    def _leads(self, plan: ReadPlan, points: Ints, tokens: Ints) -> tuple[Floats, Floats]:
        """By how much other tokens are ahead of some at points of a plan, and by how much they may be at a near tie."""
        leads, margins = np.empty(len(points)), np.empty(len(points))
        for line, (point, token) in enumerate(zip(points.tolist(), tokens.tolist(), strict=True)):
            ids = plan.sequences[plan.sequence[point]]
            logprobs = self.again.engine.logprobs(ids, plan.at[point : point + 1])[0].numpy()
            leads[line], margins[line] = lead(logprobs, token), self.tolerance.margin(float(logprobs.max()))
        return leads, margins

    # ---- Completions and dialogues

    def _texts(self, said: Said, plan: CompletionPlan, recorded: pa.Table) -> None:
        turns = said.job.prompting.turns
        one, other = (
            list(zip(table["output"].to_pylist(), table["tokens"].to_pylist(), strict=True))
            for table in (recorded, said.table)
        )
        writer = self._writer(said.job, plan)
        for row, number in enumerate(said.ids.tolist()):
            lines = slice(row * turns, (row + 1) * turns)
            was, replayed = one[lines], other[lines]
            self.findings.compared += sum(max(count, 0) + 1 for _, count in was)
            place = f"{said.job.name} row {number}"
            if min(count for _, count in [*was, *replayed]) < 0:
                self.findings.differs(f"{place}: what was said ends in logits that are no numbers")
            elif was != replayed:
                self._retrace(place, row, plan, writer, was, replayed)

    def _retrace(  # noqa: PLR0917
        self,
        place: str,
        row: int,
        plan: CompletionPlan,
        writer: Writer,
        was: Sequence[tuple[str, int]],
        replayed: Sequence[tuple[str, int]],
    ) -> None:
        """The turns of a row, each after the recorded earlier ones; whatever follows one that differs is not asked."""
        said: list[tuple[Ints, str]] = []
        flips = 0
        for turn, (text, count) in enumerate(was):
            prompt = plan.following(row, said) if isinstance(plan, DialoguePlan) and said else plan.prompts[row]
            retraced = None if self.findings.hopeless else retrace(writer, prompt, text, count)
            if retraced is None:
                where = f"{place}, turn {turn}" if len(was) > 1 else place
                now = "" if was[:turn] != replayed[:turn] else f", {quoted(replayed[turn][0])} replayed"
                self.findings.differs(f"{where}: {quoted(text)} recorded{now}, and it was no near tie")
                return
            said.append((retraced.tokens, text))
            flips += retraced.flips
        self.findings.flips += max(flips, 1)

    def _writer(self, job: Job, plan: CompletionPlan) -> Writer:
        engine, task = self.again.engine, cast(CompletionTask, job.task)
        # It writes nothing here, but knows which tokens end an answer and how the others become text.
        decoder = Decoder(
            engine.forward, engine.read_method(plan.prompts[0]), DecodingMethod(False), engine.tokenizer, 0
        )
        is_complete = None if job.prompting.chat else task.is_complete
        limit = Limit(job.prompting.max_new_tokens(task), plan.ends | decoder.ends, is_complete)
        return Writer(engine.logprobs, decoder.text, engine.tokenizer, limit, self.tolerance)
