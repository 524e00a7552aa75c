"""Schema of ``paper.yaml``: what a paper says and how the suite tests it.

Loading is strict: an unknown key, a missing source or a claim that refers to an arm that does not exist is an
error with the file and line. The same models give the JSON schema for editors (``replicate schema``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from replicate.tasks.base import Scale

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Kind = Literal["structural", "ordering", "gain", "absolute", "efficiency", "qualitative"]
Blocker = Literal["data", "weights", "compute", "people", "ambiguous"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Model):
    """Where a claim stands: which document, and the place in it."""

    where: Literal["paper", "code", "independent", "derived"]
    """``paper`` the article, ``code`` the authors' repository, ``independent`` somebody else's replication,
    ``derived`` our arithmetic on stated numbers."""
    locator: str
    """Abstract, table 2, section 5.1, appendix 1, README table, ..."""
    sure: bool = True
    """False for numbers the catalogue marks as unsure: shown as such, never as the paper's own."""


class Blocked(_Model):
    """Why a claim cannot be judged by anyone with this suite today."""

    why: Blocker
    says: str


class Claim(_Model):
    """One number or one ordering that the paper states."""

    id: Slug
    says: str
    kind: Kind
    metric: str
    unit: str
    source: Source
    dataset: str = "none"
    direction: Literal["higher", "lower", "none"] = "higher"
    """Which way of ``metric`` is better."""
    value: float | None = None
    """Stated value (absolute, efficiency, structural) or stated gain B - A (gain)."""
    baseline: float | None = None
    """The paper's own number for the baseline, where it gives one."""
    low: float | None = None
    high: float | None = None
    """Stated range or bound, for claims such as "0.2 to 1.2 AP" or "more than 4"."""
    rounding: float | None = None
    """Last printed digit as a step: 0.1 for "39.6"."""
    reporting: Literal["single", "mean", "best-of-k", "unknown"] = "unknown"
    k: int | None = None
    n: int | None = None
    sd: float | None = None
    margin: float | None = None
    """Equivalence margin for REPRODUCED, in the metric's unit, and where it comes from."""
    margin_source: str | None = None
    check: str | None = None
    """structural: name of the function in checks.py."""
    tolerance: float | None = None
    input_shape: str | None = None
    counting: str | None = None
    """structural counts: MAC or FLOP, and what is left out."""
    contrasts: tuple[str, ...] = ()
    """ordering, gain, efficiency: ids of contrasts; an ordering over several holds when each holds."""
    arm: str | None = None
    """absolute: the arm whose metric is compared."""
    device: Literal["cpu", "cuda"] | None = None
    """efficiency: the kind of device the paper timed; records of another kind do not judge it."""
    blocked: Blocked | None = None
    catalogue: str | None = None
    """Id of the catalogue entry that this claim is, or was split from."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Claim:
        if self.kind == "structural" and self.check is None and self.blocked is None:
            raise ValueError(f"claim {self.id}: a structural claim names its check, or says why it is blocked")
        if self.kind in ("ordering", "gain") and not self.contrasts and self.blocked is None:
            raise ValueError(f"claim {self.id}: a claim of kind {self.kind} names its contrasts, or is blocked")
        if self.kind == "absolute" and (self.value is None or (self.arm is None and self.blocked is None)):
            raise ValueError(f"claim {self.id}: an absolute claim has a value and an arm, or is blocked")
        if self.reporting == "best-of-k" and self.k is None:
            raise ValueError(f"claim {self.id}: best-of-k needs k")
        if self.margin is not None and not self.margin_source:
            raise ValueError(f"claim {self.id}: a margin needs its source (margin_source)")
        return self


class ArmSpec(_Model):
    """One thing that is trained or measured."""

    role: Literal["baseline", "method", "variant", "placebo"]
    builder: str
    """A function of experiment.py, or ``tasks.<task>:<function>`` for a baseline that all papers share."""
    options: dict[str, Any] = Field(default_factory=dict)
    says: str
    placebo_for: tuple[str, ...] = ()
    """Arms that this placebo controls for."""
    needs: dict[str, str] = Field(default_factory=dict)
    """Trained substrates: name -> arm whose checkpoint (same seed) this arm starts from."""


class Contrast(_Model):
    """A comparison planned before any run: ``better`` against ``worse``, paired by seed."""

    id: Slug
    better: str
    worse: str
    metric: str
    relation: Literal["greater", "equivalent"] = "greater"
    margin: float | None = None
    """``equivalent``: half-width of the equivalence interval, in the metric's unit."""
    placebo: str | None = None
    placebo_reason: str | None = None
    """Why there is no placebo, or why this one."""
    primary: int | None = None
    """Place in the fixed sequence of at most three primary contrasts; None: secondary, Holm-corrected."""
    scales: tuple[Scale, ...] = ("quick", "long")

    @model_validator(mode="after")
    def _complete(self) -> Contrast:
        if self.placebo is None and not self.placebo_reason:
            raise ValueError(f"contrast {self.id}: name a placebo, or say why there is none (placebo_reason)")
        if self.relation == "equivalent" and self.margin is None:
            raise ValueError(f"contrast {self.id}: an equivalence needs a margin")
        return self


