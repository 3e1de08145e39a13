"""The sandboxed process that tries an untrusted tokenizer.json: whether reading it and encoding texts stay within
limits.

The library is Rust: it aborts the process when memory runs out.
"""

import json
import string
import sys
from typing import Any

from harness.models import sandbox

MAX_MEMORY = 2**32  # bytes
MAX_SECONDS, MAX_SECONDS_PER_BATCH = 120, 30  # CPU time
MAX_ID = 2**24  # token ids index lists of that length
PADDED = 2**12  # characters: a short text counts as this long, because it may be padded
MAX_TOKENS = 64  # per character; byte fallback gives four, Unicode decomposition up to eighteen
MAX_GROWTH = 2**12  # characters that a normalizer may produce from one
TEXTS = (
    string.printable,
    "w 1 i 0 r 1 " * 8,
    "How many times does the letter occur in the word? Answer with a number only.\n" * 8,
    *string.ascii_letters,
)


def main() -> None:
    """Responds to {"path"} (reads a tokenizer.json) and then {"texts", "special"} (encodes) with {"fault"}: what went
    wrong, or null."""
    sandbox.limit(MAX_MEMORY)
    tokenizer = None
    for line in sys.stdin.buffer:
        request = json.loads(line)
        sandbox.limit_cpu_time(MAX_SECONDS if "path" in request else MAX_SECONDS_PER_BATCH)
        fault = None
        try:
            if "path" in request:
                tokenizer, fault = _read(request["path"])
            elif tokenizer is None:
                fault = "it could not be read again"
            else:
                tokenizer.encode_batch(request["texts"], add_special_tokens=request["special"])
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception as error:
            # An unknown character raises the same error in the main process.
            fault = _short(error) if "path" in request else None
        except BaseException as error:  # a panic of the library
            fault = _short(error)
        sys.stdout.write(json.dumps({"fault": fault}) + "\n")
        sys.stdout.flush()


def _read(path: str) -> tuple[Any, str | None]:
    """A tokenizer, and what is wrong with it (None if nothing)."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    fault = _fault(tokenizer)
    # Checked with the padding and truncation of the file, and without.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, fault or _fault(tokenizer)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _growth(normalizer: Any) -> int:
    """The most characters that a normalizer may produce from one, computed from its rules: samples do not show what it
    does to rare words."""
    if normalizer is None:
        return 1
    growth, parts = 1, [json.loads(normalizer.__getstate__())]
    while parts:
        part = parts.pop()
        parts += part.get("normalizers", [])
        content = len(part.get("content", part.get("prepend", "")))
        pattern = part.get("pattern", {})
        growth *= max(1, content // max(1, len(pattern.get("String", ""))))
    return growth


def _fault(tokenizer: Any) -> str | None:
    if (growth := _growth(tokenizer.normalizer)) > MAX_GROWTH:
        return f"its normalizer produces {growth:,} characters from one"
    if (highest := max(tokenizer.get_vocab().values(), default=0)) > MAX_ID:
        return f"it has the token id {highest:,}"
    for text in TEXTS:
        try:
            tokens = max(len(tokenizer.encode(text, add_special_tokens=special).ids) for special in (False, True))
        except Exception:  # an unknown character; the prompts themselves are checked when they are planned
            continue
        if tokens > MAX_TOKENS * max(len(text), PADDED):
            return f"it produces {tokens:,} tokens for {len(text):,} characters"
    return None
