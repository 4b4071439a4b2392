"""The fuzzer runs, finds nothing in the parsers, and does find what is there: a planted fault."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5_000
PLANTED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import fuzz

def careless(path):
    try:
        fuzz.check_datalist(path)
    except fuzz.RetinaError as error:
        if "grade is" in str(error):
            raise KeyError("grade") from error
        raise

fuzz.TARGETS["datalist"] = fuzz.Target("datalist.json", careless, fuzz.datalist_seeds, fuzz.mutate_json)
sys.exit(fuzz.main())
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None,
        reason="atheris is not installed (extra dev; Linux on x86-64 alone)",
    ),
]


def run(*arguments: str | Path, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=300, check=False
    )


@pytest.mark.parametrize("target", ["datalist", "manifest", "table"])
def test_nothing_but_sentences_comes_out_of_a_parser(tmp_path: Path, environment: dict[str, str], target: str) -> None:
    script = ROOT / "scripts" / "fuzz.py"
    done = run(script, "--target", target, "--runs", str(RUNS), folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {RUNS} runs" in done.stderr and not list(tmp_path.iterdir())


def test_a_planted_fault_is_found_and_its_input_kept(tmp_path: Path, environment: dict[str, str]) -> None:
    script = [ROOT / "scripts", "--target", "datalist"]
    done = run("-c", PLANTED, *script, "--runs", str(4 * RUNS), folder=tmp_path, environment=environment)
    assert done.returncode != 0 and "KeyError: 'grade'" in done.stdout + done.stderr
    (crash,) = tmp_path.glob("crash-*")
    again = run("-c", PLANTED, *script, "--input", crash, folder=tmp_path, environment=environment)
    assert again.returncode == 1 and "KeyError: 'grade'" in again.stderr
