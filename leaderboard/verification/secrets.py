"""Keys, tokens and passwords in a text: found by what those of services begin with, by the name before them, or by how
little they look like words; and how such a text may be quoted.

A text is read here in pieces of letters and digits, without what stands between them. Hashes in hexadecimal digits,
names of models and files, command lines and addresses of pages are none.
"""

import re
import unicodedata
from collections.abc import Iterator

# A name may be glued to what stands before by an underscore, which is a letter to \b.
_START = r"(?<![A-Za-z0-9])"
_KNOWN = re.compile(
    _START
    # Of models and data.
    + r"(?:(?:hf|api_org|hf_oauth|gsk|r8|fw|jina|tgp_v1|pcsk|rpa|e2b|wandb_v1|KGAT|phx|sgp)_[A-Za-z0-9]{16,}"
    r"|(?:sk|csk|nvapi|tvly)-[\w-]{16,}|(?:xai|pplx)-[A-Za-z0-9]{16,}|lsv2_[a-z]{2}_\w{16,}|dapi[0-9a-f]{32}"
    # Of code, packages and machines.
    r"|gh[a-z]_\w{16,}|github_pat_\w{16,}|gl(?:pat|dt|rt|ft|ptt|cbt|soat|agent|oas|imt|ffct)-[\w-]{16,}"
    r"|pypi-AgE[\w-]{12,}|(?:npm|rubygems|sbp|sb_secret|do[opr]_v1|nfp|rnd|vercel|glsa|glc)_[A-Za-z0-9]{16,}"
    r"|dckr_[a-z]{3}_[\w-]{16,}|pscale_[a-z]+_[\w-]{16,}|sntry[su]_[\w-]{16,}|AGE-(?:SECRET-KEY|PLUGIN)-[\w-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,}|AIza[\w-]{30,}|ya29\.[\w-]{16,}|GOCSPX-[\w-]{16,}|LTAI[A-Za-z0-9]{12,}"
    r"|hv[sb]\.[\w-]{16,}|NR[A-Z]{2,3}-[\w-]{16,}|[A-Za-z0-9]{3}[78]Q~[\w.~-]{30,}"
    # Of money, mail and talk.
    r"|[sr]k_(?:live|test)_\w{10,}|whsec_[\w+/=-]{16,}|sq0[a-z]{3}-[\w-]{16,}|EAAA[\w-]{48,}|shp[a-z]{2}_\w{16,}"
    r"|shippo_[a-z]+_\w{16,}|SG\.[\w-]{10,}\.[\w-]{10,}|SK[0-9a-f]{32}|key-[0-9a-f]{32}|xkeysib-[\w-]{16,}"
    r"|xox[a-z]-[\w-]{10,}|xapp-[\w-]{16,}|(?:bot)?[0-9]{8,10}:AA[\w-]{30,}|[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}"
    r"|(?:ntn|lin_api|figd)_[\w-]{16,}|secret_[A-Za-z0-9]{32,}|AT(?:ATT|CTT|BB)[\w-]{16,}|PMAK-[\w-]{16,}"
    r"|CFPAT-[\w-]{16,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}(?:\.[\w-]*)?)"
)
# Addresses that let in whoever has them.
_ADDRESS = re.compile(
    r"//hooks\.(?P<hook>[\w.-]+/[\w/-]{16,})|webhook\.office\.com/(?P<office>[\w@/-]{16,})"
    r"|/webhooks/[0-9]{10,}/(?P<discord>[\w-]{16,})"
    r"|://[^\s/@:]*:(?P<password>[^\s/@]+)@|://(?P<user>[^\s/@:]{16,})@",
    re.IGNORECASE,
)
_PRIVATE = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]*PRIVATE KEY.*|PuTTY-User-Key-File.*", re.DOTALL)
_GIVEN = r"[\"']?\s*(?::=|=>|[:=])\s*[\"']?"
# After these names any value of eight signs, or of six with a digit; after the others one that looks like no word;
# after an option a space.
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
# What a key of AWS is, whose signs may be slashes.
_SLASHED = re.compile(r"(?<![\w/+=-])[A-Za-z0-9/+]{40}(?![\w/+=-])")
_HEX = re.compile(r"(?:0x)?(?:[0-9a-f]+|[0-9A-F]+)")
_KINDS = re.compile(r"[a-z]+|[A-Z]+|[0-9]+|[^A-Za-z0-9]+")
# A part of a name: words glued together, a number at its end, a size or a version.
_WORDS = re.compile(r"[A-Za-z]*[0-9]{0,4}[A-Za-z]{0,2}|[0-9]+[A-Za-z]{0,2}")
# Of random letters and digits three in five differ in kind from the one before, of words glued together one in three.
_MOST_CHANGES, _FEWEST_NUMBERS = 0.4, 3


