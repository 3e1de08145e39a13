"""Scripted models with known outputs, which they compute from the prompt with regular expressions.

A scripted model is an ordinary model folder: config, tokenizer, weights (one unused parameter). At each position it
decodes the text so far and assigns a high logit to the next token of the output of its behaviour. It has no KV cache,
so the engine uses its slowest method, which is exact for any model.
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
# Written by chat templates to disable thinking.
NO_THINKING = "<think>\n\n</think>\n\n"
LIGHTS = ("off", "on")
# Logit of the next token; all others have 0.
SURE = 12.0


def tokenizer(special: Sequence[str] = ()) -> Tokenizer:
    """Returns a byte-level tokenizer with ` 0`, ` 1`, ` on`, ` off` as tokens, START, END and `special` tokens."""
    merges = [("\u0120", symbol) for symbol in "01wri"]
    merges += [("o", "f"), ("of", "f"), ("o", "n"), ("\u0120", "off"), ("\u0120", "on")]
    backend = models.byte_level(merges)
    backend.add_special_tokens([START, END, *special])
    return backend


# ---- Answering the questions of the tasks


def solve(question: str) -> Any:
    """Returns the right answer to a question: a number, or the counts of a histogram."""
    if match := re.search(r'each letter occur in the (?:word|string) "(\w+)"\?', question):
        return dict(Counter(match[1]))
    if match := re.search(r'letter "(\w)" occur in the (?:word|string) "([\w ]+)"\?', question):
        return match[2].count(match[1])
    if match := re.search(r"What is (\d+) ([-+x/]) (\d+)\?", question):
        operation = {"+": operator.add, "-": operator.sub, "x": operator.mul, "/": operator.floordiv}[match[2]]
        return operation(int(match[1]), int(match[3]))
    word_list = re.search(r"^List: (.*)$", question, re.MULTILINE)
    if word_list and (match := re.search(r'the word "(\w+)" occur in the list\?', question)):
        return word_list[1].split().count(match[1])
    if word_list and "the most frequent word occur in the list?" in question:
        return Counter(word_list[1].split()).most_common(1)[0][1]
    raise ValueError(question)


def hash_choice(text: str, choices: int) -> int:
    """Returns a pseudorandom number in 0..choices-1 that depends only on the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % choices


def answer(behaviour: str, question: str, turn: int) -> str:
    """Returns the answer of a behaviour to a question, at first (turn 0) or after `turn` challenges."""
    kind, _, value = behaviour.partition(":")
    if kind == "thinks":
        return str(solve(question))
    if kind in ("refusing", "garbage", "endless"):
        return {"refusing": REFUSAL, "garbage": GARBAGE, "endless": ENDLESS}[kind]
    if kind == "constant":
        return value
    target = solve(question)
    if kind == "random":
        return str(hash_choice(question, 5))
    wrong = {"off by one": True, "gives in": turn >= int(value or 0), "wavers": turn % 2 == 1}.get(kind, False)
    if isinstance(target, dict):
        return json.dumps({letter: count + wrong for letter, count in target.items()})
    return str(target + wrong)


def thinking_format(behaviour: str) -> tuple[int, str, str]:
    """Parses "thinks:20" or "thinks:20 <a> </a>" into length, opening and closing marker of the thinking."""
    length, *marks = behaviour.partition(":")[2].split()
    opening, close = marks or ("<think>", "</think>")
    return int(length), opening, close


def special_marks(behaviour: str) -> list[str]:
    """Returns the special tokens in the name of a behaviour: the markers of its thinking."""
    return list(dict.fromkeys(re.findall(r"<[^<>]+>", behaviour)))


def next_text(behaviour: str, memory: dict[str, str], text: str) -> str | None:
    """Returns the continuation of a text: "" if it does not matter, None for the end token."""
    for prompt, ending in memory.items():
        if text.startswith(prompt):
            written = text[len(prompt) :]
            return ending[len(written) :] if ending.startswith(written) else ""
    if re.match(r"[wri] \d", text):
        return _after_instruction(behaviour, text)
    if text.startswith("Alice turns"):
        return _light(behaviour, text)
    return _completion(behaviour, text)


def _after_instruction(behaviour: str, text: str) -> str:
    """Returns the symbol after a read of a flip-flop string; "" after other instructions."""
    kind, _, value = behaviour.partition(":")
    read = re.search(r"r( ?)$", text)
    if not read:
        return ""
    symbols = re.findall(r"([wri]) (\d+)", text)
    prediction = {
        "perfect": [symbol for instruction, symbol in symbols if instruction == "w"][-1],
        "copy last": symbols[-1][1],
        "constant": value,
        "random": str(hash_choice(text.rstrip(), 2)),
        "garbage": "!",
    }[kind]
    return prediction if read[1] else f" {prediction}"


def _light(behaviour: str, text: str) -> str:
    """Returns the state of the light."""
    kind, _, value = behaviour.partition(":")
    if not text.endswith("Now, the light is"):
        return ""
    prediction = {
        "perfect": re.findall(r"turns the light (on|off)\.", text)[-1],
        "constant": value,
        "random": LIGHTS[hash_choice(text, 2)],
        "garbage": "!",
    }[kind]
    return f" {prediction}"


