"""Paper + scale + axes -> trials with content keys, the study file, a cost estimate and what can be decided.

Nothing here imports torch: builders are read from source, profiles are light modules.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replicate import builders, catalog, profiles
from replicate.catalog import Paper
from replicate.engines.base import Trial
from replicate.errors import UserError, unknown
from replicate.loading import shown
from replicate.manifest import Manifest, ScaleSpec
from replicate.profiles import TaskInfo
from replicate.provenance import trial_code
from replicate.records import Record, Spec, canonical
from replicate.study import Study
from replicate.tasks.base import SCALES, DataError, Profile, Scale
from replicate.verdicts.digests import claim_digest, contrast_digest

GPU_SCALES: frozenset[str] = frozenset({"gpu", "full", "weights"})
"""Scales whose device ``auto`` is a GPU where there is one; the others are CPU protocols."""


@dataclass(frozen=True)
class Plan:
    """Trials in the order in which they should run, and the study that fixes what they will be judged on."""

    paper: Paper
    scale: Scale
    task: TaskInfo
    profile: Profile
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: tuple[Trial, ...]
    study: Study
    exploratory: tuple[str, ...] = ()
    """Why this is not the planned study; empty: it is, and its verdicts are confirmatory."""
    partial: tuple[str, ...] = ()
    """What of the planned study is left out now; its verdicts stay PENDING until that is there too."""
    workers: int | None = None

    @property
    def manifest(self) -> Manifest:
        """The paper's manifest."""
        return self.paper.manifest

    @property
    def confirmatory(self) -> bool:
        """True when arms, seeds and options are the manifest's."""
        return not self.exploratory


@dataclass(frozen=True)
class _Ask:
    """The resolved request that every trial of a plan shares."""

    paper: Paper
    scale: Scale
    task: TaskInfo
    profile: Profile
    device: str
    threads: int
    data: str | None
    data_paths: Mapping[str, str]
    options: Mapping[str, Mapping[str, Any]]
    found: Mapping[str, builders.Builder]


def make(
    paper: Paper,
    scale: Scale,
    *,
    arms: Sequence[str] | None = None,
    seeds: int | None = None,
    sets: Sequence[str] = (),
    device: str = "auto",
    threads: int | None = None,
    data_paths: Mapping[str, Path] | None = None,
    workers: int | None = None,
    first_seed: int | None = None,
    looks: Sequence[int] = (),
    with_code: bool = True,
    for_show: bool = False,
) -> Plan:
    """Plan one paper at one scale.

    ``seeds`` counts seeds (default: the manifest's n); ``sets`` are ``arm.option=value``. Fewer arms or seeds are
    a part of the planned study; other options, more arms or another seed block make an exploratory one. ``looks``
    are the numbers of seeds at which a study that may be extended is judged, fixed before its first run.
    ``with_code=False`` leaves the code digest of the trials empty: enough to show a plan, not to run it.
    ``for_show`` plans also where the data or the GPU is not there, to show records that others made.
    """
    manifest = paper.manifest
    where = shown(paper.folder / catalog.MANIFEST)
    wanted = _scale(manifest, scale, where)
    task = profiles.of(paper)
    profile = task.profile(wanted.profile)
    chosen = _with_substrates(manifest, _arms(manifest, scale, arms))
    planned_arms = _with_substrates(manifest, manifest.arms_at(scale))
    start = wanted.first_seed if first_seed is None else first_seed
    planned_n = max(wanted.seeds, 1)
    if seeds is not None and seeds < 1:
        raise UserError("--seeds must be at least 1")
    block = tuple(range(start, start + (planned_n if seeds is None else seeds)))
    overrides = _overrides(manifest, sets, chosen)
    paths = {name: str(Path(path).expanduser().resolve()) for name, path in (data_paths or {}).items()}
    every = tuple(dict.fromkeys((*planned_arms, *chosen)))
    found = {name: builders.find(paper, manifest.arms[name].builder) for name in every}
    options = {name: _options(manifest, found[name], name, overrides, where) for name in every}
    ask = _Ask(
        paper,
        scale,
        task,
        profile,
        ("cuda" if scale == "gpu" else "cpu") if for_show and not has_gpu() else resolve_device(device, scale),
        threads or profile.threads,
        _data(profile, paths, for_show),
        paths,
        options,
        found,
    )
    trials = _trials(ask, chosen, block, with_code)
    why = _why_exploratory(manifest, planned_arms, chosen, block, overrides, ask)
    why += _why_seeds(wanted, block, looks)
    partial = () if why else tuple(_what_is_missing(planned_arms, chosen, planned_n, block))
    # Part of the planned study: the study file still fixes all of it.
    whole = _trials(ask, planned_arms, range(start, start + max(planned_n, len(block))), False) if not why else trials
    study = _study(ask, max(planned_n, len(block)), whole, why, looks)
    return Plan(paper, scale, task, profile, chosen, block, trials, study, tuple(why), partial, workers)


