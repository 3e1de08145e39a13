"""Stories of the light switch, parsed by an oracle that does not use the generator."""

import re
from collections import Counter

import pytest

from fflm_data import get_config
from fflm_data.flipflop import validate


def parse_story(story: str) -> tuple[str, list[str]]:
    """Returns the final state of the light and the flip-flop string of a story. Fails on an unexpected sentence."""
    light, string = "", []
    for number, match in enumerate(re.findall(r"[^.]+\.", story)):
        sentence = match.strip()
        if sentence.startswith("Now, the light is "):
            assert sentence == f"Now, the light is {light}."
            string.append("r" + "01"[light == "on"])
            continue
        assert sentence.startswith("Then, ") == (number > 0)
        sentence = sentence.removeprefix("Then, ")
        if sentence.startswith("Alice"):
            light = re.fullmatch(r"Alice turns the light (on|off)\.", sentence)[1]  # type: ignore[index]
            string.append("w" + "01"[light == "on"])
        else:
            string.append({"Bob eats a banana.": "i0", "Bob eats an apple.": "i1"}[sentence])
    return light, string


@pytest.mark.parametrize("parameters", [{}, {"lengths": [12, 30], "p_ignore": 0.2, "seed": 4, "rows_per_length": 700}])
def test_story_matches_string_and_answer(parameters: dict[str, object]) -> None:
    config = get_config("flipflop-prose", **parameters)
    rows = config.table("test").to_pylist()
    validate([row["text"] for row in rows if row["length"] == rows[0]["length"]])
    for row in rows:
        story, ending = row["question"][: -len(" Now, the light is")], row["question"][-len(" Now, the light is") :]
        assert ending == " Now, the light is"
        light, string = parse_story(story)
        assert (light, len(row["text"])) == (row["answer"], row["length"])
        assert "".join([*string, "r" + "01"[light == "on"]]) == row["text"]


def test_demonstrations_are_solved_stories() -> None:
    rows = get_config("flipflop-prose").table("test").to_pylist()
    strings = [parse_story(row["demonstration"])[1] for row in rows]
    assert {len(pairs) for pairs in strings} == {8}
    validate(["".join(pairs) for pairs in strings])
    assert len({row["demonstration"] for row in rows}) > 1000


def test_lengths_are_balanced() -> None:
    lengths = get_config("flipflop-prose").table("test")["length"].to_pylist()
    assert Counter(lengths) == dict.fromkeys((10, 50, 100, 150, 200), 500)
    assert set(Counter(lengths[:250]).values()) == {50}


def test_demonstrations_differ_between_blocks() -> None:
    rows = get_config("flipflop-prose", lengths=[20], rows_per_length=1500).table("test")["demonstration"].to_pylist()
    first, later = rows[:500], rows[512:1012]
    assert sum(a == b for a, b in zip(first, later, strict=True)) < 20
