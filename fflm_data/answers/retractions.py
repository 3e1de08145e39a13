"""Where a text takes back a number that it has said, and says another."""

# ruff: noqa: RUF001 (signs that look like others are what is read here)

import re

from fflm_data.answers.asides import ENDS, THINGS, N, rule
from fflm_data.answers.numerals import ASIDE

_AGAIN = r"(?:thoughts?|look|inspection|reflection|consideration|examination|re-?count|re-?check|review|reading)"
_ERROR = r"(?:mistake|error|slip|typo|miscount|miscalculation)"
_ERRED = (
    rf"I(?:'ve| have)? (?:made an? (?:\w+ )?{_ERROR}|mis(?:counted|spoke|calculated|typed|read(?: \w+ \w+)?)|messed up)"
)
# What follows these counts alone, whatever it is.
_CORRECTION = rule(
    rf"(?:^|(?<=[.!?,;:] ))actually\b|\bactually,|[—–] ?actually\b"
    # What begins a clause alone: "on reflection", not "after a second look at the word".
    rf"|(?:^[ \t]*|(?<=[.!?,;:…] )|[—–] ?|(?<= - ))(?:"
    rf"(?:on|upon|after) (?:an? )?(?:(?:second|further|closer|another|more careful) )?{_AGAIN}(?:ing)?\b"
    r"|looking (?:at (?:it|this|that|the word) )?again\b|re-?count:|(?:update|edit):|(?:sorry|nope)\b[,:]?)"
    r"|[(\[](?:update|edit):"
    r"|\b(?:wait|correction|(?:scratch|strike|disregard|ignore) that|hold on|hang on|w?h?oops"
    rf"|I stand corrected|or rather|make (?:that|it) (?={N})|let me rephrase"
    rf"|I mean|{_ERRED}(?=[ ]?[.,;:!—–-]| (?:in|while|when|with)(?: \w+){{1,3}}[.:])"
    r"|let me (?:re-?count|re-?check|double[- ]check|try again|look again|correct|fix)"
    r"|(?:my (?:mistake|bad)|(?:that(?:'s| is| was)|I was) (?:wrong|incorrect|mistaken|not (?:right|correct)))"
    r"(?=[ ]?[.,;:!—–-])"
    r"|no,? (?=it's|it is|there are))"
)
# After these a number counts alone if it is said by itself, at once or at the end: "2. Ah, I see a third. 3."
_SOUND = (
    r"(?:a+h+|aha|o+h+(?:,? (?:no|I see|right|dear))?|(?<!, )h+m+|huh|argh+|ugh+|d'oh|e+r+m*|u+h+m*|um+|eh+m*|well)"
)
_SHALL = r"(?:let me|let's|I'll|I will) "
_REDONE = (
    rf"(?:(?:{_SHALL})?(?:(?:re-?|double[- ])(?:check|count|calculat|examin|verif|read)\w*"
    r"|(?:check|count|look|try)(?:ing)?(?: (?:it|that|this))? (?:again|once more))"
    rf"|{_SHALL}(?:verify|check)(?: (?:it|that|this))?|verifying|(?:second|another|new) (?:try|count))"
)
_ADMITTED = (
    rf"(?:{_ERRED}|my (?:{_ERROR}|fault)|that(?:'s| is| was) an? {_ERROR}|{_ERROR}|erratum"
    rf"|(?:corrected|revised|amended)(?=:)|I (?:missed|overlooked|forgot|skipped)(?: (?:the )?{N})?"
    r"|I (?:(?:under|over)counted|was off by|got (?:it|that|this) wrong|take (?:that|it) back)|silly me"
    r"|(?:(?:let|allow) me|I (?:need|have|want)|I'd like) to correct (?:myself|that|this))"
)
_APOLOGY = r"(?:sorry|(?:my )?apologies|I apologi[sz]e|(?:pardon|excuse) me)"
_FOREIGN = r"(?:nein|moment|korrektur|entschuldigung|perdón|espera|corrección|no|non|pardon|attends|désolée?)"
_DOUBT = rule(
    r"(?:^[ \t]*|(?<=[.!,;:…] )|(?<=[(\[])|[—–] ?|(?<= - )|(?:→|[-=]>) ?|\bbut )"
    rf"(?:{_SOUND},? )?(?:{_SOUND}|not {ASIDE}|no(?:[ ,]+no|pe)?|{_REDONE}|{_ADMITTED}|{_APOLOGY}|{_FOREIGN})(?!\w)"
    r"|不对|等等|等一下|更正|抱歉|不,"
)
_WORDS = (
    r"(?:so|yes|then|now|it|it's|there|there's|they|i|we|the|a|is|are|was|be|have|has|should|must|would|will|get|got|count"
    r"|find|makes?|actually|indeed|exactly|only|just|really|again|in|fact|correct|right|real|actual|true|final|new|answer"
    r"|number|total|of|es|son|sind|sont|ist|est|sono|是|应该是|有|应该有)"
)
_LEAD = rf"(?:{_WORDS}(?![a-z'])[ ,:]*){{0,8}}"
# By itself, or of a word that stands before it too: "2 r's in berry. Apologies, there are 3 r's in berry."
_OF_WORD = rf"{THINGS}(?P<word> in [^.!?\n{N}{ASIDE}]{{1,40}})(?=[.!?\n]|$)"
_NUMBER = rf"{_LEAD}(?P<number>{N})(?:(?P<alone>{THINGS}{ENDS})|{_OF_WORD})?"
WORD_BEFORE = 200
_AT_ONCE = rule(rf"[^\w{N}{ASIDE}]*(?:that(?:'s| is| makes) )?{_NUMBER}")
_AT_THE_END = rule(rf"[^\w{N}{ASIDE}]*{_NUMBER}")
_TAKEN_BACK_AFTER = rule(
    rf"[^\w{N}{ASIDE}]*{_LEAD}{N}{THINGS},? "
    r"(?:actually|rather|I mean|sorry|my (?:mistake|bad|error|apologies)|to correct myself)[.!)]*$"
)
_SENTENCE_ENDS = ".!?…;—\n"


def corrected(text: str, values: dict[int, int | None]) -> tuple[int, int]:
    """Where what is said anew begins: after what takes back all before it, and where a number is said by itself after
    a doubt; 0 each if there is none, or no number after it."""
    last = text.rfind(N)
    hard = [match.end() for match in _CORRECTION.finditer(text) if match.end() <= last]
    return max(hard, default=0), _said_again(text, values, last)


def _said_again(text: str, values: dict[int, int | None], last: int) -> int:
    """Where the last number begins that is said by itself after another and a doubt of that; 0 if there is none."""
    first = text.find(N)

    def says(said: re.Match[str] | None) -> bool:
        """Whether that is a number by itself, or one of those between which a choice is left."""
        if said is None:
            return False
        before = text[max(0, said.start() - WORD_BEFORE) : said.start()]
        again = said["word"] is not None and said["word"] in before
        return again or said["alone"] is not None or values[said.start("number")] is None

    doubts = [match.end() for match in _DOUBT.finditer(text) if first < match.start()]
    starts = [end for end in doubts if says(_AT_ONCE.match(text, end))]
    sentence = max(text.rfind(sign, 0, max(last, 0)) for sign in _SENTENCE_ENDS) + 1
    if first < sentence:
        doubted = doubts and doubts[0] <= sentence and says(_AT_THE_END.match(text, sentence))
        if doubted or _TAKEN_BACK_AFTER.match(text, sentence):
            starts.append(sentence)
    return max(starts, default=0)
