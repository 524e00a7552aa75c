"""Handles of worker processes: start, hand over a trial, listen, end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from replicate.engines.base import Trial
from replicate.errors import UserError
from replicate.provenance import environment
from replicate.records import canonical
from replicate.store import Lock

IMPORT_GRACE_S = 300.0
"""A trial's own limit counts from the end of its imports; these may take this long."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Worker:
    """One process with its socket, and the trial it is working on."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.trial: Trial | None = None
        self.lock: Lock | None = None
        self.deadline = float("inf")
        self.started = 0.0
        self.served = 0
        self._limit = 0.0
        self._output = tempfile.TemporaryFile(mode="a+b")  # noqa: SIM115 - lives as long as the process
        mine, its = socket.socketpair()
        self.connection: Connection[Any, Any] = Connection(mine.detach())
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "replicate.engines.worker", str(its.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=[its.fileno()],
                env=_environment(threads),
                process_group=0,  # Ctrl-C on the terminal is for the driver, which then drains
            )
        except OSError as error:
            self.connection.close()
            raise UserError(f"cannot start a worker process: {error.strerror or error}") from error
        finally:
            its.close()

    @property
    def idle(self) -> bool:
        """True when it waits for a trial."""
        return self.trial is None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def give(self, trial: Trial, lock: Lock, workdir: Path, substrates: Mapping[str, str], limit_s: float) -> None:
        """Hand over a trial. A worker that died meanwhile is noticed by the next ``receive``."""
        self.trial, self.lock, self._limit = trial, lock, limit_s
        self.started = time.monotonic()
        self.deadline = self.started + limit_s + IMPORT_GRACE_S
        self._output.truncate(0)
        message = {
            "trial": trial.to_json(),
            "workdir": str(workdir),
            "substrates": dict(substrates),
            "environment": environment(),
        }
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(canonical(message).encode())

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the process is gone. Call when the connection is readable."""
        try:
            message: dict[str, Any] = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            return None
        if "ready" in message:
            self.started = time.monotonic()
            self.deadline = self.started + self._limit
        return message

    def release(self) -> None:
        """Forget the trial and give its lock back."""
        if self.lock is not None:
            self.lock.release()
        self.trial, self.lock, self.deadline = None, None, float("inf")
        self.served += 1

    def kill(self) -> None:
        """End the process and its children at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()

    def close(self) -> None:
        """End an idle process: it leaves when its pipe is closed."""
        self.connection.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.kill()
        self._output.close()

    def last_words(self) -> str:
        """How a dead process ended, and the last lines that it printed."""
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            how = f"killed by {name}" + (" (often: out of memory)" if -code == signal.SIGKILL else "")
        else:
            how = f"exit code {code}"
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - 2000))
        lines = self._output.read().decode(errors="replace").strip().splitlines()[-5:]
        return "\n".join([f"worker process ended: {how}", *(f"  | {line}" for line in lines)])


def _environment(threads: int) -> dict[str, str]:
    """Thread counts must stand before torch is imported; the suite must be the driver's, installed or not."""
    root = Path(__file__).resolve().parents[2]
    checkout = [str(root)] if (root / "pyproject.toml").is_file() else []
    path = [*checkout, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **os.environ,
        **{name: str(threads) for name in _THREAD_VARIABLES},
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
        "PYTHONHASHSEED": "0",
    }
