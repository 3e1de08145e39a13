"""Detects and masks secrets in text: keys, tokens and passwords.

Secrets are found by known prefixes, by the name before the value, or by their randomness. Random pieces of letters and
digits count, except hexadecimal hashes, names of models and files, command lines and page addresses.
"""

import re
import unicodedata
from collections.abc import Iterator

# \b does not work: a name may follow an underscore, which counts as a letter.
_START = r"(?<![A-Za-z0-9])"
_KNOWN = re.compile(
    _START
    # Services for models and data.
    + r"(?:(?:hf|api_org|hf_oauth|gsk|r8|fw|jina|tgp_v1|pcsk|rpa|e2b|wandb_v1|KGAT|phx|sgp)_[A-Za-z0-9]{16,}"
    r"|(?:sk|csk|nvapi|tvly)-[\w-]{16,}|(?:xai|pplx)-[A-Za-z0-9]{16,}|lsv2_[a-z]{2}_\w{16,}|dapi[0-9a-f]{32}"
    # Services for code, packages and machines.
    r"|gh[a-z]_\w{16,}|github_pat_\w{16,}|gl(?:pat|dt|rt|ft|ptt|cbt|soat|agent|oas|imt|ffct)-[\w-]{16,}"
    r"|pypi-AgE[\w-]{12,}|(?:npm|rubygems|sbp|sb_secret|do[opr]_v1|nfp|rnd|vercel|glsa|glc)_[A-Za-z0-9]{16,}"
    r"|dckr_[a-z]{3}_[\w-]{16,}|pscale_[a-z]+_[\w-]{16,}|sntry[su]_[\w-]{16,}|AGE-(?:SECRET-KEY|PLUGIN)-[\w-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,}|AIza[\w-]{30,}|ya29\.[\w-]{16,}|GOCSPX-[\w-]{16,}|LTAI[A-Za-z0-9]{12,}"
    r"|hv[sb]\.[\w-]{16,}|NR[A-Z]{2,3}-[\w-]{16,}|[A-Za-z0-9]{3}[78]Q~[\w.~-]{30,}"
    # Services for payment, mail and chat.
    r"|[sr]k_(?:live|test)_\w{10,}|whsec_[\w+/=-]{16,}|sq0[a-z]{3}-[\w-]{16,}|EAAA[\w-]{48,}|shp[a-z]{2}_\w{16,}"
    r"|shippo_[a-z]+_\w{16,}|SG\.[\w-]{10,}\.[\w-]{10,}|SK[0-9a-f]{32}|key-[0-9a-f]{32}|xkeysib-[\w-]{16,}"
    r"|xox[a-z]-[\w-]{10,}|xapp-[\w-]{16,}|(?:bot)?[0-9]{8,10}:AA[\w-]{30,}|[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}"
    r"|(?:ntn|lin_api|figd)_[\w-]{16,}|secret_[A-Za-z0-9]{32,}|AT(?:ATT|CTT|BB)[\w-]{16,}|PMAK-[\w-]{16,}"
    r"|CFPAT-[\w-]{16,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}(?:\.[\w-]*)?)"
)
# Addresses that contain a credential.
_ADDRESS = re.compile(
    r"//hooks\.(?P<hook>[\w.-]+/[\w/-]{16,})|webhook\.office\.com/(?P<office>[\w@/-]{16,})"
    r"|/webhooks/[0-9]{10,}/(?P<discord>[\w-]{16,})"
    r"|://[^\s/@:]*:(?P<password>[^\s/@]+)@|://(?P<user>[^\s/@:]{16,})@",
    re.IGNORECASE,
)
_PRIVATE = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]*PRIVATE KEY.*|PuTTY-User-Key-File.*", re.DOTALL)
_GIVEN = r"[\"']?\s*(?::=|=>|[:=])\s*[\"']?"
# After these names any value of eight characters, or of six with a digit, counts; after the others a value that is not
# a # word. An option may be followed by a space.
_SIGN = r"[^\s\"'`,;<>\[\]{}()]"
_SURE = (
    r"passw(?:or)?d|pwd|passphrase|passcode|secret|(?:access|auth)[_ -]?token"
    r"|(?:api|access|secret|private|account|signing|encryption|master)[_ -]?key"
)
_NAMED = re.compile(
    rf"(?i:{_SURE}){_GIVEN}(?![$<\[{{(*]|https?:)(?P<any>{_SIGN}{{8,}}|(?={_SIGN}*[0-9]){_SIGN}{{6,7}})"
    r"|(?:(?<![A-Za-z])(?i:key|pw|pat|sig|auth)|(?<=[a-z])(?:Key|Auth)|(?i:token|signature|credentials?))"
    rf"{_GIVEN}(?P<value>[\w+/=.~%-]{{12,}})"
    r"|--[\w-]{0,40}(?i:password|secret|token|key)\s+[\"']?(?P<option>[\w+/=.~%-]{12,})"
    r"|\b(?i:bearer)\s+(?P<bearer>[\w.+/=-]{16,})|(?i:authorization)\s*:\s*(?i:basic)\s+(?P<basic>[\w+/=]{8,})"
)
_ANY = ("any", "bearer", "basic")
_WEB = re.compile(r"https?://[^\s?#]+", re.IGNORECASE)
_DIGEST = re.compile(r"(?<![A-Za-z0-9])(?:sha|md)[0-9]+[-:=]\s?[\w+/=]+", re.IGNORECASE)
_PIECE = re.compile(r"[A-Za-z0-9]{20,}")
# AWS keys may contain slashes.
_SLASHED = re.compile(r"(?<![\w/+=-])[A-Za-z0-9/+]{40}(?![\w/+=-])")
_HEX = re.compile(r"(?:0x)?(?:[0-9a-f]+|[0-9A-F]+)")
_KINDS = re.compile(r"[a-z]+|[A-Z]+|[0-9]+|[^A-Za-z0-9]+")
# Parts of a name: joined words, a number at the end, a size or version.
_WORDS = re.compile(r"[A-Za-z]*[0-9]{0,4}[A-Za-z]{0,2}|[0-9]+[A-Za-z]{0,2}")
# In random text 3 of 5 characters differ in kind from the one before, in joined words 1 of 3.
_MOST_CHANGES, _FEWEST_NUMBERS = 0.4, 3


