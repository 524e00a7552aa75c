"""Records on disk: one file a record, written at once or not at all, checked when read. Below the root:

runs/ab/<key>.jsonl     line 1 the record, line 2 the SHA-256 of line 1
stale/<key>/            records that newer code replaced: nothing is lost
set_aside/              files that were damaged or edited by hand
studies/                study files, written before a run
checkpoints/            checkpoints that other trials start from, by SHA-256
work/ab/<key>/          a trial's private folder while it is unfinished
locks/                  who runs what; a lock vanishes with its process
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from replicate.errors import UserError
from replicate.records import Record, canonical, shallow
from replicate.reference import export_reference, read_reference, reference_root
from replicate.study import Study

__all__ = ["Lock", "Store", "export_reference", "read_reference", "reference_root"]

_log = logging.getLogger("replicate")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Damaged(ValueError):
    """A record file that is not what was written."""


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Turn a disk that is full or may not be written into one line for people."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(
                f"{root}: the disk is full; earlier records are intact. Free some space and run the command again"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise UserError(f"{root}: cannot write here: {error.strerror}; choose another --results") from error
        raise


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Pause the garbage collector: it would walk ever more records, none of which is garbage, again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Lock:
    """An exclusive lock on one key. The kernel releases it when the process ends, however it ends."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor

    def release(self) -> None:
        """Give the lock back (a second call does nothing)."""
        if self._descriptor >= 0:
            # Unlinked while held: who waits on the old file sees that it is gone and opens the new one.
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


