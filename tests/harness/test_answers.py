"""What number a completion says."""

import pytest

from harness.answers import parse


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3", 3),
        (" 3.\n", 3),
        ("**3**", 3),
        ("The answer is 3", 3),
        ("three", 3),
        ("There are Three of them.", 3),
        ("twenty-one", 21),
        ("Seventy two times", 72),
        ("1,400", 1400),
        ("3.0", 3),
        ("\\boxed{3}", 3),
        ("3 (three)", 3),
        ("3, 3 and again 3", 3),
        ("-3", -3),
        ("0", 0),
        ("13", 13),
        ("007", 7),
        ("3 or 4", None),
        ("two, no, three", None),
        ("3/4", None),
        ("3/3", None),
        ("3.0.1", None),
        ("1.0e1", None),
        ("one hundred", None),
        ("3 thousand", None),
        ("two-thirds", None),
        ("minus 3", None),
        ("9" * 400, None),
        ("3-4", None),
        ("3.5", None),
        ("1,2,3", None),
        ("r3d", None),
        ("3rd", None),
        ("none at all", None),
        ("someone", None),
        ("", None),
        ("\n\n", None),
    ],
)
def test_parse(text: str, number: int | None) -> None:
    assert parse(text) == number


@pytest.mark.parametrize(("text", "number"), [(" 1111", None), ("3 times", 3), (" It is 3", None), ("3.", 3)])
def test_a_number_that_was_cut_off_is_none(text: str, number: int | None) -> None:
    assert parse(text, cut_off=True) == number
