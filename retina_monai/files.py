"""Write files atomically, and lock folders against concurrent writers."""

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
PATIENCE = 0.05  # seconds to wait, since a process that releases the lock removes the file first
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class FolderLock:
    """Exclusive lock for writing to a folder, held until it is released or the process ends.

    The lock is on the file ``.lock`` in the folder (``filelock``). The operating system releases it with the process,
    so a crash does not block the folder. It works across machines if the file system supports locks, as NFS does with
    its lock service. If the file system has no locks, a warning is logged and no error is raised. Child processes do
    not hold the lock.

    Args:
        folder: folder to lock, created if it does not exist.

    Raises:
        RetinaError: if another process writes to the folder, or it cannot be written.
    """

    _held: ClassVar[dict[str, FileLock]] = {}

    def __init__(self, folder: str | Path) -> None:
        self.path = make_folder(folder).resolve() / ".lock"
        if str(self.path) in self._held:  # left by an engine of this process that failed
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
            logger.warning("%s: this file system has no locks, so do not run other processes in it", self.path.parent)
        self._held[str(self.path)] = lock

    def release(self) -> None:
        """Release the lock. A second call does nothing."""
        lock = self._held.pop(str(self.path), None)
        if lock is not None:
            with suppress(PermissionError):  # Windows does not remove open files
                self.path.unlink(missing_ok=True)
            lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=FolderLock._held.clear)


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Context of a temporary file that replaces ``path`` if the block succeeds, and is removed otherwise.

    Raises:
        RetinaError: if ``path`` cannot be written.
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
    """Create a hidden folder beside ``folder``, to be filled and then renamed to it.

    Raises:
        OSError: if it cannot be created.
    """
    partial = folder.parent / f".{folder.name}.{token_hex(4)}"
    partial.mkdir()
    return partial


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8.

    Raises:
        RetinaError: if ``path`` cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON. NaN becomes null.

    Raises:
        RetinaError: if ``path`` cannot be written.
        ValueError: if a number is infinite, which JSON does not allow.
    """
    write_text(path, json.dumps(_without_nan(value), indent=4, allow_nan=False) + "\n")


def append_line(path: str | Path, line: str) -> None:
    """Append a line to a text file in UTF-8, completely or not at all.

    Raises:
        RetinaError: if ``path`` cannot be written.
    """
    try:
        with open(path, "ab", buffering=0) as file:  # a buffer would be flushed again on closing
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
    """Check that a folder can be created and written, without creating it.

    Raises:
        RetinaError: if it cannot.
    """
    folder = Path(path).absolute()
    existing = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not existing.is_dir():
        code = errno.EEXIST if existing == folder else errno.ENOTDIR
    elif not os.access(existing, os.W_OK | os.X_OK):
        code = errno.EACCES
    else:
        return
    raise RetinaError(f"{path} cannot be made ({os.strerror(code)}); choose another place")


def make_folder(path: str | Path) -> Path:
    """Create a folder and its parents unless they exist.

    Raises:
        RetinaError: if the folder cannot be created.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RetinaError(f"{path} cannot be made ({error.strerror or error}); choose another place") from error
    return Path(path)


def _refusal(path: str | Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path} cannot be written ({error.strerror}): free some space, or choose another place"
    return f"{path} cannot be written ({error.strerror or error}); choose another place"


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