def mask_secrets(text: str) -> str:
    """Returns a text with its secrets masked: at most a quarter of each, up to four characters, remains."""
    seen = "".join(sign for sign in text if unicodedata.category(sign) not in ("Cc", "Cf") or sign in "\n\t")
    if seen != text and has_secret(seen):  # control characters would split the secret and hide it
        text = seen
    parts, end = [], 0
    for start, stop in _merged(text):
        kept = min(4, (stop - start) // 4)
        parts += [text[end:start], text[start : start + kept], "***"]
        end = stop
    return "".join(parts) + text[end:]


def has_secret(text: str, heuristic: bool = True) -> bool:
    """Returns whether a text contains a secret. heuristic: also if only randomness suggests it."""
    return next(_secrets(text, heuristic), None) is not None


def _merged(text: str) -> Iterator[tuple[int, int]]:
    """Yields the spans of secrets, sorted and merged."""
    begun: tuple[int, int] | None = None
    for start, stop in sorted(_secrets(text)):
        if begun and start <= begun[1]:
            begun = begun[0], max(begun[1], stop)
            continue
        if begun:
            yield begun
        begun = start, stop
    if begun:
        yield begun


def _secrets(text: str, heuristic: bool = True) -> Iterator[tuple[int, int]]:
    """Yields the spans of secrets, unsorted and possibly overlapping."""
    for pattern in (_KNOWN, _ADDRESS, _PRIVATE):
        for found in pattern.finditer(text):
            yield found.span(found.lastgroup or 0)
    for found in _NAMED.finditer(text):
        group = str(found.lastgroup)
        if group in _ANY or (heuristic and _is_no_word(found[group])):
            yield found.span(group)
    if not heuristic:
        return
    rest = _blanked(text)
    for found in _PIECE.finditer(rest):
        if _is_random(found[0]):
            yield found.span()
    for found in _SLASHED.finditer(rest):
        if {kind[0] for kind in map(_kind_of, found[0])} >= {"a", "A", "0"} and _changes(found[0]) > _MOST_CHANGES:
            yield found.span()


def _blanked(text: str) -> str:
    """Returns a text with page addresses and labelled digests blanked: they look random and are public."""
    for pattern in (_WEB, _DIGEST):
        text = pattern.sub(lambda found: " " * len(found[0]), text)
    return text


def _is_no_word(value: str) -> bool:
    """Returns whether a part of a value is not a word, number, size or version. The value follows a name such as "key",
    so it may be short."""
    parts = re.split(r"[^A-Za-z0-9]+", value)
    return any(len(part) >= 8 and not _WORDS.fullmatch(part) for part in parts) or (
        len(parts) > 2 and sum(not _WORDS.fullmatch(part) for part in parts) > len(parts) / 2
    )


def _is_random(piece: str) -> bool:
    """Returns whether an unbroken piece of letters and digits is neither words nor a hash."""
    if _HEX.fullmatch(piece) or piece.isdigit() or piece.isalpha():
        return False
    if piece.upper() == piece or piece.lower() == piece:
        return len(re.findall("[0-9]+", piece)) >= _FEWEST_NUMBERS
    return _changes(piece) > _MOST_CHANGES


def _changes(piece: str) -> float:
    """Returns the share of characters that differ in kind (lower case, upper case, digit, other) from the one
    before."""
    return (len(_KINDS.findall(piece)) - 1) / (len(piece) - 1)


def _kind_of(sign: str) -> str:
    return "0" if sign.isdigit() else "A" if sign.isupper() else "a" if sign.islower() else "+"
