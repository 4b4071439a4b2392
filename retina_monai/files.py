"""Files that are written whole or not at all, by one process at a time."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, ClassVar

from filelock import FileLock, Timeout

from retina_monai.errors import RetinaError

__all__ = [
    "FolderLock",
    "append_line",
    "check_folder",
    "make_folder",
    "make_partial",
    "replacing",
    "write_json",
    "write_text",
]

logger = logging.getLogger("retina_monai")
PATIENCE = 0.05  # seconds, since whoever just released removes the file first
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class FolderLock:
    """The right to write to a folder: of one process at a time, until it is released or the process ends.

    A lock on the file ``.lock`` in the folder (``filelock``), which the system gives up with its process, so that a
    crash blocks nobody. Across machines it holds as far as the file system supports locks: NFS with its lock service
    does. Where the file system has none, a warning is logged and nothing is refused. Child processes do not hold it.

    Args:
        folder: made if need be.

    Raises:
        RetinaError: another process writes to the folder, or it cannot be written.
    """

    _held: ClassVar[dict[str, FileLock]] = {}

    def __init__(self, folder: str | Path) -> None:
        self.path = make_folder(folder).resolve() / ".lock"
        if str(self.path) in self._held:  # of an engine of this process, which an error ended
            return
        lock = FileLock(self.path, thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire(timeout=PATIENCE, poll_interval=PATIENCE / 5)
        except Timeout as error:
            raise RetinaError(
                f"another process is writing to {folder}: wait until it ends, or give another --output_dir"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise RetinaError(_refusal(folder, error)) from error
            logger.warning("%s: this file system has no locks, so keep other processes away from it", self.path.parent)
        self._held[str(self.path)] = lock

    def release(self) -> None:
        """Let others write; a second call does nothing."""
        lock = self._held.pop(str(self.path), None)
        if lock is not None:
            with suppress(PermissionError):  # Windows removes no open file
                self.path.unlink(missing_ok=True)
            lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=FolderLock._held.clear)


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of ``path`` when the block ends well and vanishes when it does not.

    Raises:
        RetinaError: ``path`` cannot be written.
    """
    path = Path(path)
    partial = path.parent / f".{path.name}.{token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            yield file
        os.replace(partial, path)
    except OSError as error:
        raise RetinaError(_refusal(path, error)) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def make_partial(folder: Path) -> Path:
    """Make a hidden folder beside ``folder``, to be filled and then renamed to it.

    Raises:
        OSError: it cannot be made.
    """
    partial = folder.parent / f".{folder.name}.{token_hex(4)}"
    partial.mkdir()
    return partial


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8.

    Raises:
        RetinaError: ``path`` cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON; NaN becomes null.

    Raises:
        RetinaError: ``path`` cannot be written.
        ValueError: an infinite number, which JSON has no word for.
    """
    write_text(path, json.dumps(_without_nan(value), indent=4, allow_nan=False) + "\n")


def append_line(path: str | Path, line: str) -> None:
    """Add a line to a text file in UTF-8: all of it, or nothing.

    Raises:
        RetinaError: ``path`` cannot be written.
    """
    try:
        with open(path, "ab", buffering=0) as file:  # a buffer would be written once more when the file is closed
            size, rest = file.tell(), f"{line}\n".encode()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise RetinaError(_refusal(path, error)) from error


def check_folder(path: str | Path) -> None:
    """Refuse a folder that cannot be made, or not be written to, before the work whose results go there; makes none.

    Raises:
        RetinaError: it is such a folder.
    """
    folder = Path(path).absolute()
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        code = errno.EEXIST if there == folder else errno.ENOTDIR
    elif not os.access(there, os.W_OK | os.X_OK):
        code = errno.EACCES
    else:
        return
    raise RetinaError(f"{path} cannot be made ({os.strerror(code)}); choose another place")


def make_folder(path: str | Path) -> Path:
    """Make a folder, and those above it, unless it is there.

    Raises:
        RetinaError: it cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RetinaError(f"{path} cannot be made ({error.strerror or error}); choose another place") from error
    return Path(path)


def _refusal(path: str | Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path} cannot be written ({error.strerror}): free some, or choose another place"
    return f"{path} cannot be written ({error.strerror or error}); choose another place"


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
