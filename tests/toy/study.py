"""A command that runs a study of the toy paper: ``python study.py STORE TRIALS SLEEP_S [WORKERS]``.

Prints one JSON line: how many trials were done, failed, reused, left, and whether it was interrupted.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from toy.trials import trial

from replicate.engines.local import run_local
from replicate.store import Store


def main(store: str, number: int, sleep_s: float, workers: int = 2) -> None:
    logging.basicConfig(level=logging.WARNING)
    trials = [trial("method", seed, sleep_s=sleep_s) for seed in range(number)]
    report = run_local(trials, Store(store), workers=workers)
    print(
        json.dumps(
            {
                "done": len(report.done),
                "failed": len(report.failed),
                "skipped": len(report.skipped),
                "pending": len(report.pending),
                "interrupted": report.interrupted,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *(int(word) for word in sys.argv[4:]))