def _scale(manifest: Manifest, scale: str, where: str) -> ScaleSpec:
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    for name, spec in manifest.scales.items():
        if name == scale:
            return spec
    has = ", ".join(manifest.scales)
    raise UserError(f"{where}: paper {manifest.slug!r} has no scale {scale!r}; it has {has}")


def _arms(manifest: Manifest, scale: Scale, asked: Sequence[str] | None) -> tuple[str, ...]:
    if not asked:
        return manifest.arms_at(scale)
    for name in asked:
        if name not in manifest.arms:
            raise unknown(f"arm of {manifest.slug}", name, manifest.arms)
    return tuple(name for name in manifest.arms if name in set(asked))


def _with_substrates(manifest: Manifest, chosen: Sequence[str]) -> tuple[str, ...]:
    """The chosen arms, each after the arms whose checkpoints it needs."""
    ordered: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise UserError(f"{manifest.slug}: arms need each other in a circle: {' -> '.join([*path, name])}")
        for needed in manifest.arms[name].needs.values():
            visit(needed, (*path, name))
        if name not in ordered:
            ordered.append(name)

    for name in chosen:
        visit(name, ())
    return tuple(ordered)


def _options(
    manifest: Manifest,
    builder: builders.Builder,
    arm: str,
    overrides: Mapping[str, Mapping[str, Any]],
    where: str,
) -> dict[str, Any]:
    """The arm's options: defaults of its builder, then the manifest's, then ``--set``."""
    stated = builders.resolve(builder, manifest.arms[arm].options, f"{where}: arms.{arm}.options")
    return {**stated, **_only(builders.resolve(builder, overrides.get(arm, {}), "--set"), overrides.get(arm, {}))}


