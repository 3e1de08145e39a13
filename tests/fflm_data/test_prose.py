"""The story of the light switch, read by someone who knows nothing of flip-flop strings."""

import re
from collections import Counter

import pytest

from fflm_data import get_config
from fflm_data.flipflop import validate


def follow(story: str) -> tuple[str, list[str]]:
    """How the light is at the end of a story, and the string that it tells; fails on a sentence out of place."""
    light, told = "", []
    for number, sentence in enumerate(re.findall(r"[^.]+\.", story)):
        said = sentence.strip()
        if said.startswith("Now, the light is "):
            assert said == f"Now, the light is {light}."
            told.append("r" + "01"[light == "on"])
            continue
        assert said.startswith("Then, ") == (number > 0)
        said = said.removeprefix("Then, ")
        if said.startswith("Alice"):
            light = re.fullmatch(r"Alice turns the light (on|off)\.", said)[1]  # type: ignore[index]
            told.append("w" + "01"[light == "on"])
        else:
            told.append({"Bob eats a banana.": "i0", "Bob eats an apple.": "i1"}[said])
    return light, told


@pytest.mark.parametrize("parameters", [{}, {"lengths": [12, 30], "p_ignore": 0.2, "seed": 4, "rows_per_length": 700}])
def test_the_story_tells_the_string_and_ends_with_the_answer(parameters: dict[str, object]) -> None:
    config = get_config("flipflop-prose", **parameters)
    rows = config.table("test").to_pylist()
    validate([row["text"] for row in rows if row["length"] == rows[0]["length"]])
    for row in rows:
        story, ending = row["question"][: -len(" Now, the light is")], row["question"][-len(" Now, the light is") :]
        assert ending == " Now, the light is"
        light, told = follow(story)
        assert (light, len(row["text"])) == (row["answer"], row["length"])
        assert "".join([*told, "r" + "01"[light == "on"]]) == row["text"]


def test_demonstrations_are_solved_stories_of_length_16() -> None:
    rows = get_config("flipflop-prose").table("test").to_pylist()
    strings = [follow(row["demonstration"])[1] for row in rows]
    assert {len(pairs) for pairs in strings} == {8}
    validate(["".join(pairs) for pairs in strings])
    assert len({row["demonstration"] for row in rows}) > 1000


def test_lengths_are_balanced_in_any_first_rows() -> None:
    lengths = get_config("flipflop-prose").table("test")["length"].to_pylist()
    assert Counter(lengths) == dict.fromkeys((10, 50, 100, 150, 200), 500)
    assert set(Counter(lengths[:250]).values()) == {50}


def test_demonstrations_do_not_come_again_in_later_blocks() -> None:
    rows = get_config("flipflop-prose", lengths=[20], rows_per_length=1500).table("test")["demonstration"].to_pylist()
    first, later = rows[:500], rows[512:1012]
    assert sum(a == b for a, b in zip(first, later, strict=True)) < 20