class Ablation(_Model):
    """One axis that ``replicate sweep`` varies: an option of an arm, or a list of arms."""

    axis: str
    says: str
    arm: str | None = None
    option: str | None = None
    values: tuple[Any, ...] = ()
    arms: tuple[str, ...] = ()
    paper_reports: bool = False
    paper_values: dict[str, float] = Field(default_factory=dict)
    """The paper's own numbers by value, where they are known."""
    source: str | None = None
    blocked: Blocked | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Ablation:
        by_option = self.arm is not None and self.option is not None and len(self.values) > 0
        if not (by_option or self.arms or self.blocked):
            raise ValueError(f"ablation {self.axis!r}: give arm + option + values, or arms, or blocked")
        return self


class ScaleSpec(_Model):
    """What one scale runs for this paper."""

    profile: str
    """Name of a profile of the paper's task."""
    seeds: int
    """Planned n."""
    first_seed: int = 0
    arms: tuple[str, ...] = ()
    """Empty: every arm."""
    max_hours: float | None = None


class Deviation(_Model):
    """One way in which our protocol differs from the paper's."""

    what: str
    paper: str
    ours: str
    sign: Literal["+", "-", "0", "?"]
    """Expected effect on the claimed gain: + makes it larger."""
    scales: tuple[Scale, ...] = ()
    """Empty: all scales below full."""


class Manifest(_Model):
    """A whole paper.yaml."""

    schema_: Literal[1] = Field(alias="schema")
    slug: Slug
    version: int
    title: str
    year: int
    venue: str
    family: str
    arxiv: str | None = None
    code: str | None = None
    licence: str
    """Licence of this folder's code, and of the paper's released code where known."""
    summary: str
    """The idea in one or two sentences."""
    task: str
    """A package of replicate.tasks, or ``own`` when experiment.py measures something of its own."""
    arms: dict[str, ArmSpec]
    contrasts: tuple[Contrast, ...] = ()
    claims: tuple[Claim, ...]
    ablations: tuple[Ablation, ...] = ()
    scales: dict[Scale, ScaleSpec]
    deviations: tuple[Deviation, ...] = ()
    optional_packages: tuple[str, ...] = ()

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Manifest:
        problems: list[str] = []
        contrast_ids = {c.id for c in self.contrasts}
        for name, group in (
            ("claim", [c.id for c in self.claims]),
            ("contrast", [c.id for c in self.contrasts]),
        ):
            problems += [f"{name} id {i!r} appears twice" for i in sorted({i for i in group if group.count(i) > 1})]
        for claim in self.claims:
            problems += [f"claim {claim.id}: unknown contrast {c!r}" for c in claim.contrasts if c not in contrast_ids]
            if claim.arm is not None and claim.arm not in self.arms:
                problems.append(f"claim {claim.id}: unknown arm {claim.arm!r}")
        for contrast in self.contrasts:
            named = [contrast.better, contrast.worse] + ([contrast.placebo] if contrast.placebo else [])
            problems += [f"contrast {contrast.id}: unknown arm {a!r}" for a in named if a not in self.arms]
        for arm_name, arm in self.arms.items():
            named = [*arm.placebo_for, *arm.needs.values()]
            problems += [f"arm {arm_name}: unknown arm {a!r}" for a in named if a not in self.arms]
        for ablation in self.ablations:
            named = list(ablation.arms) + ([ablation.arm] if ablation.arm else [])
            problems += [f"ablation {ablation.axis!r}: unknown arm {a!r}" for a in named if a not in self.arms]
        for scale, spec in self.scales.items():
            problems += [f"scale {scale}: unknown arm {a!r}" for a in spec.arms if a not in self.arms]
            if scale != "smoke" and spec.seeds < 1:
                problems.append(f"scale {scale}: seeds must be at least 1")
        primaries = sorted(c.primary for c in self.contrasts if c.primary is not None)
        if primaries != list(range(1, len(primaries) + 1)) or len(primaries) > 3:
            problems.append("primary contrasts are numbered 1, 2, 3 without gaps, at most three")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def contrast(self, contrast_id: str) -> Contrast:
        """The contrast with this id."""
        return next(c for c in self.contrasts if c.id == contrast_id)

    def arms_at(self, scale: Scale) -> tuple[str, ...]:
        """Names of the arms that this scale runs."""
        return self.scales[scale].arms or tuple(self.arms)
