"""The contract over every paper, the toy, and what `replicate new` makes; and faults that it must find."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from replicate import catalog, contract, scaffold, smoke
from replicate.errors import UserError

TOY = Path(__file__).parent / "toy" / "papers" / "toy"
SLUGS = [folder.name for folder in catalog.folders()]


def failures(lines: object) -> list[str]:
    return [line.text for line in lines if not line.ok]  # type: ignore[attr-defined]


@pytest.mark.parametrize("slug", SLUGS)
def test_static_parts(slug: str) -> None:
    assert failures(contract.static(catalog.find(slug))) == []


@pytest.mark.parametrize("slug", SLUGS)
def test_exact_checks_and_readme(slug: str) -> None:
    paper = catalog.find(slug)
    assert failures(contract.exact_lines(paper)) == []
    assert contract.readme_line(paper).text.startswith("ok")


@pytest.mark.parametrize("slug", SLUGS)
def test_smoke(slug: str) -> None:
    assert failures(smoke.lines(catalog.find(slug))) == []


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TOY, tmp_path / "toy", ignore=shutil.ignore_patterns("__pycache__")))


FAULTS = [
    ("paper.yaml", "kind: gain", "kind: gian", "schema"),
    ("paper.yaml", "locator: section 2", 'locator: "?"', "sources"),
    ("paper.yaml", "    tolerance: 0\n", "", "claims"),
    ("paper.yaml", "    value: 0.1\n", "", "claims"),
    ("paper.yaml", "quick: {profile: small", "quick: {profile: smal", "profiles"),
    ("profiles.py", "        gate=_GATE,\n", "", "profiles"),
    ("paper.yaml", "metric: score\n    placebo: placebo", "metric: scor\n    placebo: placebo", "profiles"),
    ("paper.yaml", "    option: level", "    option: levl", "builders"),
    ("paper.yaml", "values: [0.05,", "values: [high,", "builders"),
    ("paper.yaml", "quick: {profile: small, seeds: 5", "quick: {profile: small, seeds: 4", "contrasts"),
    (
        "paper.yaml",
        "seeds: 5, arms: [baseline, method, placebo]",
        "seeds: 5, arms: [baseline, method]",
        "contrasts",
    ),
    ("paper.yaml", "    placebo: placebo\n", "    placebo_reason: none\n", "placebos"),
    ("paper.yaml", "    placebo_for: [method]\n", "", "placebos"),
    ("paper.yaml", '    sign: "0"', '    sign: "0"\n    scales: [quick]', "deviations"),
    (
        "experiment.py",
        "from .model import Toy",
        "from replicate.store import Store\nfrom .model import Toy",
        "imports",
    ),
    ("experiment.py", "from .model import Toy", "from .modle import Toy", "import time"),
    ("checks.py", "3, 0)", "4, 0)", "exact parameter_count"),
    ("checks.py", "def parameter_count", "def other_count", "exact parameter_count"),
    (
        "README.md",
        "<!-- replicate:table:begin -->\n",
        "<!-- replicate:table:begin -->\nan old row\n",
        "README table",
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "name"), FAULTS, ids=[f"{i}-{f[3]}" for i, f in enumerate(FAULTS)])
def test_faults_are_found(tmp_path: Path, file: str, old: str, new: str, name: str) -> None:
    folder = copied(tmp_path)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    found = failures(contract.check(catalog.find(folder), smoke=False))
    assert any(line.startswith(f"FAIL  {name}: ") for line in found), found


SMOKE_FAULTS = [
    ("experiment.py", 'gauss(0.0, toy.own_noise)', "gauss(0.0, toy.own_noise) + time.perf_counter()", "same seed baseline"),  # noqa: E501
    ("experiment.py", 'f"shared {run.seed}").gauss(0.0, settings["noise"])', '"x").gauss(0.0, 0.0) - own', "other seed method"),  # noqa: E501
    ("experiment.py", '"loss": 1.0 - score', '"lost": 1.0 - score', "smoke placebo"),
    ("experiment.py", "return Toy(level, 3, sleep_s=sleep_s, fault=fault)", 'return Toy(level, 3, fault="error")', "smoke method"),  # noqa: E501
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "name"), SMOKE_FAULTS, ids=[f[3] for f in SMOKE_FAULTS])
def test_smoke_faults_are_found(tmp_path: Path, file: str, old: str, new: str, name: str) -> None:
    folder = copied(tmp_path)
    text = (folder / file).read_text()
    assert old in text
    text = text.replace(old, new, 1)
    if name.startswith("other"):  # the arm's own noise is then taken away again: nothing is left of the seed
        lines = text.splitlines()
        at = next(i for i, line in enumerate(lines) if line.strip().startswith("shared ="))
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
        text = "\n".join(lines) + "\n"
    (folder / file).write_text(text)
    found = failures(smoke.lines(catalog.find(folder)))
    assert any(line.startswith(f"FAIL  {name}: ") for line in found), found


def test_the_toy_keeps_the_contract() -> None:
    assert failures(contract.check(catalog.find(TOY))) == []


def test_a_new_paper_keeps_the_contract_at_once(tmp_path: Path) -> None:
    folder = scaffold.create("fresh_paper", tmp_path)
    lines = list(contract.check(catalog.find(folder)))
    assert failures(lines) == []
    assert {"schema", "import time", "README table", "smoke residual", "other seed plain"} <= {n.name for n in lines}
    assert all("PAPER_SLUG" not in path.read_text() for path in folder.iterdir() if path.is_file())
    assert (folder / "test_fresh_paper.py").is_file()


def test_new_refuses_names_that_are_taken(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(UserError, match="is there already"):
        scaffold.create("here", tmp_path)
    for slug in SLUGS[:1]:
        with pytest.raises(UserError, match="has a paper"):
            scaffold.create(slug, tmp_path)


def test_new_leaves_nothing_behind_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaffold, "TEMPLATE", tmp_path / "no-template")
    with pytest.raises(OSError, match="no-template"):
        scaffold.create("half", tmp_path)
    assert not (tmp_path / "half").exists()