def _only(values: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _overrides(manifest: Manifest, sets: Sequence[str], arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options of ``--set arm.option=value`` by arm."""
    found: dict[str, dict[str, Any]] = {}
    for text in sets:
        target, equals, value = text.partition("=")
        arm, dot, option = target.strip().rpartition(".")
        if not (equals and dot and arm and option):
            raise UserError(f"--set {text!r}: expected arm.option=value, for example {arms[0]}.depth=3")
        if arm not in manifest.arms:
            raise unknown(f"arm of {manifest.slug}", arm, manifest.arms)
        if arm not in arms:
            raise UserError(f"--set {text!r}: arm {arm!r} is not part of this run; add it with --arms")
        found.setdefault(arm, {})[option] = builders.parse(value.strip())
    return found


def resolve_device(device: str, scale: str) -> str:
    """``cpu`` or ``cuda``; ``auto`` is the device that the scale is meant for."""
    if device == "auto":
        if scale not in GPU_SCALES:
            return "cpu"
        if has_gpu():
            return "cuda"
        if scale == "gpu":
            raise UserError("scale 'gpu' needs a CUDA GPU and none was found; use --scale quick or --scale long")
        return "cpu"
    if device not in ("cpu", "cuda"):
        raise unknown("device", device, ["auto", "cpu", "cuda"])
    if device == "cuda" and not has_gpu():
        raise UserError("--device cuda: no CUDA GPU was found; `replicate doctor` shows what is there")
    return device


def has_gpu() -> bool:
    """True when torch can use a CUDA GPU. Looks for a driver first, so that most machines need no torch for it."""
    if not any(os.path.exists(p) for p in ("/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-gpu")) and os.name == "posix":
        return False
    import torch

    return torch.cuda.is_available()


def _data(profile: Profile, paths: Mapping[str, str], for_show: bool) -> str | None:
    """``name@checksum`` of the profile's data."""
    if profile.data is None:
        return None
    from replicate.datasets import registry

    given = {name: Path(path) for name, path in paths.items()}
    try:
        return f"{profile.data}@{registry.checksum(profile.data, given)}"
    except DataError:
        if not for_show:
            raise
        return f"{profile.data}@absent"


def _trials(ask: _Ask, arms: Sequence[str], seeds: Iterable[int], with_code: bool) -> tuple[Trial, ...]:
    """Seed by seed, so that pairs are complete early; within a seed, substrates first."""
    folder = None if ask.paper.inside else str(ask.paper.folder.resolve())
    code = {
        arm: trial_code(ask.found[arm].module, ask.task.module, folder, ask.data) if with_code else "" for arm in arms
    }
    trials: list[Trial] = []
    for seed in seeds:
        keys: dict[str, str] = {}
        for arm in arms:
            needs = ask.paper.manifest.arms[arm].needs
            spec = _spec(ask, arm, seed, {name: keys[other] for name, other in needs.items()})
            keys[arm] = spec.key
            trials.append(
                Trial(
                    spec=spec,
                    slug=ask.paper.slug,
                    arm=arm,
                    module=ask.found[arm].module,
                    task_module=ask.task.module,
                    profile=ask.profile,
                    folder=folder,
                    timeout_s=max(600.0, 20.0 * ask.profile.seconds),
                    seconds=ask.profile.seconds,
                    exclusive=ask.profile.exclusive,
                    data_paths=ask.data_paths,
                    code=code[arm],
                )
            )
    return tuple(trials)


def _spec(ask: _Ask, arm: str, seed: int, substrates: Mapping[str, str]) -> Spec:
    found = ask.found[arm]
    return Spec(
        builder=found.name,
        builder_version=found.version,
        options=ask.options[arm],
        task=ask.task.name,
        profile=ask.profile.name,
        profile_version=ask.profile.version,
        settings=builders.plain(ask.profile.settings),
        data=ask.data,
        scale=ask.scale,
        seed=seed,
        device=ask.device,
        threads=ask.threads,
        substrates=substrates,
    )


def _why_exploratory(
    manifest: Manifest,
    planned: Sequence[str],
    arms: Sequence[str],
    seeds: Sequence[int],
    overrides: Mapping[str, Mapping[str, Any]],
    ask: _Ask,
) -> list[str]:
    """What separates this request from the planned study; empty: it is that study, or a part of it."""
    why = [f"{arm} with " + ", ".join(f"{k}={v}" for k, v in options.items()) for arm, options in overrides.items()]
    more = [name for name in arms if name not in planned]
    if more:
        why.append(f"{', '.join(more)}: not planned at this scale")
    if seeds[0] != manifest.scales[ask.scale].first_seed:
        why.append(f"seed block starts at {seeds[0]}")
    if ask.threads != ask.profile.threads:
        why.append(f"{ask.threads} threads instead of {ask.profile.threads}")
    if ask.device == "cuda" and ask.scale not in GPU_SCALES:
        why.append("on a GPU, planned on a CPU")
    return why


def _why_seeds(wanted: ScaleSpec, seeds: Sequence[int], looks: Sequence[int]) -> list[str]:
    planned = max(wanted.seeds, 1)
    if len(seeds) <= planned or len(seeds) in looks:
        return []
    return [f"{len(seeds)} seeds where {planned} are planned"]


def _what_is_missing(planned: Sequence[str], arms: Sequence[str], n: int, seeds: Sequence[int]) -> Iterable[str]:
    missing = [name for name in planned if name not in arms]
    if missing:
        yield "without " + ", ".join(missing)
    if len(seeds) < n:
        yield f"{len(seeds)} of {n} seeds"


def _study(ask: _Ask, n: int, trials: Sequence[Trial], why: Sequence[str], looks: Sequence[int]) -> Study:
    manifest = ask.paper.manifest
    keys: dict[str, dict[str, str]] = {}
    for trial in trials:
        keys.setdefault(trial.arm, {})[str(trial.spec.seed)] = trial.key
    return Study(
        slug=manifest.slug,
        scale=ask.scale,
        profile=ask.profile.name,
        profile_version=ask.profile.version,
        manifest_version=manifest.version,
        planned_n=n,
        seeds=tuple(dict.fromkeys(trial.spec.seed for trial in trials)),
        claims={claim.id: claim_digest(claim) for claim in manifest.claims},
        contrasts={contrast.id: contrast_digest(contrast) for contrast in manifest.contrasts},
        keys=keys,
        notes=("exploratory: " + "; ".join(why),) if why else (),
        looks=tuple(looks),
    )


def share(plans: Sequence[Plan]) -> tuple[Trial, ...]:
    """Trials of several plans, each key once: equal baselines are trained once for all papers."""
    once: dict[str, Trial] = {}
    for plan in plans:
        for trial in plan.trials:
            once.setdefault(trial.key, trial)
    return tuple(once.values())


def similar(trial: Trial, record: Record) -> bool:
    """True when the record tells what this trial will cost: the same but for seed and substrates."""
    a, b = trial.spec, record.spec
    return (a.builder, a.profile, a.profile_version, a.scale, a.device, a.threads) == (
        b.builder,
        b.profile,
        b.profile_version,
        b.scale,
        b.device,
        b.threads,
    ) and canonical(a.options) == canonical(b.options)
