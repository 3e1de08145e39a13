"""The forward passes: plans in, what the model said out. Nothing here knows what is right."""

from harness.engine.dialogues import DialoguesSaid
from harness.engine.engine import CompletionsSaid, Engine, ReadsSaid

__all__ = ["CompletionsSaid", "DialoguesSaid", "Engine", "ReadsSaid"]
