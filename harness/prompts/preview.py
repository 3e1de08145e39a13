"""`harness tasks --show NAME`: one task with the prompt of its first row."""

from dataclasses import replace

from fflm_data import get_config
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting
from harness.prompts.rendering import messages, plain_texts
from harness.tasks import CompletionTask, DialogueTask, Task
from harness.tasks.listing import header

LONGEST = 1_200


def show(task: Task, shots: int) -> str:
    """The task's header, and the prompts of its first row for base and chat models."""
    config = get_config(task.config, **task.parameters)
    split = task.splits[0]
    job = Job(task, config, split, 1, Prompting(shots=shots))
    rows = config.table(split, 0, 1)
    sections = [header(task)]
    if not isinstance(task, CompletionTask):
        sections.append(_section("text", task.texts(rows)[0]))
        return "\n\n".join(sections)
    sections.append(_section("prompt, without a chat template", plain_texts(job, rows)[0]))
    conversation = messages(replace(job, prompting=Prompting("", shots)), rows)[0]
    lines = [f"{message['role']}: {message['content']}" for message in conversation]
    if isinstance(task, DialogueTask):
        lines += ["assistant: ...", f"user: {task.challenge}", f"(up to {task.challenges} times)"]
    sections.append(_section("messages, with a chat template", "\n".join(lines)))
    sections.append(
        f"at most {task.max_new_tokens(False)} tokens per answer, {task.max_new_tokens(True)} for chat models; "
        f"target: {task.answers(rows)[0]}"
    )
    return "\n\n".join(sections)


def _section(title: str, text: str) -> str:
    text = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return f"{title}:\n" + "\n".join(f"    {line}" for line in text.splitlines())
