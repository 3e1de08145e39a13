"""The process that tries out a stranger's tokenizer.json: whether reading it and splitting texts stays within bounds.

The library is Rust: where memory ends, it ends the process.
"""

import json
import string
import sys
from typing import Any

from harness.models import sandbox

MOST_MEMORY = 2**32
MOST_SECONDS, MOST_SECONDS_OF_TEXTS = 120, 30  # of processor time
MOST_ID = 2**24  # what has ids keeps lists that are as long
PADDED = 2**12  # characters that may count for what a short text is padded to
MOST_TOKENS = 64  # for a character; bytes of characters that no token has are four, decompositions up to eighteen
MOST_GROWTH = 2**12  # characters that a normalizer may make of one, rare words included
TEXTS = (
    string.printable,
    "w 1 i 0 r 1 " * 8,
    "How many times does the letter occur in the word? Answer with a number only.\n" * 8,
    *string.ascii_letters,
)


def main() -> None:
    """Answers {"path"} with what is wrong with that tokenizer.json, and then {"texts", "special"} with what is wrong
    with splitting them: {"fault"}, null if nothing."""
    sandbox.limit(MOST_MEMORY)
    tokenizer = None
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        sandbox.may_take(MOST_SECONDS if "path" in asked else MOST_SECONDS_OF_TEXTS)
        fault = None
        try:
            if "path" in asked:
                tokenizer, fault = _read(asked["path"])
            elif tokenizer is None:
                fault = "it could not be read again"
            else:
                tokenizer.encode_batch(asked["texts"], add_special_tokens=asked["special"])
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception as error:
            # A text that a tokenizer has no word for: whoever asks finds that out.
            fault = _short(error) if "path" in asked else None
        except BaseException as error:  # a panic of the library
            fault = _short(error)
        sys.stdout.write(json.dumps({"fault": fault}) + "\n")
        sys.stdout.flush()


def _read(path: str) -> tuple[Any, str | None]:
    """A tokenizer, and what is wrong with it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    fault = _fault(tokenizer)
    # As the file pads and cuts texts, and without.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, fault or _fault(tokenizer)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _growth(normalizer: Any) -> int:
    """How many characters may become of one: what a normalizer puts in the place of rare words shows in no sample."""
    if normalizer is None:
        return 1
    grown, waiting = 1, [json.loads(normalizer.__getstate__())]
    while waiting:
        part = waiting.pop()
        waiting += part.get("normalizers", [])
        content = len(part.get("content", part.get("prepend", "")))
        pattern = part.get("pattern", {})
        grown *= max(1, content // max(1, len(pattern.get("String", ""))))
    return grown


def _fault(tokenizer: Any) -> str | None:
    if (growth := _growth(tokenizer.normalizer)) > MOST_GROWTH:
        return f"its normalizer makes {growth:,} characters of one"
    if (highest := max(tokenizer.get_vocab().values(), default=0)) > MOST_ID:
        return f"it has the id {highest:,}"
    for text in TEXTS:
        try:
            tokens = max(len(tokenizer.encode(text, add_special_tokens=around).ids) for around in (False, True))
        except Exception:  # it has no word for some of it: texts that will be asked are looked at when they are planned
            continue
        if tokens > MOST_TOKENS * max(len(text), PADDED):
            return f"it makes {tokens:,} tokens of {len(text):,} characters"
    return None