class Store:
    """The records below one results folder. Safe for several processes at once."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.runs = self.root / "runs"
        self._made: set[Path] = set()

    # -- records ---------------------------------------------------------------------------------------------

    def path(self, key: str) -> Path:
        """File of a key's record, there or not."""
        return self.runs / key[:2] / f"{key}.jsonl"

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def get(self, key: str) -> Record | None:
        """The record of ``key``; None when there is none or it was damaged (then it is set aside)."""
        return self._read(str(self.path(key)), key)

    def keys(self) -> list[str]:
        """Keys that have a record file, sorted."""
        return sorted(key for key, _ in self._files())

    def records(self) -> list[Record]:
        """Every good record, by key. Damaged files are set aside with a warning."""
        with _no_collector():
            found = [self._read(path, key) for key, path in sorted(self._files())]
        return [record for record in found if record is not None]

    def find(self, prefix: str) -> Record:
        """The one record whose key starts with ``prefix``. Raises ``UserError`` for none or several."""
        keys = [key for key in self.keys() if key.startswith(prefix)]
        if len(keys) != 1:
            several = f"{len(keys)} records" if keys else "no record"
            raise UserError(f"{self.root}: {several} with a key that starts with {prefix!r}")
        record = self.get(keys[0])
        if record is None:
            raise UserError(f"{self.root}: record {keys[0][:12]} was damaged and is set aside; run its paper again")
        return record

    def put(self, record: Record) -> None:
        """Write a record: all of it is on the disk when this returns, or the old one still is.

        A result of other code that was there before moves to ``stale/``. Raises ``UserError`` on a full disk.
        """
        if record.key != record.spec.key:
            raise ValueError(f"record {record.key[:12]} does not belong to its spec {record.spec.key[:12]}")
        data = encode(record)
        path = self.path(record.key)
        with _writing(self.root):
            self._folder(path.parent)
            if path.exists():
                self._keep_history(record, path)
            self._write(path, data)

    def history(self, key: str) -> list[Record]:
        """Results of older code for this key, oldest first."""
        folder = self.root / "stale" / key
        paths = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
        return [record for path in paths if (record := self._read(str(path), key)) is not None]

    def _keep_history(self, record: Record, path: Path) -> None:
        old = self._read(str(path), record.key)
        if old is None or not old.done or old.provenance.get("code") == record.provenance.get("code"):
            return
        if old.metrics == record.metrics and old.provenance.get("code") in record.provenance.get("carried", ()):
            return  # the same result, carried forward
        folder = self.root / "stale" / record.key
        self._folder(folder)
        kept = folder / f"{len(list(folder.iterdir())):04d}-{str(old.provenance.get('code', ''))[:12]}.jsonl"
        with contextlib.suppress(FileExistsError):
            os.link(path, kept)

    def _files(self) -> Iterator[tuple[str, str]]:
        try:
            shelves = [entry.path for entry in os.scandir(self.runs) if entry.is_dir()]
        except FileNotFoundError:
            return
        for shelf in shelves:
            for entry in os.scandir(shelf):
                name = entry.name
                if name.endswith(".jsonl") and not name.startswith("."):
                    yield name[:-6], entry.path

    def _read(self, path: str, key: str) -> Record | None:
        try:
            with open(path, "rb", buffering=0) as file:
                data = file.read()
        except FileNotFoundError:
            return None
        try:
            return decode(data, key)
        except Damaged as error:
            self._set_aside(Path(path), str(error))
            return None

    def _set_aside(self, path: Path, why: str) -> None:
        folder = self.root / "set_aside"
        with _writing(self.root):
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / path.name
            for n in range(1, 10_000):
                if not target.exists():
                    break
                target = folder / f"{path.stem}.{n}{path.suffix}"
            try:
                os.rename(path, target)
            except FileNotFoundError:
                return  # another process was faster
        _log.warning("record %s is damaged (%s): set aside as %s, to be run again", path.stem[:12], why, target)

    def _folder(self, folder: Path) -> None:
        """Make a folder that lasts: its entry in each parent is synced too."""
        if folder in self._made and folder.is_dir():
            return
        missing = []
        at = folder
        while not at.is_dir():
            missing.append(at)
            at = at.parent
        for made in reversed(missing):
            made.mkdir(exist_ok=True)
            _sync(made.parent)
        self._made.add(folder)

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)

    # -- locks and work folders ------------------------------------------------------------------------------

    def try_lock(self, key: str) -> Lock | None:
        """Lock a key, or None when another process (or another Store here) holds it."""
        return self._lock(key, wait=False)

    def lock(self, key: str) -> Lock:
        """Lock a key, waiting for whoever holds it. A context manager."""
        lock = self._lock(key, wait=True)
        assert lock is not None
        return lock

    def _lock(self, key: str, *, wait: bool) -> Lock | None:
        folder = self.root / "locks"
        path = folder / f"{key}.lock"
        while True:
            with _writing(self.root):
                if folder not in self._made:
                    folder.mkdir(parents=True, exist_ok=True)
                    self._made.add(folder)
                # Not inheritable (Python's default): a worker must not keep its dead driver's lock.
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(descriptor)
                return None
            try:
                same = os.stat(path).st_ino == os.fstat(descriptor).st_ino
            except FileNotFoundError:
                same = False
            if same:
                return Lock(path, descriptor)
            os.close(descriptor)

    def workdir(self, key: str) -> Path:
        """The private folder of an unfinished trial; it survives kills, so that a long trial can resume."""
        path = self.root / "work" / key[:2] / key
        with _writing(self.root):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def clear_workdir(self, key: str) -> None:
        """Remove the private folder of a trial that has its record."""
        path = self.root / "work" / key[:2] / key
        try:
            path.rmdir()  # most trials leave nothing
        except FileNotFoundError:
            return
        except OSError:
            shutil.rmtree(path, ignore_errors=True)

    # -- checkpoints -----------------------------------------------------------------------------------------

    def checkpoint(self, sha256: str) -> Path:
        """File of a kept checkpoint. Raises ``UserError`` when it is not in the cache."""
        path = self.root / "checkpoints" / sha256
        if not path.is_file():
            raise UserError(f"{path}: this checkpoint is not in the cache; run the trial that trains it again")
        return path

    def has_checkpoint(self, sha256: str) -> bool:
        """True when the checkpoint is in the cache."""
        return (self.root / "checkpoints" / sha256).is_file()

    def keep_checkpoint(self, file: Path, sha256: str | None = None) -> str:
        """Move a file into the cache under its content's hash, which is returned."""
        digest = file_sha256(file)
        if sha256 is not None and digest != sha256:
            raise ValueError(f"checkpoint {file} changed: {digest[:12]} is not {sha256[:12]}")
        target = self.root / "checkpoints" / digest
        with _writing(self.root):
            self._folder(target.parent)
            if not target.exists():
                temporary = target.with_name(f".{digest}.{os.getpid()}.tmp")
                try:
                    shutil.copyfile(file, temporary)
                    _sync(temporary)
                    os.replace(temporary, target)
                except BaseException:
                    temporary.unlink(missing_ok=True)
                    raise
                _sync(target.parent)
        file.unlink(missing_ok=True)
        return digest

    # -- studies ---------------------------------------------------------------------------------------------

    def study_path(self, slug: str, scale: str) -> Path:
        """File of a paper's study at a scale."""
        return self.root / "studies" / f"{slug}-{scale}.json"

    def study(self, slug: str, scale: str) -> Study | None:
        """The study that was planned, or None."""
        path = self.study_path(slug, scale)
        try:
            return Study.load(path)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is not a study file ({error}); move it away and run again") from error

    def put_study(self, study: Study) -> Path:
        """Write a study file, at once."""
        path = self.study_path(study.slug, study.scale)
        text = json.dumps(study.to_json(), indent=2, sort_keys=True) + "\n"
        with _writing(self.root):
            self._folder(path.parent)
            self._write(path, text.encode())
        return path

    def studies(self) -> list[Study]:
        """Every study file, by name."""
        paths = sorted((self.root / "studies").glob("*.json"))
        return [Study.load(path) for path in paths if not path.name.startswith(".")]

    # -- two stores ------------------------------------------------------------------------------------------

    def merge_from(self, other: Store) -> tuple[int, int]:
        """Take over records, checkpoints and studies of another store; (records taken, records left).

        A result wins over a failure, otherwise the record that is here stays. The other store is not changed.
        """
        taken = left = 0
        for record in other.records():
            with self.lock(record.key):
                mine = self.get(record.key)
                if mine is not None and (mine.done or not record.done):
                    left += 1
                    continue
                if record.checkpoint and other.has_checkpoint(record.checkpoint):
                    self._adopt(other.checkpoint(record.checkpoint))
                self.put(record)
                taken += 1
        for study in other.studies():
            if self.study(study.slug, study.scale) is None:
                self.put_study(study)
        return taken, left

    def _adopt(self, checkpoint: Path) -> None:
        copy = self.workdir(checkpoint.name) / checkpoint.name
        with _writing(self.root):
            shutil.copyfile(checkpoint, copy)
        self.keep_checkpoint(copy, checkpoint.name)
        self.clear_workdir(checkpoint.name)


def encode(record: Record) -> bytes:
    """The two lines of a record file."""
    line = canonical({**shallow(record), "spec": shallow(record.spec)}).encode()
    return line + b'\n{"sha256":"' + _sha256(line).encode() + b'"}\n'


def decode(data: bytes, key: str) -> Record:
    """Inverse of ``encode``. Raises ``Damaged`` when the file was cut, edited, or belongs to another key."""
    line, _, rest = data.partition(b"\n")
    if rest != b'{"sha256":"' + _sha256(line).encode() + b'"}\n':
        raise Damaged("its hash does not match" if rest else "it is cut short")
    try:
        value: dict[str, Any] = json.loads(line.decode())
        if value["key"] != key or (_spec_key(line) != key and _sha256(canonical(value["spec"]).encode()) != key):
            raise Damaged("its key is not that of its spec")
        return Record.from_json(value)
    except (ValueError, KeyError, TypeError) as error:
        raise error if isinstance(error, Damaged) else Damaged(f"it cannot be read: {error}") from error


def _spec_key(line: bytes) -> str:
    """The spec's key from its text in a canonical line, where it is easily found (else another hash)."""
    return _sha256(line[line.rfind(b',"spec":') + 8 : line.rfind(b',"status":')])


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
