"""The process that tries out a stranger's tokenizer.json: whether reading it and splitting a text stays within bounds.

The library is Rust: where memory ends, it ends the process.
"""

import json
import string
import sys
from typing import Any

from harness import confined

MOST_MEMORY = 2**32
MOST_SECONDS = 120  # of processor time
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


def main(path: str) -> None:
    """Prints what is wrong with a tokenizer.json as a JSON text, null if nothing."""
    from tokenizers import Tokenizer

    confined.limit(MOST_MEMORY, MOST_SECONDS)
    fault = None
    try:
        tokenizer = Tokenizer.from_file(path)
        fault = _fault(tokenizer)
        # As the file pads and cuts texts, and without.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        fault = fault or _fault(tokenizer)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the library is no Exception
        fault = " ".join(str(error).split())[:120] or type(error).__name__
    sys.stdout.write(json.dumps(fault))


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