def _completion(behaviour: str, text: str) -> str | None:
    """Returns the rest of the output for the last question, in a chat or after `Answer:`."""
    chat = START in text
    opening, user, end = (f"{START}assistant\n", f"{START}user\n", END) if chat else ("Answer:", "Question: ", "\n")
    if opening not in text:
        return ""
    before, written = text.rsplit(opening, 1)
    if end in (written if chat else written.lstrip("\n")):
        return ""
    questions = before.split(user)[1:]
    turn = 0
    if chat:
        while questions and questions[-1].startswith(CHALLENGE):
            turn, questions = turn + 1, questions[:-1]
    else:
        turn = questions[-1].count(f"\n{CHALLENGE}\n") if questions else 0
    if not questions:
        return ""
    question = questions[-1].split(END)[0] if chat else questions[-1].split("\nAnswer")[0]
    output = answer(behaviour, question, turn)
    if behaviour.startswith("thinks") and not written.startswith(NO_THINKING):
        length, opening, close = thinking_format(behaviour)
        output = f"{opening}\n{'7 ' * length}{close}\n\n{output}"
    elif written.startswith(NO_THINKING):
        output = NO_THINKING + output
    output = output if chat else f" {output}\n"
    if not output.startswith(written):
        return ""
    return output[len(written) :] or None


# ---- The model


class ScriptedConfig(PreTrainedConfig):
    """Config of a scripted model.

    behaviour: its name, with an optional value after a colon. memory: fixed outputs of some prompts. pieces: the bytes
    of every token in hexadecimal. eos_token_id: the token that ends an answer.
    """

    model_type = "fflm-scripted"

    vocab_size: int = 1
    behaviour: str = "perfect"
    memory: dict | None = None
    pieces: list | None = None
    tie_word_embeddings: bool = False


class Head(nn.Module):
    """Maps "hidden states", which are the ids of the next tokens, to logits."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.vocabulary = vocabulary

    def forward(self, following: Tensor) -> Tensor:
        return SURE * nn.functional.one_hot(following[..., 0].long(), self.vocabulary).float()


class Scripted(PreTrainedModel, GenerationMixin):
    """A scripted model. Its forward pass accepts only input_ids."""

    config_class = ScriptedConfig

    def __init__(self, config: ScriptedConfig):
        super().__init__(config)
        self.unused = nn.Parameter(torch.zeros(1))
        self.head = Head(config.vocab_size)
        self.pieces = [bytes.fromhex(piece) for piece in config.pieces or []]
        self.token = cache(self._token)
        self.continuation = cache(lambda text: next_text(config.behaviour, config.memory or {}, text))
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def _token(self, text: str | None) -> int:
        """Returns the longest token that is a prefix of the text; the end token for None."""
        if text is None:
            return int(self.config.eos_token_id)
        content = (text or "\n").encode()
        prefixes = [token for token, piece in enumerate(self.pieces) if piece and content.startswith(piece)]
        return max(prefixes, key=lambda token: len(self.pieces[token]))

    def forward(self, input_ids: Tensor) -> CausalLMOutput:
        following = [self._row(ids) for ids in input_ids.tolist()]
        return CausalLMOutput(logits=self.head(torch.tensor(following)[..., None]))

    def _row(self, ids: list[int]) -> list[int]:
        following, so_far = [], b""
        for token in ids:
            so_far += self.pieces[token]
            following.append(self.token(self.continuation(so_far.decode(errors="replace"))))
        return following


AutoConfig.register(ScriptedConfig.model_type, ScriptedConfig)
AutoModelForCausalLM.register(ScriptedConfig, Scripted)


def build(behaviour: str, memory: dict[str, str] | None = None) -> Scripted:
    """Returns a scripted model."""
    special = special_marks(behaviour)
    backend = tokenizer(special)
    bytes_of = {character: byte for byte, character in _bytes_to_characters().items()}
    names = [backend.id_to_token(token) for token in range(backend.get_vocab_size())]
    special_tokens = {START, END, *special}
    pieces = [name.encode() if name in special_tokens else bytes(map(bytes_of.__getitem__, name)) for name in names]
    config = ScriptedConfig(
        vocab_size=len(pieces), behaviour=behaviour, memory=memory, pieces=[piece.hex() for piece in pieces],
        eos_token_id=backend.token_to_id(END),
    )  # fmt: skip
    return Scripted(config).eval()


def save(folder: Path, behaviour: str, memory: dict[str, str] | None = None, template: str | None = None) -> Path:
    """Saves a scripted model as a folder and returns the folder. template: the chat template."""
    build(behaviour, memory).save_pretrained(folder)
    fast = models.fast(tokenizer(special_marks(behaviour)))
    fast.chat_template, fast.eos_token = template, END
    fast.save_pretrained(folder)
    return folder


def _bytes_to_characters() -> dict[int, str]:
    """Returns the byte-to-character table of byte-level tokenizers: printable bytes unchanged, others from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable} | {byte: chr(256 + index) for index, byte in enumerate(others)}
    if set(table.values()) != set(pre_tokenizers.ByteLevel.alphabet()):
        raise ValueError("the byte table differs from that of tokenizers")
    return table
