"""Prompt wording, in one place. Changing it requires a new version of the tasks that use it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """The prompt of a question: plain text to continue for base models, a message for chat models.

    plain_tokens, chat_tokens: token limits of an answer.
    """

    instruction: str
    plain_tokens: int
    chat_tokens: int

    def plain(self, question: str) -> str:
        """The plain prompt; the answer follows after a space."""
        return f"Question: {question}\n{self.instruction}\nAnswer:"

    def chat(self, question: str) -> str:
        """The user message."""
        return f"{question}\n{self.instruction}"

    def again(self, challenge: str) -> str:
        """The text that challenges an answer of a base model."""
        return f"\n{challenge}\nAnswer:"


NUMBER = Wording("Answer with a number only.", plain_tokens=16, chat_tokens=48)
HISTOGRAM = Wording(
    'Answer with a JSON object only, such as {"a": 2, "b": 1}.', plain_tokens=128, chat_tokens=192
)  # a line per letter takes about ten tokens, for up to twelve different letters
CHALLENGE = "No, that is wrong. Count again."
