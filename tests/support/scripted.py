"""Models whose answers are known: a script writes them, from what its own regular expressions find in the prompt.

A scripted model is a folder like any other: config, tokenizer, weights (one number that nothing depends on). It
reads the text so far, token by token, and is sure of the next token of the answer that its behaviour wants to
write. It keeps nothing, so that the engine finds its slowest way, which is exact for any model.
"""

import hashlib
import json
import operator
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutput

from tests.support import models

START, END = "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REFUSAL = "I cannot count letters."
GARBAGE = "banana!"
ENDLESS = "on and " * 100
CHALLENGE = "No, that is wrong. Count again."
# What templates write where a model shall not think.
NO_THOUGHT = "<think>\n\n</think>\n\n"
LIGHTS = ("off", "on")
# By how much a script prefers what it writes.
SURE = 12.0


def tokenizer(special: Sequence[str] = ()) -> Tokenizer:
    """Bytes, and what answers to reads are: ` 0`, ` 1`, ` on`, ` off`; two special tokens, and those that are named."""
    merges = [("\u0120", symbol) for symbol in "01wri"]
    merges += [("o", "f"), ("of", "f"), ("o", "n"), ("\u0120", "off"), ("\u0120", "on")]
    made = models.byte_level(merges)
    made.add_special_tokens([START, END, *special])
    return made


# ---- What is asked, found in the text


def solved(question: str) -> Any:
    """The right answer to a question: a number, or the counts of a histogram."""
    if found := re.search(r'each letter occur in the (?:word|string) "(\w+)"\?', question):
        return dict(Counter(found[1]))
    if found := re.search(r'letter "(\w)" occur in the (?:word|string) "([\w ]+)"\?', question):
        return found[2].count(found[1])
    if found := re.search(r"What is (\d+) ([-+x/]) (\d+)\?", question):
        sign = {"+": operator.add, "-": operator.sub, "x": operator.mul, "/": operator.floordiv}[found[2]]
        return sign(int(found[1]), int(found[3]))
    listed = re.search(r"^List: (.*)$", question, re.MULTILINE)
    if listed and (found := re.search(r'the word "(\w+)" occur in the list\?', question)):
        return listed[1].split().count(found[1])
    if listed and "the most frequent word occur in the list?" in question:
        return Counter(listed[1].split()).most_common(1)[0][1]
    raise ValueError(question)


def dice(text: str, sides: int) -> int:
    """A throw that depends on nothing but the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % sides


def answer(behaviour: str, question: str, turn: int) -> str:
    """What a behaviour says to a question: at first (turn 0), or after so many challenges."""
    kind, _, value = behaviour.partition(":")
    if kind == "thinks":
        return str(solved(question))
    if kind in ("refusing", "garbage", "endless"):
        return {"refusing": REFUSAL, "garbage": GARBAGE, "endless": ENDLESS}[kind]
    if kind == "constant":
        return value
    target = solved(question)
    if kind == "random":
        return str(dice(question, 5))
    wrong = {"off by one": True, "gives in": turn >= int(value or 0), "wavers": turn % 2 == 1}.get(kind, False)
    if isinstance(target, dict):
        return json.dumps({letter: count + wrong for letter, count in target.items()})
    return str(target + wrong)


def thought(behaviour: str) -> tuple[int, str, str]:
    """How long a thought is, what opens it, and what closes it: of "thinks:20", or "thinks:20 <a> </a>"."""
    length, *marks = behaviour.partition(":")[2].split()
    opening, close = marks or ("<think>", "</think>")
    return int(length), opening, close


def special_marks(behaviour: str) -> list[str]:
    """The special tokens that a behaviour names: the tags around its thoughts."""
    return list(dict.fromkeys(re.findall(r"<[^<>]+>", behaviour)))


def next_text(behaviour: str, memory: dict[str, str], text: str) -> str | None:
    """What goes on after a text: "" for anything, None for its end. It depends on nothing that follows the text."""
    for prompt, ending in memory.items():
        if text.startswith(prompt):
            written = text[len(prompt) :]
            return ending[len(written) :] if ending.startswith(written) else ""
    if re.match(r"[wri] \d", text):
        return _after_instruction(behaviour, text)
    if text.startswith("Alice turns"):
        return _light(behaviour, text)
    return _reply(behaviour, text)


def _after_instruction(behaviour: str, text: str) -> str:
    """The symbol of a flip-flop string; of an instruction that is no read, any."""
    kind, _, value = behaviour.partition(":")
    asked = re.search(r"r( ?)$", text)
    if not asked:
        return ""
    symbols = re.findall(r"([wri]) (\d+)", text)
    said = {
        "perfect": [symbol for instruction, symbol in symbols if instruction == "w"][-1],
        "copy last": symbols[-1][1],
        "constant": value,
        "random": str(dice(text.rstrip(), 2)),
        "garbage": "!",
    }[kind]
    return said if asked[1] else f" {said}"


def _light(behaviour: str, text: str) -> str:
    """Whether the light is on."""
    kind, _, value = behaviour.partition(":")
    if not text.endswith("Now, the light is"):
        return ""
    said = {
        "perfect": re.findall(r"turns the light (on|off)\.", text)[-1],
        "constant": value,
        "random": LIGHTS[dice(text, 2)],
        "garbage": "!",
    }[kind]
    return f" {said}"


def _reply(behaviour: str, text: str) -> str | None:
    """The answer to the last question, in a chat or after `Answer:`."""
    chat = START in text
    opening, asks, end = (f"{START}assistant\n", f"{START}user\n", END) if chat else ("Answer:", "Question: ", "\n")
    if opening not in text:
        return ""
    before, written = text.rsplit(opening, 1)
    if end in (written if chat else written.lstrip("\n")):
        return ""
    asked = before.split(asks)[1:]
    turn = 0
    if chat:
        while asked and asked[-1].startswith(CHALLENGE):
            turn, asked = turn + 1, asked[:-1]
    else:
        turn = asked[-1].count(f"\n{CHALLENGE}\n") if asked else 0
    if not asked:
        return ""
    question = asked[-1].split(END)[0] if chat else asked[-1].split("\nAnswer")[0]
    whole = answer(behaviour, question, turn)
    if behaviour.startswith("thinks") and not written.startswith(NO_THOUGHT):
        length, opening, close = thought(behaviour)
        whole = f"{opening}\n{'7 ' * length}{close}\n\n{whole}"
    elif written.startswith(NO_THOUGHT):
        whole = NO_THOUGHT + whole
    whole = whole if chat else f" {whole}\n"
    if not whole.startswith(written):
        return ""
    return whole[len(written) :] or None


# ---- As a model


class ScriptedConfig(PreTrainedConfig):
    """behaviour: its name, and a value after a colon. memory: texts, and what ends them. pieces: the bytes of every
    token, as hexadecimal digits. eos_token_id: the token that ends an answer."""

    model_type = "fflm-scripted"

    vocab_size: int = 1
    behaviour: str = "perfect"
    memory: dict | None = None
    pieces: list | None = None
    tie_word_embeddings: bool = False


class Head(nn.Module):
    """Logits of what stands in place of hidden states: the id of the next token."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.vocabulary = vocabulary

    def forward(self, following: Tensor) -> Tensor:
        return SURE * nn.functional.one_hot(following[..., 0].long(), self.vocabulary).float()


