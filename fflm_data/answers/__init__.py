r"""Parses the answer in a model output, one number or one histogram of letters, by the grammar below.

The value of an output is exact or None. There is no partial credit.

A count, parsed by parse. The rules are tried in this order. The first rule that finds a number decides.

    text        = turn, { newline, "Question:" | "Q:" | "User:" | ..., rest }       rest is another turn and is ignored
    turn        = { answer }, [ correction, turn ]   after the last of "wait", "actually,", "let me recount", "oops",
                                                     "hold on", "strike that", "Update:", "On reflection", "or rather",
                                                     "I made an error.", "[edit: 3]", ...: only the text after it
                                                     counts, if it has a candidate
                | { answer }, doubt, { answer }, isolated candidate
                                                     "2. Ah, I see a third. 3.", "2. Apologies, it's 3", "2, no: 3",
                                                     "2. Rechecking: 3", "2... 3, actually.", "2 r's in it. Sorry, there
                                                     are 3 r's in it.", "2 -> corrected: 3": only the text from this
                                                     candidate on counts, if another candidate precedes the doubt and
                                                     this one directly follows it or is in the last sentence; in cut-off
                                                     text only strong applies after it
    answer      = strong | in_all | weak | alone | calculated | breakdown_result | sum_of_parts | stated | all
                                                     in this order
    strong      = ( "\boxed{" | "<answer>" | "####" | "answer is" | "Answer:" | '"answer":' | "答案是" | "Antwort:"
                  | "the correct number is" | ... ), value
                                                     the last marker with candidates after it on its line (or the next)
    in_all      = candidate, words, ( "in total" | "altogether" | "overall" | ... )    the last match
    weak        = ( "so" | "therefore" | "total:" | "| Total |" | "count =" | "I think" | "the number of ... is"
                  | ... ), value                     the last marker with candidates after it; the next rule is tried if
                                                     it gives no value
    value       = candidate not followed by an alternative ("or 3", "-3", ", 3") | calculated | in_all | stated | all
                                                     (after a weak marker: without in_all and all)
    alone       = lines that contain only candidates, and a candidate that is the first sentence, with one that is the
                  last: all must be equal
    calculated  = operand, operator, operand, "=" | "is" | "equals", candidate
                                                     the last match, unless a calculation without a result follows
    breakdown_result = ( "which makes" | "that gives" | "adding up to" | ... ), candidate       the last match
    sum_of_parts = candidates, ( "=" | ":" | "is" | "together have" | ". " at the end | ... ), candidate
                                                     if it is the sum of all candidates before it and no earlier
                                                     candidate follows such a word
    stated      = clauses with ( "there are" | "appears" | "contains" | "is" | "hay" | "有" | ..., candidate )
                  or ( candidate, "times" | "occurrences" | "veces" | "次" | ... ): all must be equal
    all         = all candidates of the text: all must be equal; not in cut-off text or a refusal
    In cut-off text breakdown_result, sum_of_parts and all do not apply. If it works step by step ("First,", "Let's",
    list items), only strong applies.
    In stated and all, the first candidate of a clause is also its value if it is the sum of the others (a breakdown).
    The clause has no value if several candidates are parts ("1 in straw and 1 in berry").

    candidate   = integer | words | zero | numeral, unless it is a non-candidate
    integer     = [ "-" | "−" | "+" | "minus" | "negative" ], ( digits | groups of three separated by one of , _ ' {,}
                  no-break or thin space ), [ ".0" ]   digits of any script; more than 18 digits have no value
    words       = English cardinal below a million ("a hundred", "two hundred and five") | "once" | "twice" | "thrice"
                  | "a single"; not if followed by another scale, "half" or "-word"
    zero        = "none" | "not at all" | "never appears" | "does not appear" | "not any" | "not a single"
                  | "does not contain the letter" | "is not present in" | "no times" | "no occurrences" | "no r's"
                  | "no r"; not "does not appear to"
    numeral     = 〇 to 九十九, followed by 个 or 次 or the end of a sentence; not 一个 (a), 第三 (third)
    non-candidate = "1." of a list and the items that follow it ("1." alone if it begins a line) | "position 3",
                  "letters 3, 8 and 9", "Step 2", "#3" | "r (1)", "3 (r)" | an operand | "out of 20", "not 2"
                  | "one by one" | "In 2024,", "so far 1" | if there is another candidate: "my earlier answer was 2",
                  and the result of a calculation that verifies another candidate ("12, because 12 x 48 = 576")
                  | parts of the preceding number ("3 r's, two of which are adjacent") | a reference mark after another
                  number ("3 [1]") | a bound before the exact number ("more than 2: 3")
    Digits attached to a letter, % or a superscript (3rd, r3d, 10-letter, GPT-4) are not numbers. The length of the word
    or list ("10 letters", "20 words", unless a quoted letter follows) is a candidate only if there is no other.
    Numbers without a value, and so no answer: 3.5, 1.400, 3/4, 3-4, 3:30, 1,2,3, "3 thousand", and bounds ("at least
    3", "3+"). "about 3" is 3. Alternatives have no value: "2 or 3", "2 (or is it 3?)", "2, maybe 3", "2 (3 if you count
    it)", "2 (some count 3)".
    "3x" is a count only next to a letter or a verb of occurrence ("3x r", "r x3", "r appears 3x"); "3/10" counts as 3
    before "letters are r". Footnotes, citations, Markdown, LaTeX and HTML around a number are removed. Block tags
    separate a number from its neighbours, inline tags do not. The name of a tag that is not HTML is a label
    (<count>3</count> is parsed as "count: 3"). ~~Struck-out text~~ is ignored.
    Number words of other languages are not parsed.

    kind        = ANSWERED | REFUSED (no answer, and "I cannot", "as an AI", "I'm sorry", ...) | CUT_OFF (no answer, and
                  the token limit was reached: a number at the very end may be incomplete) | UNPARSED

A histogram, parsed by parse_histogram:

    histogram   = the last complete object whose keys are all single letters (in a fence, in prose, in another
                  object); an object after "such as", "format" or "example" only if there is no other
                | objects { "letter": letter, "count": count } | without any brace: letter, ( ":" | "=" | "-" | "|" ),
                  count, separated by commas or newlines; not in cut-off text
    object      = "{", pair, { ",", pair }, [ "," ], "}"        with comments and newlines between them
    pair        = letter with or without quotes, ":", count with or without quotes
    A letter that occurs twice in the same case must have the same count. Counts of upper and lower case are added, and
    zeros are dropped. Negative, fractional and other counts: UNPARSED. {} has no answer.
"""

