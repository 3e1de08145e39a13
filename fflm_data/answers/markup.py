"""Removes Markdown, HTML and LaTeX markup from text, and converts digits and punctuation to ASCII."""

# ruff: noqa: RUF001 (ambiguous characters are intended: they occur in model outputs)

import re
import unicodedata
from collections.abc import Callable
from html import unescape

from fflm_data.answers.numerals import MARKER, NUMBER, OTHER

_NON_ASCII_DIGIT = re.compile(r"[^\D0-9]")
_TO_ASCII = str.maketrans(
    dict(zip("\u2212\uff0d\u2010\u2011\u2018\u2019\u201c\u201d\uff1a\uff0c\u3002\u066c\u066b\uff08\uff09\uff1d\u3001\uff01\u0964\u060c",
             "----''\"\":,.,.()=,!.,", strict=True))
    | dict.fromkeys(NUMBER + OTHER + MARKER + "\u200b\u200e\u200f\ufeff", None)
)  # fmt: skip
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _to_superscript(match: re.Match[str]) -> str:
    return match[match.lastindex or 0].translate(_SUPERSCRIPT)


def _to_subscript(match: re.Match[str]) -> str:
    return match[match.lastindex or 0].translate(_SUBSCRIPT)


def _tag_to_label(match: re.Match[str]) -> str:
    """Converts a tag to a label of its content: <final_answer> and <finalAnswer> become "final answer: "."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", match[1])
    return "\n" + re.sub(r"[\W_]+", " ", name).lower() + ": "


# Inline tags. All other tags separate the text before them from the text after them.
_INLINE = (
    r"(?:a|abbr|b|big|bdi|cite|code|em|font|i|ins|kbd|label|mark|math|m[ion]|pre|q|samp|small|span|strong|sub|sup|tt|u"
    r"|var)"
)
_ATTRIBUTES = r"(?:\s[^<>\n]{0,300})?"
_BLOCK = (
    r"(?:article|blockquote|body|br|caption|center|col|colgroup|dd|details|div|dl|dt|footer|h[1-6]|head|header|hr|html|li"
    r"|main|nav|ol|p|section|summary|table|tbody|tfoot|thead|tr|ul|s)"
)
_COUNTED = r"(?:\"\w{1,30}\"|'\w{1,30}'|[b-z])"
_OCCURS = r"\b(?:appears?|occurs?|shows? up|used|found|present|there)"
_MARKUP: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    # Struck-out text.
    (re.compile(r"~~[^~\n]*~~|<(del|s|strike)>[^<>\n]{0,300}</\1>|<!--[^<>]{0,300}-->"), ""),
    (re.compile(r"<sup>\[\w{1,9}\]</sup>"), ""),  # a footnote
    # Reference marks: 3【4:0†source】, 3 [citation:1], 3¹, 3⁽²⁾. As an exponent, 1 changes nothing.
    (re.compile(r"【[^【】\n]{0,80}†[^【】\n]{0,80}】|:contentReference\[oaicite:\d{1,3}\]\{index=\d{1,3}\}"), ""),
    (re.compile(r"\[(?:citation|source|ref(?:erence)?|web|doc|note|fn)s?[.: #]{0,3}\d{1,3}\]", re.IGNORECASE), ""),
    (re.compile(r"(?<=[\d.!?)])¹(?![⁰¹²³⁴⁵⁶⁷⁸⁹])|⁽[¹²³⁴⁵⁶⁷⁸⁹]⁾"), ""),
    (re.compile(r"<([a-zA-Z]\w{0,40})>\s{0,9}</\1>|<[a-zA-Z]\w{0,40}\s?/>"), "\n"),  # empty element
    (re.compile(r"<sup>(\d{1,9})</sup>"), _to_superscript),
    (re.compile(r"<sub>(\d{1,9})</sub>|(?<=\w)_\{(\d{1,9})\}"), _to_subscript),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:f?boxed|fbox)\s*\{|<answer>"), MARKER),
    (re.compile(r"^[ \t]*####[ \t]*(?=[-+$*]*\d[\d,.]*[*$]*[ \t]*$)", re.MULTILINE), MARKER),
    (re.compile(r"\\(?:times|cdot)\b"), "×"),
    (re.compile(r"\\div\b"), "÷"),
    (re.compile(r"(?<=\d)\{,\}(?=\d)"), ","),
    (re.compile(r"(?<=\d)\^\{(\d{1,9})\}"), r"^\1"),
    (re.compile(r"(?<=[a-zA-Z])\^(?:\{(\d{1,9})\}|(\d{1,9}))"), _to_superscript),
    (re.compile(r"\[\^\d{1,3}\]:?|(?<=\])\((?:https?://|www\.|[/#])[^()\s]{0,300}\)"), ""),  # footnotes, links
    (re.compile(r"(?<=\d) – (?=\d)"), " - "),
    (re.compile(r"(?:(?<=^)|(?<=[ (:]))(?<![\d)] )–(?=\d)", re.MULTILINE), "-"),
    (re.compile(rf"</?{_INLINE}{_ATTRIBUTES}>", re.IGNORECASE), ""),
    (re.compile(r"<t[dh]\b[^<>\n]{0,300}>", re.IGNORECASE), " | "),
    (re.compile(r"</t[dh]\s?>", re.IGNORECASE), ""),
    (re.compile(rf"</?{_BLOCK}{_ATTRIBUTES}/?>|</[a-z][^<>\n]{{0,80}}>|<\|[^<>|\n]{{1,40}}\|>", re.IGNORECASE), "\n"),
    (re.compile(rf"<([a-zA-Z][\w.:-]{{0,40}}){_ATTRIBUTES}/?>"), _tag_to_label),
    (re.compile(r"(?<=\d)[`$]+(?=\d)"), " "),
    (re.compile(r"\\[()\[\],!]|[`$]|^[ \t]*#+(?=[ \t])", re.MULTILINE), ""),
    (re.compile(r"(?<![\d*])\*{1,3}(?=\S)|(?<=\S)\*{1,3}(?![\d*])"), ""),  # Not 12*13, not a bullet.
    (re.compile(r"(?<!\w)_{1,3}|_{1,3}(?!\w)"), ""),
    (re.compile(r"(?<![\w.,])(\d{1,3})(?=[a-zA-Z]'s\b)"), r"\1 "),  # 3r's
    # 3x r; "apple": 3x; it appears 3x. In other places x is a multiplication sign.
    (re.compile(rf"(?<![\w.,])(\d{{1,3}})[x×](?= (?:the letter\b|{_COUNTED}(?!\w| ?[-+*/=^])))", re.I), r"\1 times"),
    (re.compile(rf"((?:{_OCCURS}|(?<!\w){_COUNTED}:) \d{{1,3}})[x×](?=[ ]*(?:[.,;!)\n]|$|in\b))", re.I), r"\1 times"),
    # r x3; 3/10 letters are r, which means 3 of 10 letters.
    (re.compile(rf"(?<![\w'\"])(?<!\d )({_COUNTED}:? )[x×](?=\d{{1,3}}[ ]*(?:[.,;!)\n](?!\d)|$|in\b))", re.I), r"\1= "),
    (re.compile(rf"(?<![\w.,/:-])(\d{{1,3}})/(?=\d{{1,3}} (?:letters|characters) are (?:the letter )?{_COUNTED}(?!\w))",
                re.I), r"\1 out of "),
]  # fmt: skip
_BLANKS = re.compile(r"\s{30,}")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});")
# 121-33=88 is a calculation, where 121-33 alone would be a range.
_COMPACT = re.compile(r"(?<![\w.,:/'–-])\d+(?:[-/]\d+){1,20}(?=[ ]*=)")


def strip_markup(text: str) -> str:
    """Removes markup, and converts digits and punctuation to ASCII. Markup that marks the answer becomes MARKER."""
    # Long runs of blanks would cost quadratic time in patterns that skip blanks.
    text = _BLANKS.sub(lambda run: "\n\n" if "\n" in run.group() else " " * 20, text)
    text = _ENTITY.sub(lambda match: unescape(match.group()), text)
    text = _NON_ASCII_DIGIT.sub(lambda match: str(unicodedata.decimal(match.group())), text)
    text = text.translate(_TO_ASCII)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return _COMPACT.sub(lambda match: re.sub("[-/]", r" \g<0> ", match.group()), text)
