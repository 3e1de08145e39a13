"""Parsing of answers: a labelled corpus of model outputs, and properties of any text."""

# ruff: noqa: RUF001, SIM905 (digits of other scripts are intended; splitting lists of words is more readable)

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fflm_data.answers import ANSWERED, CUT_OFF, REFUSED, UNPARSED, first_line, is_complete, parse, parse_histogram
from harness.prompts.prompting import Prompting, answer_part
from harness.prompts.thinking import after_thinking
from harness.tasks import get_task

CORPUS = Path(__file__).parent / "answers"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()

# Words that form no number, marker or refusal in any order.
PROSE = "the letter word strawberry let us look at every spelling carefully and then report it , : ; - ( ) \n".split(
    " "
)

ADVERSARIAL = {
    "digits": "1" * 100_000,
    "letters by times": "r x3 " * 20_000,
    "shares of letters": "3/10 letters are r " * 5_000,
    "what some count": "2 (some count " * 7_000,
    "arrows": "2 → corrected: " * 6_500,
    "the same after doubts": "Sorry, there are 3 r's in berry. " * 3_000,
    "groups": "1," * 50_000,
    "spaced numbers": "3 " * 50_000,
    "numbers on lines": "3\n" * 50_000,
    "list": "".join(f"{n}. s\n" for n in range(1, 12_000)),
    "list on a line": "".join(f"{n}. s " for n in range(1, 12_000)),
    "operators": "1 + " * 25_000,
    "minus": "1 - " * 25_000,
    "parentheses": "1) " * 33_000 + "(" * 1000,
    "equations": "1 + 1 = 2 " * 10_000,
    "stars": "*" * 100_000,
    "stars and digits": "1*" * 50_000,
    "underscores": "_" * 100_000 + "a",
    "hashes": "#" * 100_000,
    "dollars": "$" * 100_000,
    "spaces": " " * 100_000 + "x",
    "newlines": "\n" * 100_000 + "x",
    "newlines with spaces": " \n" * 50_000 + "x",
    "markers": "answer: " * 12_000,
    "weak markers": "so total of " * 9_000,
    "marked numbers": "the answer is 3 " * 6_000,
    "number of": "the number of " * 7_000,
    "answers to": "answer to " * 10_000,
    "statements": "there are 3 times " * 5_500,
    "corrections": "wait, no, " * 10_000,
    "positions": "positions 3, " * 8_000,
    "one list": "positions " + "3, " * 33_000,
    "braces": "{" * 100_000,
    "open objects": '{"a": 1, ' * 11_000,
    "one open object": "{" + '"a": 1, ' * 12_000,
    "quotes": "{" + "'" * 100_000 + "}",
    "spaces in an object": "{" + " " * 50_000 + "a" + " " * 50_000 + "}",
    "tags": "<a" * 50_000,
    "boxes": "\\boxed{" * 14_000,
    "texts": "\\text{" * 16_000,
    "struck": "~~a" * 33_000,
    "hundreds": "one hundred and " * 6_000,
    "thousands": "a thousand, " * 8_000,
    "never": "never " * 16_000,
    "ich": "ich kann " * 11_000,
    "letters": "r (1) " * 16_000,
    "pipes": "| a " * 25_000,
    "dots": "." * 100_000,
    "hyphens": "1-" * 50_000,
    "checks": "because 1 + 1 = 2 " * 5_500,
    "earlier answers": "my earlier answer was " * 4_500,
    "not contained": "does not contain z " * 5_200,
    "compact": "1-" * 20_000 + "1=2 " * 10_000,
    "steps": "- 3 let me " * 9_000,
    "han": "三" * 100_000,
    "totals": "3 r in " * 14_000,
    "random quotes": "\"'" * 50_000,
    "open tags": "<p " * 33_000,
    "closed tags": "</x>" * 25_000,
    "labels": "<count>" * 14_000,
    "struck out tags": "<del>" * 20_000,
    "comments": "<!--" * 25_000,
    "entities": "&amp;" * 20_000,
    "superscripts": "<sup>3</sup>" * 8_000,
    "links": "](/" * 33_000,
    "cells": "| total " * 12_000,
    "tabs": "total\t" * 16_000,
    "choices": "3 or " * 20_000,
    "choices in brackets": "3 (or " * 16_000,
    "hedges": "maybe 3 " * 12_000,
    "conditions": "3 if " * 20_000,
    "parts": "3, two of which " * 6_000,
    "retractions": "oops, hold on, on reflection, " * 3_400,
    "sums": "which makes 3 " * 7_000,
    "equals": "= 1 " * 25_000,
    "apologies": "sorry for saying " * 6_000,
    "thoughts": "<think>" * 14_000,
    "closed thoughts": "</think>" * 12_000,
    "thoughts and ends": "<think></think>" * 6_000,
    "words in brackets": "[thinking]" * 10_000,
    "channels": "<|channel|>" * 9_000,
    "headers": "analysis to=" * 8_000,
    "bare headers": "assistantfinal3" * 6_500,
    "analysis": "analysis" * 12_000,
    "doubts": "ah, 3 " * 16_000,
    "doubts without a number": "3. oh, it is the " * 6_000,
    "signs after a doubt": "3. oh" + "!" * 100_000,
    "blanks after a number": "2. ah, 3" + " " * 100_000 + "x",
    "lines after a number": "2. ah, 3" + "\n" * 100_000 + "x",
    "references": "3 [1]" * 20_000,
    "one reference": "3 " + "[1]" * 33_000,
    "daggers": "【1†" * 25_000,
    "bounds": "more than 2: 3 " * 7_000,
    "hedged words": "3 " + "or is it " * 11_000,
    "factors": "r: 3x " * 16_000,
    "free tokens": "<unused94>thought" * 6_000,
    "spaced headers": "analysis " + "assistant final " * 6_000,
    "attributes": "<think a=" * 11_000,
    "closing marks after a word": "3" + "</think>" * 12_000,
}


