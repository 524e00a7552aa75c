"""Time to open a store of 10,000 records and check and parse all of them, against reading and parsing alone.

    python benchmarks/store.py [RECORDS]

Bar: under 1 s for 10,000.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from replicate.provenance import environment  # noqa: E402 - needs the path above
from replicate.records import Record, Spec  # noqa: E402 - the same
from replicate.store import Store, encode  # noqa: E402 - the same

BAR_S = 1.0


def record(seed: int) -> Record:
    """A record of the usual size: six metrics, two curves of twenty points, provenance (about 3 kB)."""
    settings = {"steps": 360, "batch": 16, "lr": 0.01, "size": 64, "widths": [32, 64, 128], "schedule": "cosine"}
    spec = Spec(
        "papers.a.experiment:f",
        1,
        {"depth": 4, "lite": True},
        "detection",
        "quick",
        1,
        settings,
        "d@1",
        "quick",
        seed,
    )
    return Record(
        key=spec.key,
        spec=spec,
        status="ok",
        metrics={f"metric_{i}": seed / (i + 3) for i in range(6)},
        curves={name: [seed / (i + 7) for i in range(20)] for name in ("step", "loss")},
        cost={"parameters": 1e5, "seconds": 45.1234},
        provenance={"code": "0" * 64, "carried": [], "trial": {"slug": "a", "arm": "f"}, **environment()},
    )


def main(number: int = 10_000) -> int:
    with tempfile.TemporaryDirectory(prefix="replicate-bench-") as name:
        store = Store(name)
        size = 0
        for seed in range(number):
            data = encode(record(seed))
            size += len(data)
            path = store.path(record(seed).key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        began = time.perf_counter(), time.process_time()
        for path in sorted(store.runs.glob("*/*.jsonl")):
            json.loads(path.read_bytes().partition(b"\n")[0])
        bare = time.perf_counter() - began[0]
        began = time.perf_counter(), time.process_time()
        records = Store(name).records()
        seconds, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
        assert len(records) == number
    print(f"{number} records of {size / number:.0f} bytes, warm disk")
    print(f"  read and parse JSON     {bare:6.2f} s")
    print(f"  open store, check all   {seconds:6.2f} s ({cpu:.2f} s of CPU)   {seconds / bare:4.1f} x bare")
    met = cpu < BAR_S * number / 10_000
    print(f"  bar {BAR_S:.0f} s for 10,000: {'met' if met else 'MISSED'} (by CPU time)")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:])))
