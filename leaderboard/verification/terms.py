"""Checks contact and disclosure of submission.json: a reachable contact that is not another person's, and a meaningful
disclosure. Applied to new submissions only."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from leaderboard.untrusted_text import quote
from leaderboard.verification.refusal import Refused
from leaderboard.verification.similar_names import skeleton

# Placeholder texts of the documentation and --help, without the final full stop.
EXAMPLES = {
    "name", "text", "contact", "disclosure", "your name", "org/name", "a name of the hub, or an address",
    "whom to ask: a name of the hub, or an address",
    "what ties you to the model; what you know of these rows in its training data",
    "what ties you to the model; what of these rows may be in its training data",
}  # fmt: skip
# Filler texts of empty form fields, reduced to letters and digits.
_FILLERS = {
    "na", "nil", "null", "nan", "undefined", "todo", "tbd", "tba", "tbc", "fixme", "xx", "xxx", "test", "testing",
    "foo", "foobar", "bar", "asdf", "qwerty", "abc", "placeholder", "example", "default", "blank", "empty", "dummy",
    "sample", "string", "text", "disclosure", "contact", "insert", "fillin", "yourtext", "yourdisclosure",
    "yourcontact", "",
}  # fmt: skip
# Contacts that identify nobody or everybody.
_NOBODY = {
    "none", "no", "noone", "nobody", "somebody", "someone", "anybody", "anyone", "everybody", "everyone", "anonymous",
    "anon", "unknown", "me", "myself", "you", "us", "user", "username", "author", "email", "mail", "address", "name",
    "yourname", "youremail", "submitter", "guest", "nothing", "hidden", "private", "redacted", "seeabove", "ask",
    "janedoe", "johndoe", "firstlast", "noreply",
}  # fmt: skip
# Texts that do not answer what ties the submitter to the model.
_NO_ANSWER = {
    "yes", "ok", "okay", "true", "false", "unknown", "idk", "dontknow", "later", "same", "seeabove", "asabove", "see",
    "ditto", "disclosed", "done", "confidential", "redacted", "private", "secret", "hidden", "notapplicable",
}  # fmt: skip
# Contacts of the maintainers, as skeletons: i becomes l, and ci becomes d.
_MAINTAINERS = re.compile(
    r"((the|a|fflm|results|board|leaderboard|offldal)*"
    r"(malntalner|admln(lstrator)?|author|developer|moderator|operator|owner|staff|root|(web|post)master)s?(team)?"
    r"((of|for|at)?(fflm|thls|the|results|board|leaderboard)+(org|com|dev)?)?)|(the|offldal)*fflm(team|offldal)?"
)
# Reserved domains (RFC 2606, 6761, 6762), local machines, and addresses that nobody reads.
_HOST = re.compile(
    r"(?<![\w-])((?:[\w-]+\.)*example\.(?:com|net|org|edu)|(?:[\w-]+\.)+(?:example|test|invalid|localhost|local|internal)"
    r"|localhost|(?:your-?)?(?:domain|company)\.(?:com|org|net|tld)|(?:127|10|0|192\.168)\.[0-9.]+)(?![\w-])",
    re.IGNORECASE,
)
_UNREAD = re.compile(r"(?<![\w.])(?:no|do-?not)[._-]?reply@|@users\.noreply\.", re.IGNORECASE)
_MAILBOX = re.compile(r"[\w.+%'-]+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]+", re.ASCII)
# Signs of an address or account name, which must be ASCII.
_ADDRESS = re.compile(r"@|\w[./:_]\w|[0-9]")
# Scripts of names today; scripts that are combined in one word; letters of other scripts that look like Latin ones
# (confusables of TR39).
_SCRIPTS = {
    "LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "HEBREW", "ARABIC", "CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA",
    "HANGUL", "BOPOMOFO", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL", "TELUGU", "KANNADA",
    "MALAYALAM", "SINHALA", "THAI", "LAO", "TIBETAN", "MYANMAR", "GEORGIAN", "ETHIOPIC", "KHMER", "THAANA", "MODIFIER",
}  # fmt: skip
_TOGETHER = {"LATIN", "CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "MODIFIER"}
_LATIN_LOOKS = set(
    # Cyrillic
    "\u0430\u0441\u0501\u0435\u04bb\u0456\u0458\u04cf\u043e\u0440\u051b\u0455\u0443\u0445\u0475\u051d\u0433\u044c"
    "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u051a\u051c\u0474"
    # Greek
    "\u03b1\u03b3\u03b9\u03bd\u03bf\u03c1\u03c3\u03c5\u03ba"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    # Armenian
    "\u0581\u0570\u0575\u0585\u0578\u057d\u0566\u0561\u054f\u0555\u053c\u054d"
)
_USUAL_SIGNS = set(
    "\u00b7\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb\u2013\u2014\u2022\u3001\u3002\u30fb\uff0c\u300c\u300d"
)


def is_example(text: str) -> bool:
    """Returns whether a text is empty or still a placeholder of the documentation."""
    return text.strip().strip("<>[]").removesuffix(".").casefold() in EXAMPLES or not text.strip()


def require_terms(submission: dict[str, Any], others: Iterable[str] = ()) -> None:
    """Raises Refused for a contact that is unreachable or looks like another person's, and for a disclosure without
    content. others: authors of attestations. The schema of submission.json is already verified."""
    contact, disclosure = submission["contact"], submission["disclosure"]
    letters = _letters(contact)
    if letters in {_letters(name) for name in others} or _MAINTAINERS.fullmatch(letters):
        raise Refused(f"submission.json, contact: {quote(contact)} looks like the maintainers. Write your own contact.")
    if fault := _fault_of_contact(contact):
        raise Refused(
            f"submission.json, contact: {quote(contact)} {fault}. Write a name of the Hub or an address where you can "
            "be reached."
        )
    if is_example(disclosure) or _plain(disclosure) in _FILLERS | _NO_ANSWER:
        raise Refused(
            f"submission.json, disclosure: {quote(disclosure)} has no content. Write what ties you to the model and "
            "what you know of these rows in its training data, or 'None.' if there is nothing."
        )


def _fault_of_contact(contact: str) -> str:
    """Returns what is wrong with a contact; "" if nothing."""
    words = contact.split()
    faults = {
        "does not identify a person": is_example(contact) or _plain(contact) in _FILLERS | _NOBODY,
        "is in a reserved or local domain": _HOST.search(contact),
        "is an address that nobody reads": _UNREAD.search(contact),
        "mixes letters that look alike": not all(map(_is_usual, contact)) or any(map(_is_mixed, words)),
        "looks like Latin letters but is in another script": _looks_latin(contact),
        "has an address or account name with letters outside ASCII": any(
            _ADDRESS.search(word) and not word.isascii() for word in words
        ),
        "has an invalid address": any("@" in word and not _has_mailbox(word) for word in words),
    }
    return next((fault for fault, found in faults.items() if found), "")


def _plain(text: str) -> str:
    """Returns the letters and digits of a text."""
    return "".join(sign for sign in text.casefold() if sign.isalnum())


def _letters(name: str) -> str:
    """Returns the letters of a name's skeleton, without diacritics."""
    bare = unicodedata.normalize("NFKD", name.replace("\u0131", "i"))
    return re.sub(r"[\W_]+", "", skeleton("".join(sign for sign in bare if not unicodedata.combining(sign))))


