"""What people say of themselves in submission.json: a contact that somebody can reach and that is nobody else's, and a
disclosure that tells something. Asked of what is sent; what was accepted before stays so."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from leaderboard.verification.refusal import Refused, shown
from leaderboard.verification.similar_names import skeleton

# What stands in the examples and in --help in the place of what people are to say, without its last full stop.
EXAMPLES = {
    "name", "text", "contact", "disclosure", "your name", "org/name", "a name of the hub, or an address",
    "whom to ask: a name of the hub, or an address",
    "what ties you to the model; what you know of these rows in its training data",
    "what ties you to the model; what of these rows may be in its training data",
}  # fmt: skip
# What stands in a field that nobody has filled in, as its letters and digits.
_FILLERS = {
    "na", "nil", "null", "nan", "undefined", "todo", "tbd", "tba", "tbc", "fixme", "xx", "xxx", "test", "testing",
    "foo", "foobar", "bar", "asdf", "qwerty", "abc", "placeholder", "example", "default", "blank", "empty", "dummy",
    "sample", "string", "text", "disclosure", "contact", "insert", "fillin", "yourtext", "yourdisclosure",
    "yourcontact", "",
}  # fmt: skip
# What says that there is nobody, or everybody.
_NOBODY = {
    "none", "no", "noone", "nobody", "somebody", "someone", "anybody", "anyone", "everybody", "everyone", "anonymous",
    "anon", "unknown", "me", "myself", "you", "us", "user", "username", "author", "email", "mail", "address", "name",
    "yourname", "youremail", "submitter", "guest", "nothing", "hidden", "private", "redacted", "seeabove", "ask",
    "janedoe", "johndoe", "firstlast", "noreply",
}  # fmt: skip
# Answers to another question than what ties somebody to a model.
_NO_ANSWER = {
    "yes", "ok", "okay", "true", "false", "unknown", "idk", "dontknow", "later", "same", "seeabove", "asabove", "see",
    "ditto", "disclosed", "done", "confidential", "redacted", "private", "secret", "hidden", "notapplicable",
}  # fmt: skip
# Who is nobody else's contact, as a skeleton: i is l there, and ci is d.
_MAINTAINERS = re.compile(
    r"((the|a|fflm|results|board|leaderboard|offldal)*"
    r"(malntalner|admln(lstrator)?|author|developer|moderator|operator|owner|staff|root|(web|post)master)s?(team)?"
    r"((of|for|at)?(fflm|thls|the|results|board|leaderboard)+(org|com|dev)?)?)|(the|offldal)*fflm(team|offldal)?"
)
# Domains that are nobody's (RFC 2606, 6761, 6762), machines, and addresses that nobody reads.
_HOST = re.compile(
    r"(?<![\w-])((?:[\w-]+\.)*example\.(?:com|net|org|edu)|(?:[\w-]+\.)+(?:example|test|invalid|localhost|local|internal)"
    r"|localhost|(?:your-?)?(?:domain|company)\.(?:com|org|net|tld)|(?:127|10|0|192\.168)\.[0-9.]+)(?![\w-])",
    re.IGNORECASE,
)
_UNREAD = re.compile(r"(?<![\w.])(?:no|do-?not)[._-]?reply@|@users\.noreply\.", re.IGNORECASE)
_MAILBOX = re.compile(r"[\w.+%'-]+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]+", re.ASCII)
# What is written in ASCII alone: an address, and a name with a sign of one in it.
_ADDRESS = re.compile(r"@|\w[./:_]\w|[0-9]")
# Scripts that people write names in today; those that are written together; letters of two of them that look like Latin
# ones, which Unicode lists as confusable (TR39).
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
    """Whether a text is still that of the examples, or nothing."""
    return text.strip().strip("<>[]").removesuffix(".").casefold() in EXAMPLES or not text.strip()


def require_terms(submission: dict[str, Any], others: Iterable[str] = ()) -> None:
    """Raises Refused for a contact that nobody reaches or that passes for somebody else, and for a disclosure that
    tells nothing. others: who signs attestations for the maintainers. The form of submission.json is known to be
    right."""
    contact, disclosure = submission["contact"], submission["disclosure"]
    said = _letters(contact)
    if said in {_letters(one) for one in others} or _MAINTAINERS.fullmatch(said):
        raise Refused(f"submission.json, contact: {shown(contact)} passes for the maintainers: say who you are")
    if fault := _fault_of_contact(contact):
        raise Refused(
            f"submission.json, contact: {shown(contact)} {fault}: write a name of the Hub, or an address that is read"
        )
    if is_example(disclosure) or _plain(disclosure) in _FILLERS | _NO_ANSWER:
        raise Refused(
            f"submission.json, disclosure: {shown(disclosure)} says nothing: write what ties you to the model and what "
            "you know of these rows in its training data, or 'None.' if nothing does and you know of none"
        )


def _fault_of_contact(contact: str) -> str:
    """What is wrong with it, as what follows it; "" if nothing."""
    words = contact.split()
    faults = {
        "is nobody": is_example(contact) or _plain(contact) in _FILLERS | _NOBODY,
        "is an address that nobody can have": _HOST.search(contact),
        "is an address that nobody reads": _UNREAD.search(contact),
        "has letters that look like others": not all(map(_is_usual, contact)) or any(map(_is_mixed, words)),
        "looks as if it were written in Latin letters, and is not": _looks_latin(contact),
        "has an address or a name with other letters than those of ASCII": any(
            _ADDRESS.search(word) and not word.isascii() for word in words
        ),
        "has an address that is none": any("@" in word and not _has_mailbox(word) for word in words),
    }
    return next((fault for fault, found in faults.items() if found), "")


def _plain(text: str) -> str:
    """A text as its letters and digits alone."""
    return "".join(sign for sign in text.casefold() if sign.isalnum())


def _letters(name: str) -> str:
    """The same of what a name looks like, without marks on its letters."""
    bare = unicodedata.normalize("NFKD", name.replace("\u0131", "i"))
    return re.sub(r"[\W_]+", "", skeleton("".join(sign for sign in bare if not unicodedata.combining(sign))))


def _has_mailbox(word: str) -> bool:
    """Whether a word with an @ in it is an address, or a name of a chat whose server follows."""
    return _MAILBOX.fullmatch(word.strip("<>()[],;:\"'.").removeprefix("mailto:").lstrip("@")) is not None


def _script(sign: str) -> str:
    """The script of a letter, which is how its name in Unicode begins."""
    return re.split("[ -]", unicodedata.name(sign, "?"))[0]


def _is_usual(sign: str) -> bool:
    """Whether a sign is one that names are written with, and none that is made to look like another."""
    if sign.isascii() or sign in _USUAL_SIGNS:
        return True
    if sign.isalpha():
        script = _script(sign)
        base = unicodedata.normalize("NFD", sign)[0]
        return script in _SCRIPTS and (script != "LATIN" or sign < "\u0180" or base.isascii() or sign in "\u018f\u0259")
    return unicodedata.category(sign) in ("Mn", "Mc", "So", "Zs", "Nd")


def _is_mixed(word: str) -> bool:
    """Whether a word has letters of scripts that are not written together."""
    scripts = {_script(sign) for sign in word if sign.isalpha()} - {"MODIFIER"}
    return len(scripts) > 1 and not scripts <= _TOGETHER


def _looks_latin(text: str) -> bool:
    """Whether all letters of another script, and there are some, pass for Latin ones."""
    foreign = [sign for sign in text if sign.isalpha() and _script(sign) != "LATIN"]
    return bool(foreign) and all(sign in _LATIN_LOOKS for sign in foreign)
