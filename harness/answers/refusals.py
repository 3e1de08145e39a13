"""Whether a text declines to answer, in some of the languages that models decline in."""

# ruff: noqa: RUF001 (a curly apostrophe is meant)

import re

_REFUSAL = re.compile(
    r"""\b(?:I['’]?m|I\ am|we['’]re)\ (?:very\ |so\ |truly\ )?(?:sorry|afraid\ I|unable|not\ (?:able|sure|certain))\b
      | \bI\ (?:do\ not|don['’]?t|really\ don['’]t)\ (?:know|have)\b | \bI\ have\ no\ (?:idea|way|access)\b
      | \b(?:I|we)\ (?:can['’]?t|cannot|can\ not|could\ not|couldn['’]t|won['’]t|am\ unable)\b(?!\ (?:find|see)\ any)
      | \b(?:my\ )?apologies\b | \bI\ apologi[sz]e\b | \bunable\ to\ (?:answer|count|determine|provide|help|assist)
      | \bas\ an?\ AI\b | \ba\ (?:large\ )?language\ model\b | \bcannot\ be\ (?:determined|answered|known)
      | \b(?:impossible|not\ possible|no\ way)\ to\ (?:say|tell|know|determine|answer|count)
      | \bnot\ enough\ (?:information|context)\b | \binsufficient\ information\b
      | \blo\ siento\b | \bno\ puedo\b | \bno\ (?:lo\ )?sé\b | \bdésolée?\b | \bje\ ne\ (?:peux|sais|suis)\ pas\b
      | \btut\ mir\ leid\b | \bich\ (?:kann|weiß)\b[^.\n]{0,80}?\bnicht\b
      | \bnão\ (?:posso|sei)\b | \bnon\ (?:posso|so)\b
      | 抱歉 | 对不起 | 對不起 | 无法 | 無法 | 不知道 | 申し訳 | わかりません | 죄송 | 모르
      | عذر | آسف | لا\ أستطيع | لا\ أعرف | لا\ يمكنني | क्षमा | माफ़
      | नहीं\ (?:जानता|पता|बता) | извините | не\ (?:могу|знаю)""",
    re.IGNORECASE | re.VERBOSE,
)


def refuses(text: str) -> bool:
    """Whether the text says somewhere that it does not, or cannot, answer."""
    return _REFUSAL.search(text) is not None