def _has_mailbox(word: str) -> bool:
    """Returns whether a word with an @ is a mail address, or a chat name followed by its server."""
    return _MAILBOX.fullmatch(word.strip("<>()[],;:\"'.").removeprefix("mailto:").lstrip("@")) is not None


def _script(sign: str) -> str:
    """Returns the script of a letter: the first word of its Unicode name."""
    return re.split("[ -]", unicodedata.name(sign, "?"))[0]


def _is_usual(sign: str) -> bool:
    """Returns whether a character is common in names and not a look-alike."""
    if sign.isascii() or sign in _USUAL_SIGNS:
        return True
    if sign.isalpha():
        script = _script(sign)
        base = unicodedata.normalize("NFD", sign)[0]
        return script in _SCRIPTS and (script != "LATIN" or sign < "\u0180" or base.isascii() or sign in "\u018f\u0259")
    return unicodedata.category(sign) in ("Mn", "Mc", "So", "Zs", "Nd")


def _is_mixed(word: str) -> bool:
    """Returns whether a word mixes scripts that are not combined in one word."""
    scripts = {_script(sign) for sign in word if sign.isalpha()} - {"MODIFIER"}
    return len(scripts) > 1 and not scripts <= _TOGETHER


def _looks_latin(text: str) -> bool:
    """Returns whether a text has letters of other scripts, and all of them look like Latin ones."""
    foreign = [sign for sign in text if sign.isalpha() and _script(sign) != "LATIN"]
    return bool(foreign) and all(sign in _LATIN_LOOKS for sign in foreign)
