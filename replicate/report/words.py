"""How each verdict looks and what it means, shared by terminal, Markdown and HTML: never by colour alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from replicate.judgement import Word

Tone = Literal["good", "part", "bad", "open", "none"]


@dataclass(frozen=True)
class Look:
    """Tone (colour family), a symbol, its ASCII twin, and one sentence for people."""

    tone: Tone
    symbol: str
    ascii: str
    says: str


LOOKS: dict[Word, Look] = {
    Word.EXACT: Look("good", "✓", "+", "The computed value meets the stated one within its tolerance."),
    Word.REPRODUCED: Look("good", "✓", "+", "At full scale our value lies within the margin around the paper's."),
    Word.EXCEEDED: Look("good", "▲", "+", "At full scale our value is beyond the margin on the good side."),
    Word.SUPPORTED: Look(
        "good", "✓", "+", "The claimed order is significant, and the method beats its placebo where it has one."
    ),
    Word.SPECIFICITY_OPEN: Look(
        "part", "◐", "~", "Better than the baseline; whether the mechanism is the reason is undecided."
    ),
    Word.NOT_SPECIFIC: Look(
        "part", "◐", "~", "Better than the baseline, but the placebo reaches more than half of the gain."
    ),
    Word.DIFFERS: Look("bad", "≠", "!", "At full scale our value differs significantly from the paper's."),
    Word.NOT_REPRODUCED: Look("bad", "✗", "x", "At full scale our value is beyond the margin on the bad side."),
    Word.REFUTED: Look("bad", "✗", "x", "An exact claim is false: our computation or a counterexample shows it."),
    Word.CONTRADICTED: Look("bad", "✗", "x", "The opposite order is significant at full scale."),
    Word.OPPOSITE: Look("bad", "✗", "x", "The opposite order is significant, at reduced scale only."),
    Word.INCONCLUSIVE: Look("open", "?", "?", "The records do not decide it; see the effect that could be seen."),
    Word.INCONCLUSIVE_GATE: Look("open", "?", "?", "An arm did not train well enough for its result to count."),
    Word.PENDING: Look("open", "…", ".", "The planned number of seeds is not there yet."),
    Word.NOT_TESTED: Look("none", "–", "-", "This scale cannot judge it; ours is shown for orientation only."),
    Word.BLOCKED: Look("none", "–", "-", "Data, weights, compute or people are missing, or the claim is ambiguous."),
}
"""Every word, in the order in which reports list them."""

ORDER: tuple[Word, ...] = tuple(LOOKS)

JUDGED_TONES: frozenset[Tone] = frozenset({"good", "part", "bad"})
"""Tones of a decided claim; the others still count in the denominator."""


def look(word: Word) -> Look:
    """The look of one verdict."""
    return LOOKS[word]
