"""Chat templates of records: what stands in run.json as the template is the one that was used, and only frames texts.

It is a stranger's program, and the one thing of a record that is carried out: in Jinja's sandbox, in a process of its
own with bounds on memory and time (harness.prompts.chat_template), on the questions that the record was asked.
"""

from typing import Any

from harness.prompts.chat_template import ChatTemplate, template_hash
from harness.prompts.jobs import CHUNK_ROWS
from harness.prompts.rendering import chat_texts
from harness.runs.run import EXTERNAL, Run
from leaderboard.verification.refusal import Refused

NO_TEXT = "the text of its chat template is not recorded, so that nobody can see here what it writes"


def require_frames(run: Run, *, new: bool) -> list[str]:
    """Raises Refused, or UserError of the harness, for a chat template that is not the one that questions were put
    through, or that does more than to frame them; returns what a maintainer should know.

    new: whether the record comes to the others; one that was accepted without the text of its template stays so.
    """
    asked = [job for job in run.jobs() if job.prompting.template not in (None, EXTERNAL)]
    stated: dict[str, Any] | None = run.facts["model"].get("chat_template")
    if stated is None:
        if asked and new:
            raise Refused(
                "run.json lacks the text of its chat template: run harness eval again, into another folder (--output)"
            )
        return [NO_TEXT] * bool(asked)
    if stated["of"] == "adapter" and not run.facts["model"]["adapter"]:
        raise Refused("run.json, chat_template: it is an adapter's, and there is no adapter")
    if {job.prompting.template for job in asked} != {template_hash(stated["text"])}:
        raise Refused("run.json, chat_template: its text is not that of the hash that stands with the tasks")
    template = ChatTemplate(stated["text"], "the record", stated["special_tokens"])
    for job in asked:
        for start in range(0, job.rows, CHUNK_ROWS):
            chat_texts(job, job.config.table(job.split, start, min(start + CHUNK_ROWS, job.rows)), template)
    return []
