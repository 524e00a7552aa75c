"""Exact checks of the toy paper."""

from __future__ import annotations

from replicate.tasks.base import Checked, check, close

from .experiment import method, placebo


@check(says="the method has three parameters")
def parameter_count() -> Checked:
    """Count them."""
    return close(method().parameters, 3, 0)


@check(says="the placebo has the method's size and none of its level")
def placebo_is_fair() -> Checked:
    """A trap: a placebo of another size controls for nothing."""
    return Checked(placebo().parameters == method().parameters and placebo().level == 0.0)
