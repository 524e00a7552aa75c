"""Parts of ``replicate.verdict``: digests, records by arm, contrasts, sizes, words."""
