"""Digests of what a study promises to judge, so that a later edit shows. Imports nothing heavy.

Only what decides the verdict is hashed: a corrected typing error in the wording leaves the study confirmatory, a
changed number, margin, arm or place in the sequence does not.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from pydantic import BaseModel

from replicate.manifest import Claim, Contrast
from replicate.records import canonical

_CLAIM_WORDS = {"says", "catalogue", "source", "margin_source", "blocked"}
_CONTRAST_WORDS = {"placebo_reason", "scales"}


def _digest(model: BaseModel, words: set[str]) -> str:
    return hashlib.sha256(canonical(model.model_dump(mode="json", exclude=words)).encode()).hexdigest()


@lru_cache(maxsize=4096)
def claim_digest(claim: Claim) -> str:
    """SHA-256 of the parts of a claim that decide its verdict: 64 hex digits."""
    return _digest(claim, _CLAIM_WORDS)


@lru_cache(maxsize=4096)
def contrast_digest(contrast: Contrast) -> str:
    """SHA-256 of the parts of a contrast that decide its verdict: 64 hex digits."""
    return _digest(contrast, _CONTRAST_WORDS)
