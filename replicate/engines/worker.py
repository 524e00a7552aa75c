"""A worker process: takes trial after trial from its driver until the driver closes the pipe or dies.

Started as ``python -m replicate.engines.worker FD PARENT_PID``; messages are JSON on the socket ``FD``.
Driver to worker: ``{"trial", "workdir", "substrates", "environment"}``. Worker to driver: ``{"ready"}`` once per
trial when its imports are done, ``{"step", "metrics"}`` while it runs, ``{"record"}`` at its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from replicate import trial as trials
from replicate.engines.base import Trial
from replicate.records import canonical

_PR_SET_PDEATHSIG = 1
_LOG_EVERY_S = 0.2


def main(descriptor: int, parent: int) -> None:
    """Serve the driver ``parent`` on the socket ``descriptor``."""
    _die_with(parent)
    connection = Connection(descriptor)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, inbox), daemon=True).start()
    while True:
        job = inbox.get()
        _work(connection, job)


def _die_with(parent: int) -> None:
    """End at once when the driver ends, also when this process is deep in a computation.

    On Linux the kernel sees to it; elsewhere the end of the pipe does (``_receive``).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _receive(connection: Connection[Any, Any], inbox: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            inbox.put(json.loads(connection.recv_bytes()))
        except (EOFError, OSError):
            os._exit(0)


def _work(connection: Connection[Any, Any], job: Mapping[str, Any]) -> None:
    def send(message: Mapping[str, Any]) -> None:
        # A driver that is gone: _receive ends this process.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send_bytes(canonical(message).encode())

    last = 0.0

    def on_log(step: int, metrics: Mapping[str, float]) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOG_EVERY_S:
            last = time.monotonic()
            send({"step": step, "metrics": {name: repr(float(value)) for name, value in metrics.items()}})

    record = trials.run(
        Trial.from_json(job["trial"]),
        workdir=Path(job["workdir"]),
        substrates={name: Path(path) for name, path in job["substrates"].items()},
        on_log=on_log,
        on_ready=lambda: send({"ready": True}),
        environment=job["environment"],
    )
    sys.stdout.flush()
    sys.stderr.flush()
    send({"record": record.to_json()})


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
