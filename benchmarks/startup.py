"""Start-up of the command line against a bare interpreter: ``python benchmarks/startup.py [REPEATS]``.

Prints CPU and wall milliseconds (medians) and their ratio to ``python -c pass``. ``list`` runs on the papers that are
there, and on a made-up suite of 90 papers, each a copy of the longest manifest. Bars: 120 ms and 250 ms.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from replicate import catalog

BARS = {"--help": 120.0, "list": 250.0, "list of 90": 250.0}


def measure(command: list[str], repeats: int) -> tuple[float, float]:
    """Median CPU and wall milliseconds of a command."""
    cpu, wall = [], []
    for _ in range(repeats):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(1000 * (time.perf_counter() - started))
        cpu.append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return statistics.median(cpu), statistics.median(wall)


def suite_of(n: int, folder: Path) -> str:
    """Code that lists a made-up suite of n papers."""
    manifests = [path / "paper.yaml" for path in catalog.folders()]
    manifests.append(Path(__file__).parents[1] / "tests" / "toy" / "papers" / "toy" / "paper.yaml")
    text = max((path.read_text() for path in manifests), key=len)
    for i in range(n):
        (folder / f"paper_{i:02d}").mkdir()
        (folder / f"paper_{i:02d}" / "paper.yaml").write_text(text)
    return (
        "from pathlib import Path\nfrom replicate import catalog, cli\n"
        f"catalog.root = lambda: Path({str(folder)!r})\ncli.call(['list'])"
    )


def main(repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "--help": [sys.executable, "-m", "replicate", "--help"],
            "list": [sys.executable, "-m", "replicate", "list"],
            "list of 90": [sys.executable, "-c", suite_of(90, Path(folder))],
        }
        bare = 0.0
        print(f"{'command':16} {'CPU ms':>8} {'wall ms':>8} {'x bare':>7}  bar   (load {os.getloadavg()[0]:.1f})")
        for name, command in commands.items():
            cpu, wall = measure(command, repeats)
            bare = bare or cpu
            bar = BARS.get(name)
            verdict = "" if bar is None else f"{'ok' if cpu <= bar else 'OVER'} {bar:.0f} ms"
            print(f"{name:16} {cpu:8.1f} {wall:8.1f} {cpu / bare:7.1f}  {verdict}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
