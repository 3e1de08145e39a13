"""Formats of percentages, points and skills."""

import pytest

from fflm_data.number_formats import percent, points, short_percent, significant, skill, typographic


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.00"), (1, "100.00"), (0.5, "50.00"), (0.99999, "99.999"), (0.0000123, "0.001"), (1e-12, "0.000000")],
)
def test_percent_distinguishes_0_and_100(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.61, "61.0%"), (0.01, "1.0%"), (0.0024, "0.24%"), (3.1e-5, "0.0031%"), (1e-7, "<0.0001%"), (0.0, "<0.0001%")],
)
def test_short_percent(share: float, text: str) -> None:
    assert short_percent(share) == text


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.0, "0.00"), (0.0825, "+8.25"), (-0.1, "-10.00"), (0.00001, "+0.001"), (-2e-6, "-0.0002")],
)
def test_points_distinguish_0(difference: float, text: str) -> None:
    assert points(difference) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1.000"), (0.99996, "0.99996"), (0.5, "0.500"), (-0.25, "-0.250"), (0.0, "0.000")]
)
def test_skill_distinguishes_0_and_1(value: float, text: str) -> None:
    assert skill(value) == text


def test_significant_digits_and_minus_sign() -> None:
    assert significant(12345.6) == "12,346" and significant(0.00123456) == "0.00123"
    assert typographic("-0.25") == "\N{MINUS SIGN}0.25"