def corpus(name: str) -> list[Any]:
    lines = (CORPUS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [pytest.param(json.loads(line), id=f"{number}") for number, line in enumerate(lines, 1)]


@pytest.mark.parametrize("case", corpus("numbers"))
def test_parse(case: dict[str, Any]) -> None:
    parsed = parse(case["output"], case.get("cut_off", False))
    assert (parsed.value, parsed.kind) == (case["value"], case["kind"]), case["why"]


@pytest.mark.parametrize("case", corpus("thinking"))
def test_parse_without_thinking(case: dict[str, Any]) -> None:
    prompting = Prompting("0" * 64, opened=case.get("opened", False), marks=case.get("marks", ()))
    letters: Any = get_task("letters")
    parsed = letters.read(*answer_part(letters, case["output"], case.get("cut_off", False), prompting))
    assert (parsed.value, parsed.kind) == (case["value"], case["kind"]), case["why"]


@pytest.mark.parametrize("case", corpus("histograms"))
def test_parse_histogram(case: dict[str, Any]) -> None:
    parsed = parse_histogram(case["output"], case.get("cut_off", False))
    assert (parsed.value, parsed.kind) == (case["value"], case["kind"]), case["why"]


@pytest.mark.parametrize("name", ["numbers", "histograms", "thinking"])
def test_corpus_is_consistent(name: str) -> None:
    cases = [param.values[0] for param in corpus(name)]
    inputs = [{key: case[key] for key in case if key not in ("value", "kind", "why")} for case in cases]
    assert len({json.dumps(item, sort_keys=True) for item in inputs}) == len(cases)
    assert {case["kind"] for case in cases} | {REFUSED} == {ANSWERED, UNPARSED, REFUSED, CUT_OFF}
    for case in cases:
        assert (case["value"] is not None) == (case["kind"] == ANSWERED), case
        assert case["kind"] != CUT_OFF or case.get("cut_off"), case


def english(number: int) -> str:
    """Spells out a number below a million, recursively."""
    if number < 20:
        return UNITS[number]
    if number < 100:
        return TENS[number // 10 - 2] + ("-" + UNITS[number % 10] if number % 10 else "")
    unit, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    return f"{english(number // unit)} {name}" + (f" {english(number % unit)}" if number % unit else "")


def other_script(number: int, zero: str) -> str:
    return "".join(chr(ord(zero) + int(digit)) for digit in str(number))


RENDERINGS = {
    "digits": str,
    "commas": "{:,}".format,
    "underscores": "{:_}".format,
    "thin spaces": lambda n: f"{n:,}".replace(",", "\u2009"),
    "bold": "**{}**".format,
    "code": "`{}`".format,
    "boxed": "\\boxed{{{}}}".format,
    "tag": "<answer>{}</answer>".format,
    "json": lambda n: json.dumps({"answer": n}),
    "fence": lambda n: f"```json\n{json.dumps({'answer': n}, indent=2)}\n```",
    "marker": "Let me see: 2 and 5 and 8.\n\n**Answer:** {:,}.".format,
    "statement": "The letter 'r' appears {} times in it, not 2.".format,
    "hashes": "1 and 2\n#### {}".format,
    "float": "{}.0".format,
    "row": "| straw | 12 |\n| berry | 5 |\n| **Total** | **{}** |".format,
    "label": "<length>10</length><letterCount>{}</letterCount>".format,
    "cell": "<table><tr><td>Total</td><td>{}</td></tr></table>".format,
    "break": "{}<br>1 in straw<br>2 in berry".format,
    "retracted": "12\n\nOops. Update: {}".format,
    "reflected": "There are 12 of them. On reflection, {}.".format,
    "corrected": "I counted 12 earlier. The correct number is {}.".format,
    "end": "The letters: 12, 5. Total {}.".format,
    "doubted": "12. Ah, I see another. It should be {}.".format,
    "edited": "12 [edit: {}]".format,
    "referred": "{} [1]".format,
    "Arabic": lambda n: other_script(n, "٠"),
    "Devanagari": lambda n: other_script(n, "०"),
    "fullwidth": lambda n: other_script(n, "０"),
}


@pytest.mark.parametrize("rendering", RENDERINGS)
@settings(deadline=None)
@given(number=st.integers(0, 10**18 - 1))
def test_parse_rendered_number(rendering: str, number: int) -> None:
    assert parse(RENDERINGS[rendering](number)) == (number, ANSWERED)


@settings(deadline=None)
@given(st.integers(0, 999_999).filter(lambda number: number != 1))  # "one of them" is a pronoun
def test_parse_number_words(number: int) -> None:
    assert parse(english(number)) == (number, ANSWERED)
    assert parse(f"There are {english(number)} of them.") == (number, ANSWERED)


@settings(deadline=None)
@given(st.integers(-(10**17), -1))
def test_parse_negative_number(number: int) -> None:
    assert parse(str(number)) == parse(f"The answer is \u2212{-number}.") == (number, ANSWERED)


@settings(deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(
        [
            "{} or {}", "{}-{}", "{} to {}", "Answer: {} or {}", "{}/{}", "{}, {}", "{} (or {})", "{}, maybe {}",
            "{} ({} if you count it)", "<p>{}</p><p>{}</p>", "{}<br>{}", "\\boxed{{{}}} or \\boxed{{{}}}",
            "There are {} (or possibly {}).", "<li>{}</li><li>{}</li>", "{}<sup>{}</sup>",
            "{} (or is it {}?)", "{}. Maybe it's {}.", "{}. I see one more. {}.", "{} ({})",
        ]
    ),
)  # fmt: skip
def test_parse_alternatives_is_unparsed(number: int, form: str) -> None:
    assert parse(form.format(number, number + 1)).value is None


@settings(deadline=None)
@given(st.lists(st.sampled_from(PROSE)).map(" ".join), st.booleans())
def test_parse_prose_without_numbers(text: str, cut_off: bool) -> None:
    assert parse(text, cut_off) == (None, CUT_OFF if cut_off else UNPARSED)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(PROSE)).map(" ".join),
    st.sampled_from(
        ["", "2 or 3", "3.5", "1. s\n2. t", "12 x 13", "the 3rd", "position 3", "10-letter", "I cannot say"]
    ),
    st.lists(st.sampled_from(PROSE)).map(" ".join),
)
def test_parse_prose_around_non_answers(before: str, core: str, after: str) -> None:
    assert parse(f"{before}\n{core}\n{after}").value is None


