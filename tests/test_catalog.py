"""Finding papers: heads by text scan, slugs, paths, near misses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from replicate import catalog
from replicate.errors import UserError

TOY = Path(__file__).parent / "toy" / "papers" / "toy"


@pytest.fixture
def papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    top = tmp_path / "suite" / "papers"
    text = (TOY / "paper.yaml").read_text()
    for slug in ("sepc", "shunted", "pvt"):
        (top / slug).mkdir(parents=True)
        (top / slug / "paper.yaml").write_text(text.replace("slug: toy", f"slug: {slug}"))
    monkeypatch.setattr(catalog, "root", lambda: top)
    return top


def head_of(tmp_path: Path, text: str) -> catalog.Entry:
    (tmp_path / "paper.yaml").write_text(text)
    return catalog.head(tmp_path)


def test_index_agrees_with_the_yaml_reader() -> None:
    fast, value = catalog.head(TOY), yaml.safe_load((TOY / "paper.yaml").read_text())
    assert (fast.title, fast.year, fast.family, fast.claims) == (
        value["title"],
        value["year"],
        value["family"],
        len(value["claims"]),
    )


@pytest.mark.parametrize(
    "text",
    [
        'title: "Colon: inside"\nyear: 2020\nfamily: detection\nclaims:\n  - id: a\n  - id: b\n',
        "title: 'It''s'\nyear: 2020\nfamily: x # note\nclaims:\n- id: a\n  values:\n  - 1\n  - 2\n- id: b\n",
        "title: >\n  Two\n  lines\nyear: 2020\nfamily: x\nclaims: [{id: a}, {id: b}]\n",
        "title: goes\n  on here\nyear: 2020\nfamily: x\nclaims:\n\n  # a note\n  - id: a\n\n  - id: b\nscales: {}\n",
        'title: "esc \\u00e9"\nyear: 2020\nfamily: x\nclaims:\n  - id: a\n    notes: |\n      - no item\n  - id: b\n',
    ],
)
def test_head_reads_every_way_to_write_it(tmp_path: Path, text: str) -> None:
    value = yaml.safe_load(text)
    found = head_of(tmp_path, text)
    assert (found.title, found.year, found.family, found.claims) == (
        " ".join(value["title"].split()),
        2020,
        value["family"],
        2,
    )


def test_a_broken_manifest_is_listed_with_its_mistake(tmp_path: Path) -> None:
    assert "broken YAML" in head_of(tmp_path, "title: [\n").title


def test_find_by_slug_path_and_file(papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sepc", str(papers / "sepc"), str(papers / "sepc" / "paper.yaml"), str(papers / "sepc") + "/"):
        found = catalog.find(name)
        assert (found.slug, found.inside, found.package) == ("sepc", True, "replicate.papers.sepc")
    assert catalog.find(TOY).package == "replicate_outside.toy"
    monkeypatch.chdir(TOY.parent)
    assert catalog.find("toy").folder == TOY.resolve()


def test_papers_slug_works_in_any_folder(papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not os.path.exists("papers/sepc")
    assert catalog.find("papers/sepc").folder == papers / "sepc"


def test_a_folder_of_the_slugs_name_does_not_hide_the_paper(
    papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sepc").mkdir()
    monkeypatch.chdir(tmp_path)
    assert catalog.find("sepc").folder == papers / "sepc"
    with pytest.raises(UserError, match=r"no paper\.yaml there"):
        catalog.find("./sepc")


def test_near_misses(papers: Path) -> None:
    with pytest.raises(UserError, match="unknown paper 'sepp'; did you mean 'sepc'"):
        catalog.find("sepp")
    with pytest.raises(UserError, match="did you mean 'shunted'"):
        catalog.find("papers/shuntd")
    with pytest.raises(UserError, match="no such folder"):
        catalog.find("/nowhere/at/all")


def test_each_paper_once(papers: Path) -> None:
    assert [p.slug for p in catalog.find_all(["pvt", "sepc", str(papers / "pvt")])] == ["pvt", "sepc"]


def test_slug_must_be_the_folders_name(papers: Path) -> None:
    os.rename(papers / "pvt", papers / "other")
    with pytest.raises(UserError, match="must be the folder's name, 'other'"):
        _ = catalog.find("other").manifest
