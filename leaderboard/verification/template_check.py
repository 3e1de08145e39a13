"""Verifies the chat template of a record: it is the recorded one and only frames the messages.

A chat template is an untrusted program, and the only part of a record that is executed: in Jinja's sandbox, in a
separate process with limits on memory and time (harness.prompts.chat_template), on the prompts of the record.
"""

from typing import Any

from harness.prompts.chat_template import ChatTemplate, template_hash
from harness.prompts.jobs import CHUNK_ROWS
from harness.prompts.rendering import chat_texts
from harness.runs.run import EXTERNAL, Run
from leaderboard.verification.refusal import Refused

NO_TEXT = "the text of the chat template is not recorded, so its effect on prompts cannot be verified"


def require_framing_template(run: Run, *, new: bool) -> list[str]:
    """Returns remarks for the maintainers. Raises Refused, or UserError of the harness, if a chat template is not the
    recorded one or changes the messages.

    new: whether the record is submitted now. Records accepted earlier may lack the text of the template.
    """
    templated = [job for job in run.jobs() if job.prompting.template not in (None, EXTERNAL)]
    stated: dict[str, Any] | None = run.facts["model"].get("chat_template")
    if stated is None:
        if templated and new:
            raise Refused("run.json lacks the text of the chat template. Run harness eval with a new --output folder.")
        return [NO_TEXT] if templated else []
    if stated["of"] == "adapter" and not run.facts["model"]["adapter"]:
        raise Refused("run.json, chat_template: it belongs to an adapter, and the record has no adapter")
    if {job.prompting.template for job in templated} != {template_hash(stated["text"])}:
        raise Refused("run.json, chat_template: its hash differs from the template hash of the tasks")
    template = ChatTemplate(stated["text"], "the record", stated["special_tokens"])
    for job in templated:
        for start in range(0, job.rows, CHUNK_ROWS):
            chat_texts(job, job.config.table(job.split, start, min(start + CHUNK_ROWS, job.rows)), template)
    return []