@settings(deadline=None)
@given(st.text() | st.text(alphabet="0123456789 .,-+*/=()[]{}\"'\n:#_$<>\\arsone٣三个次"), st.booleans())
def test_parse_any_text(text: str, cut_off: bool) -> None:
    for parser in (parse, parse_histogram):
        parsed = parser(text, cut_off)
        assert (parsed.value is not None) == (parsed.kind == ANSWERED)
        assert parsed.kind != CUT_OFF or cut_off
        assert parsed == parser(text, cut_off)
    value = parse(text, cut_off).value
    assert value is None or abs(value) < 2**63


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_parse_number_at_cut_off(number: int) -> None:
    for form in ("{}", "The answer is {}", "3 or {}", "There are {}", "Answer: 3. No, the answer is {}"):
        assert parse(form.format(number), cut_off=True) == (None, CUT_OFF)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), st.integers(1, 99), min_size=1))
def test_parse_rendered_histogram(counts: dict[str, int]) -> None:
    lines = "\n".join(f"- {letter}: {count}" for letter, count in counts.items())
    entries = [{"letter": letter, "count": count} for letter, count in counts.items()]
    for text in (json.dumps(counts), json.dumps(counts, indent=2).upper(), repr(counts), lines, json.dumps(entries)):
        assert parse_histogram(f"Here you are:\n\n{text}\n") == (counts, ANSWERED)
    assert parse_histogram(json.dumps(counts)[:-1], cut_off=True) == (None, CUT_OFF)


@pytest.mark.slow("fflm_data/answers")
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_parse_is_linear_time(name: str) -> None:
    start = time.process_time()
    for cut_off in (False, True):
        parse(ADVERSARIAL[name], cut_off)
        parse_histogram(ADVERSARIAL[name], cut_off)
        after_thinking(ADVERSARIAL[name], cut_off, ("3 ", "1,"))
    assert time.process_time() - start < 20, "linear time takes well under a second, quadratic time takes minutes"


def test_first_line() -> None:
    assert not is_complete("\n \n3")
    assert is_complete("\n3\n")
    assert first_line("\n 3\nQuestion") == "\n 3\n"
    assert first_line("3") == "3"
