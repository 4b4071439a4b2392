from __future__ import annotations

import ast
import gc
import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import retina_monai
from retina_monai.data import write_phantoms
from retina_monai.errors import RetinaError
from retina_monai.files import FolderLock, append_line, make_folder, make_partial, replacing, write_json, write_text


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "datalist.json", {"training": [{"image": "images/ü.png"}]})
    assert json.loads((tmp_path / "datalist.json").read_text()) == {"training": [{"image": "images/ü.png"}]}


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "datalist.json"
    write_json(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half of the ne")
        raise KeyboardInterrupt
    assert [path] == list(tmp_path.iterdir())
    assert json.loads(path.read_text()) == "old"


def test_what_is_written_has_the_permissions_of_any_other_file(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_json(tmp_path / "ours.json", {})
        (tmp_path / "other.json").touch()
    finally:
        os.umask(mask)
    assert (tmp_path / "ours.json").stat().st_mode == (tmp_path / "other.json").stat().st_mode


def test_writing_does_not_change_the_permissions_of_what_other_threads_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mask can only be read by setting it, and it is one for the whole process."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail(f"umask is set to {mask:o}"))
    write_text(tmp_path / "table.md", "text")
    write_phantoms(tmp_path / "phantoms", 3, 32, 0)


def test_a_folder_that_is_renamed_when_it_is_full_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        made = make_partial(tmp_path / "set")
        (tmp_path / "other").mkdir()
    finally:
        os.umask(mask)
    assert made.parent == tmp_path and made.name.startswith(".set.")
    assert made.stat().st_mode == (tmp_path / "other").stat().st_mode


WITHOUT_POSIX = """
import os, sys
import filelock
sys.modules["fcntl"] = None
del os.register_at_fork
from retina_monai.files import FolderLock
FolderLock(sys.argv[1]).release()
"""
POSIX_ALONE = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios"}


def test_folders_are_claimed_without_what_posix_alone_has(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_POSIX, str(tmp_path / "run")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_no_module_needs_what_posix_alone_has() -> None:
    for path in sorted(Path(retina_monai.__file__).parent.rglob("*.py")):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import)]
        names = {alias.name for node in imports for alias in node.names}
        assert not names & POSIX_ALONE, path


def test_json_has_null_for_nan_and_no_word_for_infinity(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_json(path, {"rows": [{"low": math.nan, "mean": 1.5}]})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {"rows": [{"low": None, "mean": 1.5}]}
    with pytest.raises(ValueError):
        write_json(path, {"psnr": math.inf})
    assert "rows" in json.loads(path.read_text())


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "table.md", "old")

    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RetinaError, match=r"table.md cannot be written \(No space left on device\)"):
        write_text(tmp_path / "table.md", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"]
    assert (tmp_path / "table.md").read_text() == "old"


def test_a_full_disk_is_told_from_a_forbidden_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, advice in (
        (28, r"\(No space left on device\): free some space, or choose"),
        (13, r"denied\); choose another"),
    ):

        def refuse(*paths: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "replace", refuse)
        with pytest.raises(RetinaError, match=advice):
            write_text(tmp_path / "table.md", "new")


def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path) -> None:
    """A real failure: the system lets no file grow beyond a limit, as on a full disk."""
    path = tmp_path / "manifest.jsonl"
    append_line(path, "ü" * 10)
    append_line(path, "two")
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    assert before.decode() == "ü" * 10 + "\ntwo\n"
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(RetinaError, match=f"{path} cannot be written"):
            append_line(path, "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before


TAKE = """
import os, sys
from retina_monai.errors import RetinaError
from retina_monai.files import FolderLock
try:
    FolderLock(sys.argv[1])
except RetinaError as error:
    print(error)
else:
    print("taken")
    os._exit(9)  # as a crash, which releases nothing
"""


def take(folder: Path) -> str:
    """What another process gets that wants to write to the folder."""
    result = subprocess.run([sys.executable, "-c", TAKE, str(folder)], capture_output=True, text=True, timeout=60)
    return result.stdout.strip() or result.stderr


def test_one_process_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "run")
    assert take(tmp_path / "run") == (
        f"another process is writing to {tmp_path / 'run'}: wait until it ends, or give another --output_dir"
    )
    assert take(tmp_path / "other") == "taken"
    lock.release()
    lock.release()
    assert not (tmp_path / "run" / ".lock").exists()
    assert take(tmp_path / "run") == "taken"


def test_a_process_that_crashed_blocks_nobody(tmp_path: Path) -> None:
    assert take(tmp_path) == "taken"
    assert (tmp_path / ".lock").exists()
    FolderLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_an_error_left_is_taken_up_by_its_own_process(tmp_path: Path) -> None:
    left = FolderLock(tmp_path)
    again = FolderLock(tmp_path)
    assert "another process" in take(tmp_path)
    again.release()
    assert take(tmp_path) == "taken"
    left.release()


def test_a_child_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    """As a worker of a data loader may, for some seconds, when its training is killed."""
    code = f"""
import os, time
from retina_monai.files import FolderLock
lock = FolderLock({str(tmp_path)!r})
if os.fork() == 0:
    lock.release()
    time.sleep(20)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, timeout=60, check=True)
    assert (tmp_path / ".lock").exists(), "the child releases what is its own, which is nothing"
    FolderLock(tmp_path).release()


def test_a_child_that_ends_takes_nothing_from_its_parent(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    child = os.fork()
    if child == 0:
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert "another process" in take(tmp_path)
    lock.release()


def test_without_locks_of_the_file_system_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unknown(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unknown)
    FolderLock(tmp_path).release()
    assert f"{tmp_path}: this file system has no locks, so do not run other processes in it" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(RetinaError, match="file/folder cannot be made"):
        make_folder(tmp_path / "file" / "folder")