# ruff: noqa: RUF002 (ambiguous characters are intended: they occur in model outputs)

import re
from typing import NamedTuple

from fflm_data.answers import counts, histograms
from fflm_data.answers.markup import strip_markup
from fflm_data.answers.numerals import mark_numbers
from fflm_data.answers.refusals import contains_refusal, is_refusal

ANSWERED, UNPARSED, REFUSED, CUT_OFF = "answered", "unparsed", "refused", "cut_off"

_FIRST_LINE = re.compile(r"\s*\S.*\n")


class ParsedCount(NamedTuple):
    """The number in an output. `value` is None unless `kind` is ANSWERED."""

    value: int | None
    kind: str


class ParsedHistogram(NamedTuple):
    """Counts of lower-case letters in an output, without zeros. `value` is None unless `kind` is ANSWERED."""

    value: dict[str, int] | None
    kind: str


def is_complete(text: str) -> bool:
    """Whether an output has a complete non-blank line, after which decoding can stop."""
    return _FIRST_LINE.match(text) is not None


def first_line(text: str) -> str:
    """Returns an output up to its first non-blank line. The token that ends the line may also begin the next one."""
    line = _FIRST_LINE.match(text)
    return line.group() if line else text


def parse(text: str, cut_off: bool = False) -> ParsedCount:
    """Parses the number in an output. cut_off: decoding stopped at the token limit."""
    number_cut_off = cut_off and (text[-1:].isalnum() or text[-1:] == ",")
    marked = mark_numbers(strip_markup(text), number_cut_off)
    value = counts.extract_count(marked, cautious=contains_refusal(text), unfinished=cut_off)
    return ParsedCount(value, ANSWERED if value is not None else _failure(text, cut_off))


def parse_histogram(text: str, cut_off: bool = False) -> ParsedHistogram:
    """Parses the histogram of letters in an output. cut_off: decoding stopped at the token limit."""
    value = histograms.extract_histogram(counts.before_next_turn(strip_markup(text)), cut_off)
    return ParsedHistogram(value, ANSWERED if value is not None else _failure(text, cut_off))


def _failure(text: str, cut_off: bool) -> str:
    if is_refusal(text):
        return REFUSED
    return CUT_OFF if cut_off else UNPARSED
