"""Study files: written before a run, and never bent afterwards."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from replicate.plan import Plan
from replicate.records import canonical
from replicate.store import Store
from replicate.study import Study
from replicate.trial import now


def write(store: Store, plan: Plan) -> Study:
    """The study that this plan's records will be judged by, written before they exist.

    The planned study of a paper and scale stands in ``studies/``. Once it has records, a claim or contrast edited
    since keeps the digest it had, so its verdict waits for unused seeds. An exploratory plan has a file of its
    own and leaves the planned study alone.
    """
    if plan.exploratory:
        study = replace(plan.study, created=now())
        _put(exploratory_path(store, study), study)
        return study
    old = store.study(plan.study.slug, plan.study.scale)
    study = replace(plan.study, created=now()) if old is None else _settled(store, old, plan.study)
    if study != old:
        store.put_study(study)
    return study


def exploratory_path(store: Store, study: Study) -> Path:
    """File of an exploratory study: its name holds a digest of its trials."""
    name = hashlib.sha256(canonical(study.keys).encode()).hexdigest()[:8]
    return store.root / "studies" / "exploratory" / f"{study.slug}-{study.scale}-{name}.json"


def _settled(store: Store, old: Study, new: Study) -> Study:
    """What holds when a study of this paper and scale was written before."""
    if not _has_results(store, old):
        same = replace(new, created=old.created, notes=old.notes, looks=new.looks or old.looks)
        return old if same == old else replace(new, created=now(), looks=new.looks or old.looks)
    if not set(old.seeds) & set(new.seeds):
        _put(
            store.root / "studies" / "earlier" / f"{old.slug}-{old.scale}-{old.created[:10]}-{old.seeds[0]}.json",
            old,
        )
        return replace(new, created=now(), notes=(f"on unused seeds; an earlier study used {_block(old)}",))
    notes = list(old.notes)
    notes += [note for note in _changes(old, new) if note not in notes]
    n, seeds, keys = old.planned_n, old.seeds, dict(new.keys)
    if new.planned_n > old.planned_n:
        if new.planned_n in old.looks:
            n, seeds = new.planned_n, new.seeds
            notes.append(f"extended from {old.planned_n} to {new.planned_n} seeds, as planned")
        else:
            note = f"{new.planned_n} seeds asked for; the study was planned with {old.planned_n} and keeps them"
            notes += [note] if note not in notes else []
    kept = {str(seed) for seed in seeds}
    return replace(
        new,
        created=old.created,
        planned_n=n,
        seeds=seeds,
        claims=old.claims,
        contrasts=old.contrasts,
        keys={arm: {s: key for s, key in by_seed.items() if s in kept} for arm, by_seed in keys.items()},
        looks=old.looks,
        analysis_version=old.analysis_version,
        notes=tuple(notes),
    )


def _has_results(store: Store, study: Study) -> bool:
    for by_seed in study.keys.values():
        for key in by_seed.values():
            record = store.get(key)
            if record is not None and record.done:
                return True
    return False


def _block(study: Study) -> str:
    return f"{study.seeds[0]} to {study.seeds[-1]}"


def _changes(old: Study, new: Study) -> Iterable[str]:
    for kind, before, after in (
        ("claim", old.claims, new.claims),
        ("contrast", old.contrasts, new.contrasts),
    ):
        for name, digest in after.items():
            if name not in before:
                yield f"{kind} {name} was added after this study was written"
            elif before[name] != digest:
                yield f"{kind} {name} was edited after this study was written"
        yield from (f"{kind} {name} was removed after this study was written" for name in before if name not in after)
    if (old.profile, old.profile_version) != (new.profile, new.profile_version):
        yield f"profile {old.profile} v{old.profile_version} became {new.profile} v{new.profile_version}"


def _put(path: Path, study: Study) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(study.to_json(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def exploratory(store: Store, slug: str | None = None) -> list[Study]:
    """Exploratory studies, by file name."""
    folder = store.root / "studies" / "exploratory"
    return [Study.load(path) for path in sorted(folder.glob(f"{slug or ''}*.json"))]
