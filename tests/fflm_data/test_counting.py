"""Counts, recomputed with collections.Counter from the questions."""

import re
from collections import Counter

import pytest

from fflm_data import get_config
from fflm_data.words import english, items

QUERIES = get_config("query-count").table("test").to_pylist()
SEQUENCES = get_config("most-frequent").table("test").to_pylist()
LETTERS = get_config("letters").table("test").to_pylist()


def test_query_count() -> None:
    for row in QUERIES:
        listed, question = row["question"].split("\n")
        words = listed.removeprefix("List: ").split()
        assert words == row["tokens"]
        assert row["query"] == re.findall('"(.*)"', question)[0]
        assert row["answer"] == Counter(words)[row["query"]]
        assert len(words) == 10 * row["vocabulary"]
        assert len(set(words)) <= (2 if row["control"] else row["vocabulary"])


def test_most_frequent() -> None:
    assert [row["tokens"] for row in SEQUENCES] == [row["tokens"] for row in QUERIES]
    for row in SEQUENCES:
        assert row["answer"] == Counter(row["tokens"]).most_common(1)[0][1]
        assert row["question"].startswith(f"List: {' '.join(row['tokens'])}\n")
        assert "query" not in row


def test_cells_are_balanced() -> None:
    first = [(row["vocabulary"], row["control"]) for row in QUERIES[:14]]
    assert first == [(size, control) for size in (2, 5, 10, 20, 50, 100, 200) for control in (False, True)]
    assert set(Counter((row["vocabulary"], row["control"]) for row in QUERIES).values()) == {100}


@pytest.mark.parametrize("control", [False, True])
@pytest.mark.parametrize("size", [2, 5, 10, 20, 50, 100, 200])
def test_expected_count_is_independent_of_vocabulary(size: int, control: bool) -> None:
    counts = [row["answer"] for row in QUERIES if (row["vocabulary"], row["control"]) == (size, control)]
    deviation = (10 * (1 - 1 / size) / len(counts)) ** 0.5
    assert abs(sum(counts) / len(counts) - 10) <= 4 * deviation


def test_letters() -> None:
    for row in LETTERS:
        assert row["answer"] == Counter(row["word"])[row["letter"]]
        assert f'"{row["letter"]}"' in row["question"] and f'"{row["word"]}"' in row["question"]


def test_strawberry_comes_first() -> None:
    first = LETTERS[0]
    assert (first["id"], first["word"], first["letter"], first["answer"]) == (0, "strawberry", "r", 3)


def test_letters_are_balanced() -> None:
    cells = Counter((row["stratum"], row["answer"]) for row in LETTERS)
    assert cells == {(stratum, answer): 100 for stratum in ("english", "random") for answer in range(5)}
    assert set(Counter((row["stratum"], row["answer"]) for row in LETTERS[:10]).values()) == {1}
    words = [row["word"] for row in LETTERS if row["stratum"] == "english"]
    assert len(set(words)) == len(words) and set(words) <= set(english())


def test_absent_letters_are_as_common() -> None:
    def share_of_common_letters(answers: set[int]) -> float:
        letters = [row["letter"] for row in LETTERS if row["stratum"] == "english" and row["answer"] in answers]
        return sum(letter in "eaiosnrtl" for letter in letters) / len(letters)

    assert abs(share_of_common_letters({0}) - share_of_common_letters({1, 2, 3, 4})) < 0.15


def test_largest_words_per_cell() -> None:
    config = get_config("letters", words_per_cell=323)
    assert set(Counter((row["stratum"], row["answer"]) for row in config.table("test").to_pylist()).values()) == {323}


def test_word_lists() -> None:
    assert len(english()) >= 10_000 and "strawberry" in english()
    assert len(items()) >= 200
    for words in (english(), items()):
        assert list(words) == sorted(set(words))
        assert all(re.fullmatch("[a-z]{3,}", word) for word in words)
