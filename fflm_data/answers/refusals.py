"""Detects refusals and apologies in several languages."""

# ruff: noqa: RUF001 (the curly apostrophe is intended)

import re

_APOLOGY = re.compile(
    r"""\b(?:I['’]?m|I\ am|we['’]re)\ (?:very\ |so\ |truly\ )?(?:sorry|not\ (?:sure|certain))\b
      | \b(?:my\ )?apologies\b | \bI\ apologi[sz]e\b | \blo\ siento\b | \bdésolée?\b | \btut\ mir\ leid\b
      | 抱歉 | 对不起 | 對不起 | 申し訳 | 죄송 | عذر | آسف | क्षमा | माफ़ | извините""",
    re.IGNORECASE | re.VERBOSE,
)
_REFUSAL = re.compile(
    r"""\b(?:I['’]?m|I\ am|we['’]re)\ (?:very\ |so\ |truly\ )?(?:afraid\ I|unable|not\ able)\b
      | \bI\ (?:do\ not|don['’]?t|really\ don['’]t)\ (?:know|have)\b | \bI\ have\ no\ (?:idea|way|access)\b
      | \b(?:I|we)\ (?:can['’]?t|cannot|can\ not|could\ not|couldn['’]t|won['’]t|am\ unable)\b(?!\ (?:find|see)\ any)
      | \bI\ can\ only\b | \bunable\ to\ (?:answer|count|determine|provide|help|assist)
      | \bas\ an?\ AI\b | \ba\ (?:large\ )?language\ model\b | \bcannot\ be\ (?:determined|answered|known)
      | \b(?:impossible|not\ possible|no\ way)\ to\ (?:say|tell|know|determine|answer|count)
      | \bnot\ enough\ (?:information|context)\b | \binsufficient\ information\b
      | \bno\ puedo\b | \bno\ (?:lo\ )?sé\b | \bje\ ne\ (?:peux|sais|suis)\ pas\b
      | \bich\ (?:kann|weiß)\b[^.\n]{0,80}?\bnicht\b
      | \bnão\ (?:posso|sei)\b | \bnon\ (?:posso|so)\b
      | 无法 | 無法 | 不知道 | わかりません | 모르 | لا\ أستطيع | لا\ أعرف | لا\ يمكنني
      | नहीं\ (?:जानता|पता|बता) | не\ (?:могу|знаю)""",
    re.IGNORECASE | re.VERBOSE,
)


def contains_refusal(text: str) -> bool:
    """Whether a text contains a refusal or a statement that it cannot answer."""
    return _REFUSAL.search(text) is not None


def is_refusal(text: str) -> bool:
    """Whether a text without an answer is a refusal. An apology counts too."""
    return contains_refusal(text) or _APOLOGY.search(text) is not None
