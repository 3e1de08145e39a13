r"""What a completion says: one number, or one histogram of letters, by a written grammar. Nothing is half right.

A count, read by parse. Rules are tried in this order; the first that finds a number decides.

    text        = said, { newline, "Question:" | "Q:" | "User:" | ..., rest }      the rest is another turn: not read
    said        = { answer }, [ correction, said ]   after the last of "wait", "actually,", "let me recount", "oops",
                                                     "hold on", "strike that", "Update:", "On reflection", "or rather",
                                                     "I made an error.", "[edit: 3]", ...: that part alone, if it has a
                                                     candidate
                | { answer }, doubt, { answer }, candidate by itself
                                                     "2. Ah, I see a third. 3.", "2. Apologies, it's 3", "2, no: 3",
                                                     "2. Rechecking: 3", "2... 3, actually.", "2 r's in it. Sorry, there
                                                     are 3 r's in it.", "2 -> corrected: 3": from that candidate on, if
                                                     one stands before the doubt, and this at once after it or in the
                                                     last sentence; of a text that was cut off only strong counts then
    answer      = strong | in_all | weak | alone | calculated | made | summed | stated | all       in this order
    strong      = ( "\boxed{" | "<answer>" | "####" | "answer is" | "Answer:" | '"answer":' | "答案是" | "Antwort:"
                  | "the correct number is" | ... ), value
                                                     the last one that candidates follow on its line (or the next)
    in_all      = candidate, words, ( "in total" | "altogether" | "overall" | ... )    the last one
    weak        = ( "so" | "therefore" | "total:" | "| Total |" | "count =" | "I think" | "the number of ... is"
                  | ... ), value                     the last one that candidates follow; no value (nor
                                                     calculated, nor stated): go on
    value       = candidate with no alternative after it ("or 3", "-3", ", 3") | calculated | in_all | stated | all
    alone       = lines of nothing but candidates, and a candidate that opens the text as a sentence, with one that
                  closes it so: all the same
    calculated  = operand, operator, operand, "=" | "is" | "equals", candidate
                                                     the last one, unless a calculation without a result follows
    made        = ( "which makes" | "that gives" | "adding up to" | ... ), candidate       the last one
    summed      = candidates, ( "=" | ":" | "is" | "together have" | ". " at the end | ... ), candidate
                                                     it is the sum of all before it, of which nothing such is said
    stated      = clauses with ( "there are" | "appears" | "contains" | "is" | "hay" | "有" | ..., candidate )
                  or ( candidate, "times" | "occurrences" | "veces" | "次" | ... ): all the same
    all         = the candidates of the text: all the same. Not if the text was cut off or refuses
    Of a text that was cut off made, summed and all do not count; where it goes step by step ("First,", "Let's", list
    items), strong alone does.
    A clause, or all, says its first candidate also if this is the sum of the others (a breakdown of it), and
    nothing if several are parts ("1 in straw and 1 in berry").

    candidate   = integer | words | zero | numeral, unless it is an aside
    integer     = [ "-" | "−" | "+" | "minus" | "negative" ], ( digits | threes between one of , _ ' {,} no-break or
                  thin space ), [ ".0" ]              in digits of any script; more than 18 digits have no value
    words       = English cardinal below a million ("a hundred", "two hundred and five") | "once" | "twice" | "thrice"
                  | "a single"; never one with another scale, "half", or "-word" after it
    zero        = "none" | "not at all" | "never appears" | "does not appear" | "not any" | "not a single"
                  | "does not contain the letter" | "is not present in" | "no times" | "no occurrences" | "no r's"
                  | "no r"; not "does not appear to"
    numeral     = 〇 to 九十九, where 个 or 次 or the end of a sentence follows; not 一个 (a), 第三 (third)
    aside       = a list's "1." and those that follow it ("1." alone where it begins a line) | "position 3", "letters 3,
                  8 and 9", "Step 2", "#3" | "r (1)", "3 (r)" | an operand | "out of 20", "not 2" | "one by one"
                  | "In 2024,", "so far 1" | where there is another candidate: "my earlier answer was 2", and the result
                  of a calculation that checks it ("12, because 12 x 48 = 576": 12 stands in it)
                  | parts of what was just said ("3 r's, two of which are adjacent") | a mark of a reference after
                  another number ("3 [1]") | a bound before the number itself ("more than 2: 3")
    Digits with a letter, % or superscript at them (3rd, r3d, 10-letter, GPT-4) are none. The length of the word or
    list ("10 letters", "20 words", unless a quoted letter follows) is a candidate only where there is no other.
    No value, so no answer, have: 3.5, 1.400, 3/4, 3-4, 3:30, 1,2,3, "3 thousand", and bounds ("at least 3", "3+").
    "about 3" is 3; "2 or 3", "2 (or is it 3?)", "2, maybe 3", "2 (3 if you count it)" and "2 (some count 3)" are none.
    "3x" counts beside a letter or a verb of occurring alone ("3x r", "r x3", "r appears 3x"), and of "3/10" the 3 where
    "letters are r" follows. Footnotes and citations, Markdown, LaTeX and HTML
    around a number are not seen, but tags other than those within a line part it from its neighbours, and the name of a
    tag that HTML does not have is its label (<count>3</count> is "count: 3"); ~~struck out~~ is not said.
    Number words of other languages are not read.

    kind        = ANSWERED | REFUSED (no answer, and "I cannot", "as an AI", "I'm sorry", ...) | CUT_OFF (no answer, and
                  the token limit was hit: a number at the very end is not known to be whole) | UNPARSED

A histogram, read by parse_histogram:

    histogram   = the last complete object whose keys are all single letters, wherever it stands (fence, prose, object);
                  one after "such as", "format" or "example" only where there is no other
                | objects { "letter": letter, "count": count } | without any brace: letter, ( ":" | "=" | "-" | "|" ),
                  count, between commas or newlines; not if the text was cut off
    object      = "{", pair, { ",", pair }, [ "," ], "}"        comments and newlines between them
    pair        = letter with or without quotes, ":", count with or without quotes
    A letter twice in the same case must have one count; its counts in upper and lower case are added; zeros are left
    out. A negative, fractional or other count: UNPARSED. {} says nothing.
"""

