"""What a clone promises before anything is trained: consistent requirements, a light import, scripts that behave."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
SCRIPTS = [*(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("scripts/*.sh"))), ".ci/run"]
SOURCED = "scripts/release_functions.sh"
MAX_BYTES = 25 * 1024 * 1024
MACHINE_PATH = re.compile(rb"(?<![\w./\-}])/(?:work|root|home/\w+|Users/\w+|opt/\w+)/|\bfile:///")


def ranges(lines: list[str]) -> dict[str, SpecifierSet]:
    requirements = map(Requirement, lines)
    return {canonicalize_name(requirement.name): requirement.specifier for requirement in requirements}


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(one.name): Version(str(one.specifier).removeprefix("==")) for one in pinned}


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120, check=False)


def repository_files() -> list[Path]:
    if shutil.which("git") is None:
        pytest.skip("git is not installed: the repository's list of files is not known")
    listing = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listing.returncode != 0:
        pytest.skip("not a git repository: its list of files is not known")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_conda_environment_equals_pyproject() -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    options = [line for line in pip if line.startswith("-")]

    assert ranges([line for line in pip if line not in options]) == ranges(PROJECT["dependencies"] + EXTRAS["test"])
    assert options == ["-c constraints.txt", "-e ."]
    assert Requirement(dependencies[0]) == Requirement(f"python{PROJECT['requires-python']}")


@pytest.mark.parametrize("group", ["dependencies", "fid", "test", "dev"])
def test_tested_versions_lie_in_the_accepted_ranges(group: str) -> None:
    tested = pins()
    for name, accepted in ranges(PROJECT["dependencies"] if group == "dependencies" else EXTRAS[group]).items():
        assert tested[name] in accepted, f"constraints.txt has {name} {tested[name]}, pyproject.toml {accepted}"


def test_constraints_are_exact_public_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wrong = [line for line in lines if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+(; .+)?", line)]
    assert wrong == []


def test_every_import_of_the_library_is_declared() -> None:
    providers = importlib.metadata.packages_distributions()
    declared = set(ranges(PROJECT["dependencies"]))
    for path in sorted((ROOT / "retina_monai").rglob("*.py")):
        if "deploy" in path.relative_to(ROOT).parts:
            continue
        for module in imported_modules(path) - set(sys.stdlib_module_names) - {"retina_monai"}:
            names = {canonicalize_name(name) for name in [module, *providers.get(module, [])]}
            assert names & declared, f"{path.relative_to(ROOT)} imports {module}, which pyproject.toml does not require"


def imported_modules(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    members = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in plain | members}


def test_importing_the_package_is_light() -> None:
    code = "import sys, retina_monai; print(sorted({'torch', 'monai', 'ignite', 'mlflow', 'itk'} & set(sys.modules)))"
    result = run(sys.executable, "-c", code)
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr


def test_no_file_of_the_repository_is_too_big() -> None:
    big = [str(path.relative_to(ROOT)) for path in repository_files() if path.stat().st_size > MAX_BYTES]
    assert big == []


def test_no_file_of_the_repository_names_a_path_of_one_machine() -> None:
    found = {str(path.relative_to(ROOT)): MACHINE_PATH.findall(path.read_bytes()) for path in repository_files()}
    assert {name: hits for name, hits in found.items() if hits} == {}


@pytest.mark.parametrize(
    ("text", "is_machine_path"),
    [
        (b"/" + b"work/main/runs", True),  # in two parts, or the test above finds them here
        (b"open('/" + b"home/ada/eyes.png')", True),
        (b"file:" + b"///wheels/torch.whl", True),
        (b"../shared/data", False),
        (b"https://example.org/" + b"home/ada/index.html", False),
        (b"runs/" + b"work/model.pt", False),
    ],
)
def test_what_counts_as_a_path_of_one_machine(text: bytes, is_machine_path: bool) -> None:
    assert bool(MACHINE_PATH.search(text)) is is_machine_path


@pytest.mark.parametrize("licence", sorted(ROOT.glob("bundles/*/LICENSE")), ids=lambda path: path.parent.name)
def test_every_bundle_carries_the_licence(licence: Path) -> None:
    assert licence.read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script != SOURCED])
def test_scripts_are_executable(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_pass_shellcheck(script: str) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    result = run("shellcheck", "--external-sources", "--source-path", "SCRIPTDIR", ROOT / script)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dataset_dir", "no such place"], "quickstart: no such directory: no such place (--dataset_dir)."),
        (["--epochs=few"], "quickstart: --epochs must be a positive integer, got few."),
        (["--output_dir"], "quickstart: --output_dir needs a value."),
        (["--minutes", "3"], "quickstart: unknown option --minutes: see scripts/quickstart.sh --help."),
    ],
)
def test_quickstart_refuses_wrong_options_at_once(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    environment = tmp_path / "environment"
    result = run(ROOT / "scripts/quickstart.sh", *arguments, RETINA_VENV=str(environment))

    assert (result.returncode, result.stderr.splitlines()) == (2, [sentence])
    assert not environment.exists()


def test_setup_refuses_an_environment_of_another_python_and_leaves_it_alone(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho 3.12\n", encoding="utf-8")
    python.chmod(0o755)
    result = run(ROOT / "scripts/setup.sh", RETINA_VENV=str(tmp_path))

    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"setup: {tmp_path} has Python 3.12, but 3.11 is needed: set RETINA_VENV to another directory."
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [python]