class Scripted(PreTrainedModel, GenerationMixin):
    """What the script says. Takes ids and nothing else."""

    config_class = ScriptedConfig

    def __init__(self, config: ScriptedConfig):
        super().__init__(config)
        self.unused = nn.Parameter(torch.zeros(1))
        self.head = Head(config.vocab_size)
        self.pieces = [bytes.fromhex(piece) for piece in config.pieces or []]
        self.token = cache(self._token)
        self.said = cache(lambda text: next_text(config.behaviour, config.memory or {}, text))
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def _token(self, text: str | None) -> int:
        """The longest token that a text begins with."""
        if text is None:
            return int(self.config.eos_token_id)
        wanted = (text or "\n").encode()
        fitting = [token for token, piece in enumerate(self.pieces) if piece and wanted.startswith(piece)]
        return max(fitting, key=lambda token: len(self.pieces[token]))

    def forward(self, input_ids: Tensor) -> CausalLMOutput:
        following = [self._row(ids) for ids in input_ids.tolist()]
        return CausalLMOutput(logits=self.head(torch.tensor(following)[..., None]))

    def _row(self, ids: list[int]) -> list[int]:
        found, so_far = [], b""
        for token in ids:
            so_far += self.pieces[token]
            found.append(self.token(self.said(so_far.decode(errors="replace"))))
        return found


AutoConfig.register(ScriptedConfig.model_type, ScriptedConfig)
AutoModelForCausalLM.register(ScriptedConfig, Scripted)


def build(behaviour: str, memory: dict[str, str] | None = None) -> Scripted:
    """A scripted model."""
    special = special_marks(behaviour)
    backend = tokenizer(special)
    bytes_of = {character: byte for byte, character in _bytes_to_characters().items()}
    names = [backend.id_to_token(token) for token in range(backend.get_vocab_size())]
    whole = {START, END, *special}
    pieces = [name.encode() if name in whole else bytes(map(bytes_of.__getitem__, name)) for name in names]
    config = ScriptedConfig(
        vocab_size=len(pieces), behaviour=behaviour, memory=memory, pieces=[piece.hex() for piece in pieces],
        eos_token_id=backend.token_to_id(END),
    )  # fmt: skip
    return Scripted(config).eval()


def save(folder: Path, behaviour: str, memory: dict[str, str] | None = None, template: str | None = None) -> Path:
    """A scripted model as a folder; template: its chat template."""
    build(behaviour, memory).save_pretrained(folder)
    made = models.fast(tokenizer(special_marks(behaviour)))
    made.chat_template, made.eos_token = template, END
    made.save_pretrained(folder)
    return folder


def _bytes_to_characters() -> dict[int, str]:
    """How byte-level tokenizers write bytes: visible ones as they are, the others as the characters from 256 on."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    table = {byte: chr(byte) for byte in visible} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}
    if set(table.values()) != set(pre_tokenizers.ByteLevel.alphabet()):
        raise ValueError("tokenizers writes bytes otherwise")
    return table
