"""Machine-readable files of the site: index.json, scores.csv, feed, badges, records."""

import csv
import io
import json
import re
from xml.etree import ElementTree

import jsonschema
import pytest

from leaderboard.records import find_records
from tests.leaderboard.site_fixtures import ADDRESS, Built

ATOM = "{http://www.w3.org/2005/Atom}"


def test_index_matches_its_schema(site: Built) -> None:
    schema = json.loads((site.folder / site.index["$schema"]).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(site.index, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(site.index | {"models": [{**site.index["models"][0], "parameters": -1}]}, schema)
    (cell, *_) = site.index["models"][0]["cells"]
    for shown in ({"percent": "1e2"}, {"percent_interval": "0.00 100.00"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(site.index | {"models": [{**site.index["models"][0], "cells": [cell | shown]}]}, schema)


def test_index_numbers_match_the_records(site: Built) -> None:
    results = {
        record.digest: json.loads((record.folder / "result.json").read_text(encoding="utf-8"))
        for record in find_records(site.records)
    }
    cells = [cell for row in site.index["models"] for cell in row["cells"]]
    assert len(cells) == 3 + 12
    for cell in cells:
        (score,) = (
            score
            for score in results[cell["record"]]["scores"]
            if (score["task"], score["split"], score["metric"], score["group"])
            == (cell["task"], cell["split"], "accuracy", None)
        )
        assert {name: cell[name] for name in ("value", "low", "high", "n", "errors", "baseline")} == {
            name: score[name] for name in ("value", "low", "high", "n", "errors", "baseline")
        }


def test_index_percentages_match_the_pages(site: Built) -> None:
    page = (site.folder / "index.html").read_text(encoding="utf-8")
    for cell in (cell for row in site.index["models"] for cell in row["cells"]):
        assert f">{cell['percent']} <small>{cell['percent_interval']}" in page
        texts = (cell["percent"], *cell["percent_interval"].split("\u2013"))
        for text, name in zip(texts, ("value", "low", "high"), strict=True):
            assert float(text) == pytest.approx(100 * cell[name], abs=0.00501)
            assert (float(text) in (0, 100)) == (cell[name] in (0, 1))


def test_csv_matches_the_index(site: Built) -> None:
    lines = list(csv.DictReader(io.StringIO((site.folder / "scores.csv").read_text(encoding="utf-8"))))
    cells = [(row, cell) for row in site.index["models"] for cell in row["cells"]]
    assert len(lines) == len(cells)
    for line, (row, cell) in zip(lines, cells, strict=True):
        assert (line["slug"], line["model"], line["task"]) == (row["slug"], row["id"], cell["task"])
        assert float(line["accuracy"]) == cell["value"] and int(line["errors"]) == cell["errors"]
        assert line["best_rank"] == ("" if cell["rank"] is None else str(cell["rank"]["best"]))
        assert not any(value.startswith(("=", "+", "-", "@")) for value in line.values())


def test_feed_is_valid_atom(site: Built) -> None:
    root = ElementTree.fromstring((site.folder / "feed.xml").read_bytes())
    assert root.tag == f"{ATOM}feed"
    found = root.findall(f"{ATOM}entry")
    assert len(found) == sum(1 for _ in find_records(site.records))
    for element in (root, *found):
        names = [child.tag for child in element]
        assert all(names.count(f"{ATOM}{name}") == 1 for name in ("id", "title", "updated", "author"))
        assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", element.findtext(f"{ATOM}id") or "")
    assert len({element.findtext(f"{ATOM}id") for element in found}) == len(found)
    times = [element.findtext(f"{ATOM}updated") or "" for element in found]
    assert times == sorted(times, reverse=True) and all(
        re.fullmatch(r"\d{4}(-\d\d){2}T(\d\d:){2}\d\dZ", t) for t in times
    )
    assert root.findtext(f"{ATOM}updated") == times[0]
    links = [link.attrib["href"] for link in root.iter(f"{ATOM}link")]
    assert all(link.startswith(ADDRESS) for link in links)
    assert all((site.folder / link.removeprefix(ADDRESS)).is_file() for link in links)


def test_badges_are_svg(site: Built) -> None:
    for slug, row in site.rows.items():
        root = ElementTree.fromstring((site.folder / "badges" / f"{slug}.svg").read_bytes())
        title = root.findtext("{http://www.w3.org/2000/svg}title") or ""
        assert re.fullmatch(r"fflm [\w -]+: [\d.]+%( \((first [\d,]+ rows|disputed)\))?", title), title
        assert ("disputed" in title) == bool(row["verification"]["disputed"])
        assert ("first" in title) == any(cell["rows"] < cell["split_rows"] for cell in row["cells"])


def test_files_of_records_are_published(site: Built) -> None:
    for row in site.index["models"]:
        for record in row["records"]:
            folder, original = site.folder / record["folder"], site.records / record["folder"].removeprefix("records/")
            files = sorted(path.relative_to(original) for path in original.rglob("*") if path.is_file())
            assert files == sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
            assert all((folder / path).read_bytes() == (original / path).read_bytes() for path in files)


def test_wrong_rows(site: Built) -> None:
    slug = site.slug("org/model-0")
    text = (site.folder / "wrong" / f"{slug}.letters.test.csv").read_text(encoding="utf-8")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [int(line["id"]) for line in lines] == list(range(0, 1000, 2))
    assert all(int(line["predicted"]) == int(line["target"]) + 1 == int(json.loads(line["output"])) for line in lines)
