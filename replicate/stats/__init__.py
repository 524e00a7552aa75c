"""The statistics behind a verdict: plain functions on numbers, no knowledge of papers or records."""

from replicate.stats.corrections import benjamini_hochberg, fixed_sequence, holm
from replicate.stats.estimates import (
    ALPHA,
    equivalence_p,
    estimate,
    outside_p,
    p_greater,
    paired_differences,
    t_quantile,
)
from replicate.stats.power import (
    POWER,
    equivalence_seeds,
    power_of,
    seeds_needed,
    smallest_effect,
    smallest_margin,
)
from replicate.stats.published import (
    UNDECIDABLE,
    Difference,
    Prior,
    against_absolute,
    against_gain,
    best_of,
    fit_prior,
    is_undecidable,
    shrink,
)
from replicate.stats.rates import clopper_pearson, cluster_interval, item_bootstrap
from replicate.stats.sequential import LOOKS, stage_alphas

__all__ = [
    "ALPHA",
    "LOOKS",
    "POWER",
    "UNDECIDABLE",
    "Difference",
    "Prior",
    "against_absolute",
    "against_gain",
    "benjamini_hochberg",
    "best_of",
    "clopper_pearson",
    "cluster_interval",
    "equivalence_p",
    "equivalence_seeds",
    "estimate",
    "fit_prior",
    "fixed_sequence",
    "holm",
    "is_undecidable",
    "item_bootstrap",
    "outside_p",
    "p_greater",
    "paired_differences",
    "power_of",
    "seeds_needed",
    "shrink",
    "smallest_effect",
    "smallest_margin",
    "stage_alphas",
    "t_quantile",
]
