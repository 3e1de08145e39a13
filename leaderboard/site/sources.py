"""Sources of the table: verified records and local runs, with their findings.

Texts are unescaped, as in the records. The templates escape them.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from harness.errors import UserError
from harness.models.model_name import is_local
from harness.models.training_statement import recipe_text
from harness.runs.run import Run
from leaderboard.attestations import REPLAY, Attestation
from leaderboard.site.findings import Findings
from leaderboard.submission_file import Submission
from leaderboard.verification_level import LEVELS, VerificationLevel

YOUR_RUN = "your run"


@dataclass(frozen=True)
class Training:
    """How a model was trained, as its recipe.json states (`harness.models.training_statement`)."""

    recipe: str
    changes: dict[str, Any]
    digest: str
    data_seed: int
    weight_seed: int
    command: str

    @property
    def description(self) -> str:
        """The recipe in words: "flipflop-small, model.positions=rope"."""
        return recipe_text({"recipe": self.recipe, "changes": self.changes})

    @property
    def seed(self) -> tuple[int, int]:
        """Seeds of data and weights."""
        return self.data_seed, self.weight_seed


@dataclass(frozen=True)
class TemplateInfo:
    """The chat template of a source. sha256: 64 hex digits. text: "" if an older record lacks it. own: whether a replay
    confirmed that it is the template of the model's repository at the recorded revision. origin: describes that."""

    sha256: str
    text: str
    own: bool
    origin: str


@dataclass(frozen=True)
class Source:
    """A record, or a local run, with the findings from its observations.

    submission, place, attestations: of records only; place is None for a local run. digest: of its contents, 64 hex
    digits. outdated: data or task version that this version of fflm cannot regenerate, in which case there are no
    findings; else "". withdrawn: reason why it no longer counts, from its own withdrawal or an inherited one; else "".
    """

    run: Run
    findings: Findings
    digest: str
    verification: VerificationLevel
    submission: Submission | None = None
    place: PurePosixPath | None = None
    attestations: tuple[Attestation, ...] = ()
    outdated: str = ""
    withdrawn: str = ""

    @property
    def division(self) -> str:
        """Its division, YOUR_RUN for a local run."""
        return YOUR_RUN if self.submission is None else self.submission.division

    @property
    def template(self) -> TemplateInfo | None:
        """Its chat template, None for plain prompts and external outputs."""
        tasks = self.run.facts["data"]["tasks"].values()
        hashes = [task["prompting"]["template"] for task in tasks if task.get("prompting", {}).get("template")]
        if not hashes or self.run.external:
            return None
        model = self.run.facts["model"]
        stated = model.get("chat_template") or {}
        other = ""
        if is_local(model["id"]):
            other = "from a local folder, not from a repository"
        elif stated.get("of") == "adapter":
            other = "from the adapter, not from the model's repository"
        elif not any(attestation.kind == REPLAY for attestation in self.attestations):
            other = "not yet compared with the model's repository"
        origin = other or "from the model's repository at this revision, confirmed by a replay"
        return TemplateInfo(hashes[0], str(stated.get("text", "")), not other, origin)

    @property
    def trust(self) -> int:
        """Index of its verification level, -1 if it is disputed."""
        return -1 if self.verification.disputed else LEVELS.index(self.verification.level)

    @property
    def created(self) -> datetime:
        """Creation time. Raises UserError if run.json has none."""
        try:
            when = datetime.fromisoformat(self.run.facts["created"].replace("Z", "+00:00"))
        except ValueError:
            when = None
        if when is None or when.tzinfo is None:
            raise UserError(f"{self.run.folder}/run.json has no valid creation time. Delete the folder.")
        return when
