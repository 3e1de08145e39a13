"""The words around a question, all in one place. A changed word is a new version of the tasks that use it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """How a question is put: to a base model as a text that the answer continues, to a chat model as a message.

    plain_tokens, chat_tokens: how many tokens an answer may take.
    """

    instruction: str
    plain_tokens: int
    chat_tokens: int

    def plain(self, question: str) -> str:
        """A text that ends where the answer begins, after a space."""
        return f"Question: {question}\n{self.instruction}\nAnswer:"

    def chat(self, question: str) -> str:
        """What the user says."""
        return f"{question}\n{self.instruction}"

    def again(self, challenge: str) -> str:
        """What follows an answer of a base model when it is challenged."""
        return f"\n{challenge}\nAnswer:"


NUMBER = Wording("Answer with a number only.", plain_tokens=16, chat_tokens=48)
HISTOGRAM = Wording(
    'Answer with a JSON object only, such as {"a": 2, "b": 1}.', plain_tokens=128, chat_tokens=192
)  # twelve different letters, one a line, take about ten tokens each
CHALLENGE = "No, that is wrong. Count again."
