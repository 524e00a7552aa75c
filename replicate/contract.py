"""The contract of a paper folder, checked on any folder: ``replicate check`` and the suite's tests run these.

Static parts read files, exact checks compute, smoke parts run every arm once (``replicate.smoke``).
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from replicate import builders, catalog, exact, profiles, provenance
from replicate.catalog import Paper
from replicate.errors import UserError
from replicate.loading import shown
from replicate.manifest import Claim
from replicate.tasks.base import DataError

IMPORT_LIMIT_S = 1.0
"""CPU seconds that experiment.py may take to import, libraries not counted."""
LEAST_SEEDS = 5
_JUDGED = ("quick", "long", "gpu")
_MAY_IMPORT = ("tasks", "nn", "cuda", "datasets", "cost")
_EMPTY_WORDS = {"", "?", "-", "tbd", "unknown", "somewhere"}
_COUNTS = ("mac", "macs", "flop", "flops")


@dataclass(frozen=True)
class Line:
    """One line of the contract."""

    name: str
    ok: bool
    says: str

    @property
    def text(self) -> str:
        """``ok    name: says``."""
        return f"{'ok   ' if self.ok else 'FAIL '} {self.name}: {self.says}"

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return asdict(self)


Part = Callable[[Paper], Iterator[str]]
"""A static part: yields one line for each problem."""


def check(paper: Paper, *, smoke: bool = True) -> Iterator[Line]:
    """Every line of the contract, as it is found; a manifest that does not load ends it."""
    yield from static(paper)
    try:
        _ = paper.manifest
    except UserError:
        return
    yield from exact_lines(paper)
    yield readme_line(paper)
    if smoke:
        from replicate import smoke as running

        yield from running.lines(paper)


def static(paper: Paper) -> Iterator[Line]:
    """The parts that read files and run nothing but one import."""
    try:
        manifest = paper.manifest
    except UserError as error:
        yield Line("schema", False, str(error))
        return
    claims, arms = len(manifest.claims), len(manifest.arms)
    yield Line("schema", True, f"{claims} claims, {arms} arms, {len(manifest.contrasts)} contrasts")
    for name, part, fine in _PARTS:
        try:
            problems = list(part(paper))
        except (UserError, DataError) as error:
            problems = [str(error)]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        yield Line(name, not problems, problems[0] + more if problems else fine)
    yield _import_line(paper)


def _files(paper: Paper) -> Iterator[str]:
    for name in ("experiment.py", "README.md"):
        if not (paper.folder / name).is_file():
            yield f"{shown(paper.folder / name)} is missing"
    if (paper.folder / "__init__.py").exists():
        yield f"{shown(paper.folder / '__init__.py')}: a paper folder has none"


def _sources(paper: Paper) -> Iterator[str]:
    for claim in paper.manifest.claims:
        if claim.source.locator.strip().lower() in _EMPTY_WORDS:
            yield f"claim {claim.id}: its source names no place (table, section, abstract)"


def _complete(paper: Paper) -> Iterator[str]:
    for claim in paper.manifest.claims:
        lacking = _lacking(claim)
        if lacking and claim.blocked is None:
            yield f"claim {claim.id} ({claim.kind}): {lacking}"


def _lacking(claim: Claim) -> str:
    """What a claim of its kind still needs; empty: complete."""
    number = claim.value is not None or claim.low is not None or claim.high is not None
    if claim.kind == "structural":
        if claim.value is not None and claim.tolerance is None:
            return "a stated number needs a tolerance"
        counted = any(word in re.split(r"[^a-z]+", f"{claim.unit} {claim.metric}".lower()) for word in _COUNTS)
        if claim.value is not None and counted and not claim.counting:
            return "a count says how it counts (counting: MAC or FLOP, what is left out)"
    if claim.kind == "gain" and not number:
        return "a gain states its size: value, or low and high (an order alone is kind: ordering)"
    if claim.kind == "efficiency" and not claim.contrasts:
        return "names no contrast"
    if claim.reporting == "mean" and claim.n is not None and claim.n < 2:
        return "reporting: mean with n below 2"
    return ""


def _tasks(paper: Paper) -> Iterator[str]:
    task = profiles.of(paper)
    manifest = paper.manifest
    for scale, spec in manifest.scales.items():
        if spec.profile not in task.profiles:
            yield f"scale {scale}: task {task.name} has no profile {spec.profile!r}"
            continue
        profile = task.profiles[spec.profile]
        trained = any(scale in c.scales for c in manifest.contrasts)
        # a gate is a measured number: the scales that a CPU can run have one; a GPU's waits for its first records
        if scale in ("quick", "long") and trained and profile.gate is None and not profile.exclusive:
            yield f"scale {scale}: profile {spec.profile} has no validity gate"
    if "smoke" not in manifest.scales:
        yield "there is no smoke scale"
    for contrast in manifest.contrasts:
        if contrast.metric not in task.metrics:
            yield f"contrast {contrast.id}: {contrast.metric!r} is not a metric of task {task.name}"


def _builders(paper: Paper) -> Iterator[str]:
    where = shown(paper.folder / catalog.MANIFEST)
    found = {}
    for name, arm in paper.manifest.arms.items():
        try:
            found[name] = builders.find(paper, arm.builder)
            builders.resolve(found[name], arm.options, f"{where}: arms.{name}.options")
        except UserError as error:
            yield str(error)
    for ablation in paper.manifest.ablations:
        if ablation.arm in found and ablation.option is not None:
            for value in ablation.values:
                try:
                    builders.resolve(found[ablation.arm], {ablation.option: value}, f"{where}: {ablation.axis}")
                except UserError as error:
                    yield str(error)


def _contrasts(paper: Paper) -> Iterator[str]:
    manifest = paper.manifest
    for contrast in manifest.contrasts:
        here = [s for s in contrast.scales if s in manifest.scales]
        if not here:
            yield f"contrast {contrast.id} is planned at no scale that this paper has"
        arms = [contrast.better, contrast.worse] + ([contrast.placebo] if contrast.placebo else [])
        for scale in here:
            absent = [arm for arm in arms if arm not in manifest.arms_at(scale)]
            if absent:
                yield f"contrast {contrast.id}: scale {scale} does not run {', '.join(absent)}"
            if manifest.scales[scale].seeds < LEAST_SEEDS:
                yield f"contrast {contrast.id}: scale {scale} plans fewer than {LEAST_SEEDS} seeds"
    used = {name for claim in manifest.claims for name in claim.contrasts}
    for contrast in manifest.contrasts:
        if contrast.id not in used and contrast.relation != "equivalent":
            yield f"contrast {contrast.id} is used by no claim"


def _placebos(paper: Paper) -> Iterator[str]:
    manifest = paper.manifest
    used = {arm for c in manifest.contrasts for arm in (c.better, c.worse, c.placebo) if arm}
    used |= {claim.arm for claim in manifest.claims if claim.arm}
    used |= {arm for a in manifest.ablations for arm in (*a.arms, a.arm) if arm}
    used |= {needed for arm in manifest.arms.values() for needed in arm.needs.values()}
    controls = {c.placebo for c in manifest.contrasts if c.placebo}
    for name, arm in manifest.arms.items():
        if arm.role == "placebo" and name not in controls:
            yield f"placebo {name} controls no contrast"
        elif name not in used:
            yield f"arm {name} is used by no contrast, claim or ablation"
        if arm.role == "placebo" and not arm.placebo_for:
            yield f"placebo {name} does not say what it controls for (placebo_for)"
    for contrast in manifest.contrasts:
        if contrast.placebo and manifest.arms[contrast.placebo].role != "placebo":
            yield f"contrast {contrast.id}: its placebo {contrast.placebo!r} has another role"


def _deviations(paper: Paper) -> Iterator[str]:
    task = profiles.of(paper)
    manifest = paper.manifest
    for scale, spec in manifest.scales.items():
        profile = task.profiles.get(spec.profile)
        if scale not in ("quick", "long", "gpu") or profile is None or profile.protocol == "full":
            continue
        if not any(not d.scales or scale in d.scales for d in manifest.deviations):
            yield f"scale {scale} is reduced, but no deviation says how it differs from the paper"


def _imports(paper: Paper) -> Iterator[str]:
    """Papers import only tasks, nn, cuda, datasets and cost of the suite, never another paper."""
    for path in sorted(paper.folder.glob("*.py")):
        if path.name.startswith("test_"):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        except SyntaxError as error:
            yield f"{shown(path)}:{error.lineno}: {error.msg}"
            continue
        for node in ast.walk(tree):
            for name in _imported(node):
                parts = name.split(".")
                if parts[0] == "replicate" and (len(parts) < 2 or parts[1] not in _MAY_IMPORT):
                    yield f"{shown(path)}:{getattr(node, 'lineno', 0)}: imports {name}; papers may import only " + (
                        ", ".join(f"replicate.{part}" for part in _MAY_IMPORT)
                    )


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level > 1:
        return ["replicate"]  # leaves the paper's folder
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        whole = node.module == "replicate"
        return [f"replicate.{alias.name}" for alias in node.names] if whole else [node.module]
    return []


_PARTS: tuple[tuple[str, Part, str], ...] = (
    ("files", _files, "experiment.py and README.md are there"),
    ("sources", _sources, "every claim names its place"),
    ("claims", _complete, "each has what its kind needs"),
    ("profiles", _tasks, "scales, metrics and gates fit the task"),
    ("builders", _builders, "every arm and ablation resolves"),
    ("contrasts", _contrasts, "planned, with their arms and seeds"),
    ("placebos", _placebos, "every placebo and arm is used"),
    ("deviations", _deviations, "stated for the reduced scales"),
    ("imports", _imports, "only what papers may import"),
)

_TIMED = """
import importlib, json, sys, time, warnings
warnings.simplefilter("ignore")
from replicate import modules
for name in json.loads(sys.argv[3]):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
started = time.process_time()
modules.load(sys.argv[1], sys.argv[2])
print(time.process_time() - started)
"""


def _import_line(paper: Paper) -> Line:
    """Import experiment.py in a fresh process, after the libraries it uses, and take the time."""
    name = f"{paper.package}.experiment"
    folder = str(paper.folder.resolve())
    try:
        libraries = sorted(provenance.libraries_used([name], folder))
    except UserError as error:
        return Line("import time", False, str(error))
    done = subprocess.run(
        [sys.executable, "-c", _TIMED, name, folder, json.dumps(libraries)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        return Line("import time", False, (done.stderr.strip().splitlines() or ["import failed"])[-1])
    seconds = float(done.stdout.split()[-1])
    fine = seconds <= IMPORT_LIMIT_S
    return Line("import time", fine, f"{seconds:.2f} s of CPU besides its libraries, limit {IMPORT_LIMIT_S:g} s")


def exact_lines(paper: Paper) -> Iterator[Line]:
    """A line for each exact check, and for each structural claim whose check does not exist."""
    try:
        ran = exact.run(paper)
    except Exception as error:  # whatever a user's file raises when it is imported
        yield Line("checks.py", False, f"cannot be imported: {type(error).__name__}: {error}")
        return
    there = {each.name for each in ran}
    for claim in paper.manifest.claims:
        if claim.check and claim.check not in there:
            yield Line(f"exact {claim.check}", False, f"claim {claim.id} names it, but checks.py has no such check")
    for each in ran:
        what = ", ".join(each.claims) if each.claims else "trap"
        if each.result is None:
            yield Line(f"exact {each.name}", True, f"[{what}] skipped: {each.skipped}")
        else:
            says = each.result.detail or each.says or ("holds" if each.result.ok else "does not hold")
            yield Line(f"exact {each.name}", each.result.ok, f"[{what}] {says} ({each.seconds:.2f} s)")


def readme_line(paper: Paper) -> Line:
    """The README's table is what the reference results give."""
    from replicate import api
    from replicate.report import markdown

    path = paper.folder / "README.md"
    try:
        fresh = markdown.readme_is_fresh(path, *(study.report() for study in api.reference_studies(paper)))
    except (UserError, DataError) as error:
        return Line("README table", False, str(error))
    except Exception as error:  # whatever checks.py raises when it is imported: its own line says so too
        return Line("README table", False, f"{type(error).__name__}: {error}")
    cure = f"run `replicate report {shown(paper.folder)} --readme`"
    return Line("README table", fresh, "fresh" if fresh else f"is not what the reference records give; {cure}")
