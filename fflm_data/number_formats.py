"""Formats of numbers in tables, reports, the site and the card: one function for each kind of quantity."""

import math

MINUS = "\N{MINUS SIGN}"
NO_VALUE = "\N{EN DASH}"  # in a table cell without a number


def percent(share: float) -> str:
    """A share in percent, without the sign: two decimals, and more (up to six) where two would round it to 0 or 100."""
    for digits in range(2, 7):
        text = f"{100 * share:.{digits}f}"
        if share in (0, 1) or float(text) not in (0, 100):
            break
    return text


def short_percent(share: float) -> str:
    """A share or probability in a few characters: 61.0%, 0.24%, 0.0031%, <0.0001%."""
    if share >= 0.01:
        return f"{share:.1%}"
    return f"{100 * share:.2g}%" if share >= 1e-6 else "<0.0001%"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign: two decimals, and more (up to six) where two would
    round it to 0."""
    if difference == 0:
        return "0.00"
    for digits in range(2, 7):
        if float(text := f"{100 * difference:+.{digits}f}") != 0:
            break
    return text


def skill(value: float) -> str:
    """A skill: three decimals, and more (up to seven) where three would round it to 0 or 1."""
    for digits in range(3, 8):
        text = f"{value:.{digits}f}"
        if value in (0, 1) or float(text) not in (0, 1):
            break
    return text


def significant(value: float, digits: int = 3) -> str:
    """A number in significant digits, never in powers of ten: 0.0013, 12.3, 1,234. A dash if it is not finite."""
    if not math.isfinite(value):
        return NO_VALUE
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def typographic(text: str) -> str:
    """A formatted number with a minus sign instead of a hyphen."""
    return text.replace("-", MINUS)
