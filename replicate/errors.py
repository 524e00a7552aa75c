"""Errors that are for people: the command line prints their text as one line and exits with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """The request was wrong. The message says what, where, and what to do, in one line."""


def near_misses(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Known words that look like ``word``, best first."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=most, cutoff=0.5)
    return close or [k for k in known if word and (word in k or k in word)][:most]


def unknown(what: str, word: str, known: Iterable[str]) -> UserError:
    """One line for an unknown name: ``unknown paper 'sepp'; did you mean 'sepc'?``."""
    known = sorted(known)
    close = near_misses(word, known)
    if close:
        hint = "did you mean " + " or ".join(repr(k) for k in close) + "?"
    elif known:
        hint = "known: " + ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    else:
        hint = "none are known here"
    return UserError(f"unknown {what} {word!r}; {hint}")