def masked(text: str) -> str:
    """A text with stars in the place of what is secret in it: at most a quarter of that, four signs, is left."""
    seen = "".join(sign for sign in text if unicodedata.category(sign) not in ("Cc", "Cf") or sign in "\n\t")
    if seen != text and has_secret(seen):  # it would still be there to read between the escapes
        text = seen
    parts, end = [], 0
    for start, stop in _merged(text):
        kept = min(4, (stop - start) // 4)
        parts += [text[end:start], text[start : start + kept], "***"]
        end = stop
    return "".join(parts) + text[end:]


def has_secret(text: str, guess: bool = True) -> bool:
    """Whether a text gives away what opens an account. guess: also where nothing but its look says so."""
    return next(_secrets(text, guess), None) is not None


def _merged(text: str) -> Iterator[tuple[int, int]]:
    """Where secrets are, in order and apart."""
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


def _secrets(text: str, guess: bool = True) -> Iterator[tuple[int, int]]:
    """Where secrets are, in no order; one may be found twice."""
    for pattern in (_KNOWN, _ADDRESS, _PRIVATE):
        for found in pattern.finditer(text):
            yield found.span(found.lastgroup or 0)
    for found in _NAMED.finditer(text):
        group = str(found.lastgroup)
        if group in _ANY or (guess and _is_no_word(found[group])):
            yield found.span(group)
    if not guess:
        return
    rest = _blanked(text)
    for found in _PIECE.finditer(rest):
        if _is_random(found[0]):
            yield found.span()
    for found in _SLASHED.finditer(rest):
        if {kind[0] for kind in map(_kind_of, found[0])} >= {"a", "A", "0"} and _changes(found[0]) > _MOST_CHANGES:
            yield found.span()


def _blanked(text: str) -> str:
    """A text without what may look random and is for everybody: addresses of pages, and digests that say so."""
    for pattern in (_WEB, _DIGEST):
        text = pattern.sub(lambda found: " " * len(found[0]), text)
    return text


def _is_no_word(value: str) -> bool:
    """Whether a value has a part that is no word, number, size or version: one that is named a key need not be long."""
    parts = re.split(r"[^A-Za-z0-9]+", value)
    return any(len(part) >= 8 and not _WORDS.fullmatch(part) for part in parts) or (
        len(parts) > 2 and sum(not _WORDS.fullmatch(part) for part in parts) > len(parts) / 2
    )


def _is_random(piece: str) -> bool:
    """Whether letters and digits without a break are no words and no hash."""
    if _HEX.fullmatch(piece) or piece.isdigit() or piece.isalpha():
        return False
    if piece.upper() == piece or piece.lower() == piece:
        return len(re.findall("[0-9]+", piece)) >= _FEWEST_NUMBERS
    return _changes(piece) > _MOST_CHANGES


def _changes(piece: str) -> float:
    """How often a sign is of another kind than the one before: a small letter, a capital, a digit, something else."""
    return (len(_KINDS.findall(piece)) - 1) / (len(piece) - 1)


def _kind_of(sign: str) -> str:
    return "0" if sign.isdigit() else "A" if sign.isupper() else "a" if sign.islower() else "+"
