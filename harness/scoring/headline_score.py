"""The headline score of a task and split: accuracy with its interval, best baseline, skill, number of errors."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.scoring.grading import Graded
from harness.scoring.scores import score
from harness.scoring.statistics import Interval

Score = Mapping[str, Any]


@dataclass(frozen=True)
class Headline:
    """The headline score of a split, or of a group of it.

    group: None for the whole split. rows: how many first rows were evaluated, of `of`. n: scored items. nonfinite:
    items with NaN or infinite logits, which are excluded from n. baseline: accuracy of the best baseline on the same
    items; baseline_name: "" for a group. skill: None where the baseline is perfect, or for a group without skill.
    """

    task: str
    split: str
    group: str | None
    rows: int
    of: int
    n: int
    errors: int
    nonfinite: int
    accuracy: float
    interval: Interval
    baseline_name: str
    baseline: float
    skill: float | None
    skill_interval: Interval | None

    @property
    def against_baseline(self) -> str:
        """Whether the interval of the accuracy is above the best baseline, below it, or contains it (near)."""
        low, high = self.interval
        return "above" if low > self.baseline else "below" if high < self.baseline else "near"


@dataclass(frozen=True)
class SplitScores:
    """The scores of one task and split, as in result.json, by metric and group (None: the whole split)."""

    task: str
    split: str
    rows: int
    of: int
    scores: Mapping[tuple[str, str | None], Score]

    def whole(self, metric: str) -> Score | None:
        """A score of the whole split; None if there is none."""
        return self.scores.get((metric, None))

    def headline(self, group: str | None = None, metric: str = "accuracy") -> Headline | None:
        """The headline score of the split or of one of its groups; None if no item was scored.

        metric: the accuracy to report, "accuracy_among_symbols" being the other one.
        """
        accuracy = self.scores.get((metric, group))
        if accuracy is None:
            return None
        skill = self.scores.get(("skill", group), {}) if metric == "accuracy" else {}
        low, high = skill.get("low"), skill.get("high")
        baselines = {
            str(name): score["value"] for (kind, name), score in self.scores.items() if kind == "baseline_accuracy"
        }
        is_whole = group is None and metric == "accuracy"
        return Headline(
            task=self.task,
            split=self.split,
            group=group,
            rows=self.rows,
            of=self.of,
            n=accuracy["n"],
            errors=accuracy["errors"],
            nonfinite=(self.whole("not_a_number") or {}).get("errors", 0),
            accuracy=accuracy["value"],
            interval=Interval(accuracy["low"], accuracy["high"]),
            baseline_name=max(baselines, key=lambda name: baselines[name], default="") if is_whole else "",
            baseline=accuracy["baseline"],
            skill=skill.get("value"),
            skill_interval=None if low is None or high is None else Interval(low, high),
        )


def scores_by_split(result: Mapping[str, Any]) -> Iterator[SplitScores]:
    """The scores of result.json for each task and split, in their order."""
    by_split: dict[tuple[str, str], dict[tuple[str, str | None], Score]] = {}
    for entry in result["scores"]:
        by_split.setdefault((entry["task"], entry["split"]), {})[entry["metric"], entry["group"]] = entry
    for task, data in result["data"]["tasks"].items():
        for split, size in data["splits"].items():
            yield SplitScores(task, split, size["rows"], size["of"], by_split.get((task, split), {}))


def headlines(result: Mapping[str, Any]) -> Iterator[Headline]:
    """The headline score of each task and split of result.json of which any item was scored."""
    return (line for scores in scores_by_split(result) if (line := scores.headline()))


def headline_of(graded: Graded) -> Headline | None:
    """The headline score of one graded job; None if no item was scored."""
    job = graded.job
    scores = {(entry.metric, entry.group): asdict(entry) for entry in score(graded)}
    return SplitScores(job.task.name, job.split, job.rows, job.config.rows(job.split), scores).headline()
