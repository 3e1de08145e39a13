"""Finds corrections: the position where a text replaces an earlier number by another."""

# ruff: noqa: RUF001 (ambiguous characters are intended: they occur in model outputs)

import re

from fflm_data.answers.candidates import ENDS, THINGS, N, rule
from fflm_data.answers.numerals import OTHER

_AGAIN = r"(?:thoughts?|look|inspection|reflection|consideration|examination|re-?count|re-?check|review|reading)"
_ERROR = r"(?:mistake|error|slip|typo|miscount|miscalculation)"
_ERRED = (
    rf"I(?:'ve| have)? (?:made an? (?:\w+ )?{_ERROR}|mis(?:counted|spoke|calculated|typed|read(?: \w+ \w+)?)|messed up)"
)
# Only the text after these phrases counts.
_CORRECTION = rule(
    rf"(?:^|(?<=[.!?,;:] ))actually\b|\bactually,|[—–] ?actually\b"
    # Phrases that are a clause of their own: "on reflection", not "after a second look at the word".
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
# After these doubts an isolated number, directly after the doubt or at the end, replaces the earlier ones:
# "2. Ah, I see a third. 3."
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
    rf"(?:{_SOUND},? )?(?:{_SOUND}|not {OTHER}|no(?:[ ,]+no|pe)?|{_REDONE}|{_ADMITTED}|{_APOLOGY}|{_FOREIGN})(?!\w)"
    r"|不对|等等|等一下|更正|抱歉|不,"
)
_WORDS = (
    r"(?:so|yes|then|now|it|it's|there|there's|they|i|we|the|a|is|are|was|be|have|has|should|must|would|will|get|got|count"
    r"|find|makes?|actually|indeed|exactly|only|just|really|again|in|fact|correct|right|real|actual|true|final|new|answer"
    r"|number|total|of|es|son|sind|sont|ist|est|sono|是|应该是|有|应该有)"
)
_LEAD = rf"(?:{_WORDS}(?![a-z'])[ ,:]*){{0,8}}"
# An isolated number, or a number for a word that was mentioned before: "2 r's in berry. Apologies, there are 3 r's in
# berry."
_OF_WORD = rf"{THINGS}(?P<word> in [^.!?\n{N}{OTHER}]{{1,40}})(?=[.!?\n]|$)"
_NUMBER = rf"{_LEAD}(?P<number>{N})(?:(?P<alone>{THINGS}{ENDS})|{_OF_WORD})?"
# Characters before a number in which its word must occur.
MAX_WORD_DISTANCE = 200
_DIRECTLY_AFTER = rule(rf"[^\w{N}{OTHER}]*(?:that(?:'s| is| makes) )?{_NUMBER}")
_AT_THE_END = rule(rf"[^\w{N}{OTHER}]*{_NUMBER}")
_RETRACTED_AFTER = rule(
    rf"[^\w{N}{OTHER}]*{_LEAD}{N}{THINGS},? "
    r"(?:actually|rather|I mean|sorry|my (?:mistake|bad|error|apologies)|to correct myself)[.!)]*$"
)
_SENTENCE_ENDS = ".!?…;—\n"


def find_corrections(text: str, values: dict[int, int | None]) -> tuple[int, int]:
    """Returns the start positions of the text that counts: after the last correction, and after the last doubt.

    A position is 0 if there is no correction or doubt, or no number after it.
    """
    last = text.rfind(N)
    corrections = [match.end() for match in _CORRECTION.finditer(text) if match.end() <= last]
    return max(corrections, default=0), _find_restatement(text, values, last)


def _find_restatement(text: str, values: dict[int, int | None], last: int) -> int:
    """Returns the position of the last isolated number after another number and a doubt; 0 if there is none."""
    first = text.find(N)

    def is_isolated(match: re.Match[str] | None) -> bool:
        """Whether a match is an isolated number, a number for the same word as before, or an alternative."""
        if match is None:
            return False
        before = text[max(0, match.start() - MAX_WORD_DISTANCE) : match.start()]
        repeats_word = match["word"] is not None and match["word"] in before
        return repeats_word or match["alone"] is not None or values[match.start("number")] is None

    doubts = [match.end() for match in _DOUBT.finditer(text) if first < match.start()]
    starts = [end for end in doubts if is_isolated(_DIRECTLY_AFTER.match(text, end))]
    sentence = max(text.rfind(end, 0, max(last, 0)) for end in _SENTENCE_ENDS) + 1
    if first < sentence:
        doubted = doubts and doubts[0] <= sentence and is_isolated(_AT_THE_END.match(text, sentence))
        if doubted or _RETRACTED_AFTER.match(text, sentence):
            starts.append(sentence)
    return max(starts, default=0)