# ruff: noqa: RUF002 (signs that look like others are what is read here)

import re
from typing import NamedTuple

from fflm_data.answers import counts, histograms
from fflm_data.answers.markup import plain
from fflm_data.answers.numerals import number
from fflm_data.answers.refusals import declines, refuses

ANSWERED, UNPARSED, REFUSED, CUT_OFF = "answered", "unparsed", "refused", "cut_off"

_FIRST_LINE = re.compile(r"\s*\S.*\n")


class Reading(NamedTuple):
    """The number that a completion says (None unless kind is ANSWERED)."""

    value: int | None
    kind: str


class HistogramReading(NamedTuple):
    """The counts of lower-case letters that a completion says, without zeros (None unless kind is ANSWERED)."""

    value: dict[str, int] | None
    kind: str


def is_complete(text: str) -> bool:
    """Whether a completion has written a line that says something, so that nothing after it is asked for."""
    return _FIRST_LINE.match(text) is not None


def first_line(text: str) -> str:
    """What counts of a completion: a token that ends the line may bring the beginning of the next."""
    line = _FIRST_LINE.match(text)
    return line.group() if line else text


def parse(text: str, cut_off: bool = False) -> Reading:
    """The number that a text says. cut_off: the model was stopped by its limit of tokens."""
    in_number = cut_off and (text[-1:].isalnum() or text[-1:] == ",")
    value = counts.count(number(plain(text), in_number), cautious=declines(text), unfinished=cut_off)
    return Reading(value, ANSWERED if value is not None else _failure(text, cut_off))


def parse_histogram(text: str, cut_off: bool = False) -> HistogramReading:
    """The histogram of letters that a text says. cut_off: the model was stopped by its limit of tokens."""
    value = histograms.histogram(counts.before_next_turn(plain(text)), cut_off)
    return HistogramReading(value, ANSWERED if value is not None else _failure(text, cut_off))


def _failure(text: str, cut_off: bool) -> str:
    if refuses(text):
        return REFUSED
    return CUT_OFF if cut_off else UNPARSED
