"""Mistakes in paper.yaml: one line with file, line, what was expected; the schema for editors is fresh."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from replicate import loading
from replicate.errors import UserError

HERE = Path(__file__).parent
TOY = HERE / "toy" / "papers" / "toy" / "paper.yaml"


def message(tmp_path: Path, old: str, new: str) -> tuple[str, str]:
    """(error line, text of the line that it points to) after one edit of the toy manifest."""
    text = TOY.read_text()
    assert text.count(old) >= 1
    path = tmp_path / "paper.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        loading.load_manifest(path)
    said = str(caught.value)
    assert "\n" not in said
    found = re.match(re.escape(str(path)) + r":(\d+): (.*)", said)
    assert found, said
    return found[2], path.read_text().splitlines()[int(found[1]) - 1]


def test_the_toy_manifest_loads() -> None:
    manifest = loading.load_manifest(TOY)
    assert manifest.slug == "toy"
    assert manifest.claims[2].margin == 0.02


@pytest.mark.parametrize(
    ("old", "new", "says", "at"),
    [
        (
            "kind: gain",
            "kind: gian",
            r"claims\[2\]\.kind: expected one of .*got 'gian' \(did you mean 'gain'\?\)",
            "gian",
        ),
        (
            "    unit: points",
            "    unti: points",
            r"claims\[1\]: missing key 'unit' \(and 1 more\)",
            "id: method_wins",
        ),
        ("year: 2024", "year: soon", r"year: expected an integer.*'soon'", "year"),
        (
            "venue: test suite",
            "venue: 2020",
            "venue: expected text, got the number 2020: write it in quotes",
            "venue",
        ),
        (
            "primary: 1",
            "primary: 1\n    placbo: x",
            r"contrasts\[0\]\.placbo: unknown key .*mean 'placebo'",
            "placbo",
        ),
        ("id: method_wins", "id: Method", r"claims\[1\]\.id: expected lower-case", "Method"),
        ("better: method", "better: methud", r"contrasts\[0\]: contrast .*unknown arm 'methud'", "id: method_over"),
        ("needs: {start: baseline}", "needs: {start: base}", "arms.tuned: arm tuned: unknown arm 'base'", "tuned:"),
        ("id: method_gain", "id: method_wins", r"claims\[2\]: claim id 'method_wins' appears twice", "method_wins"),
        (
            "check: parameter_count",
            "counting: MAC",
            r"claims\[0\]: claim parameters: a structural claim names",
            "parameters",
        ),
        ("  long: {", "  lang: {", r"scales\.lang: expected one of smoke,.*did you mean 'long'", "lang"),
        ("primary: 1", "primary: 2", "contrasts: primary contrasts are numbered", "contrasts:"),
        ("year: 2024", "year: 2024\nyear: 2025", "broken YAML: key 'year' stands twice", "2025"),
        ("  method:\n", "  method\n", "broken YAML: could not find expected ':'", "role"),
        ("summary: >-", "\tsummary: >-", "broken YAML: found a tab", "summary"),
    ],
)
def test_one_line_for_each_mistake(tmp_path: Path, old: str, new: str, says: str, at: str) -> None:
    said, line = message(tmp_path, old, new)
    assert re.search(says, said), said
    assert at in line


def test_several_mistakes_give_the_first_and_a_count(tmp_path: Path) -> None:
    path = tmp_path / "paper.yaml"
    path.write_text(TOY.read_text().replace("year: 2024", "year: x").replace("kind: gain", "kind: g"))
    with pytest.raises(UserError, match=r"year: .* \(and 1 more\)$"):
        loading.load_manifest(path)


def test_files_that_are_not_manifests(tmp_path: Path) -> None:
    path = tmp_path / "paper.yaml"
    with pytest.raises(UserError, match="cannot be read: No such file"):
        loading.load_manifest(path)
    path.write_text("- a\n")
    with pytest.raises(UserError, match="expected a mapping of keys, got a list"):
        loading.load_manifest(path)
    path.write_text("")
    with pytest.raises(UserError, match="got nothing"):
        loading.load_manifest(path)
    path.write_bytes(b"title: \xff\n")
    with pytest.raises(UserError, match="not UTF-8"):
        loading.load_manifest(path)


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("2.5e+4", 2.5e4), ("1.5", 1.5), ("'1e-3'", "1e-3")])
def test_numbers_mean_what_people_mean(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"lr: {text}\n")
    assert loading.read_yaml(path) == {"lr": value}


def test_the_schema_in_docs_is_fresh() -> None:
    committed = json.loads((HERE.parent / "docs" / "paper.schema.json").read_text(encoding="utf-8"))
    assert committed == loading.schema(), "run: replicate schema --out docs/paper.schema.json"
    assert committed["properties"]["schema"]["const"] == 1
