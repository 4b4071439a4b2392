"""The comparison of direct and two-stage synthesis: its page says what the reports hold, for any number of methods."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retina_monai.data import find_datalist
from retina_monai.errors import RetinaError
from retina_monai.evaluation.families.image.images import AS_IS, MATCHED, OTHER

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "docs" / "two_stage"
DATASETS = ("CHASE_DB1", "HRF", "FIVES")
PARTS = ("methods", "running", "showing", "figures", "tables", "words", "page")


@pytest.fixture(scope="module")
def comparison() -> Iterator[SimpleNamespace]:
    sys.path.insert(0, str(ROOT / "scripts"))
    parts: dict[str, ModuleType] = {name: importlib.import_module(f"comparison.{name}") for name in PARTS}
    yield SimpleNamespace(**parts, main=importlib.import_module("comparison.__main__").main)
    sys.path.remove(str(ROOT / "scripts"))


# Reports made by hand: what a method finds is `score`, real photographs 0.75.


def interval(mean: float, reach: float = 0.01) -> dict[str, Any]:
    return {"mean": mean, "low": mean - reach, "high": mean + reach, "N": 6, "groups": 3}


def agreement(generated: float, real: float) -> dict[str, Any]:
    return {"generated": interval(generated), "real": interval(real), "difference": interval(generated - real)}


def painted_report(dataset: str, score: float) -> dict[str, Any]:
    vessel = {
        "dice": agreement(score, 0.75),
        "cldice": agreement(score + 0.02, 0.75),
        "betti_0_error": agreement(100 * (1 - score), 25),
        "betti_1_error": agreement(4, 4),
    }
    line = {"branches": 20, "shown": 1.0, "gone": 0.95, "nothing_else": score, "passed": score, "shown_in_real": 0.85}
    branches = {name: line | {"low": score - 0.1, "high": score + 0.1} for name in ("all", "thin", "medium")}
    likeness = {"psnr": interval(30 * score, 0.5), "ssim": interval(score)}
    spectrum = {"lowest": 0.5, "highest": 1.5}
    return {
        "image": {
            "by_dataset": {dataset: dict.fromkeys((AS_IS, MATCHED, OTHER), likeness)},
            "spectrum": {dataset: {MATCHED: {**spectrum, "within": score}, OTHER: {**spectrum, "within": 0.875}}},
        },
        "faithfulness": {"judge": "the judge", "agreement": {"vessel": {dataset: vessel}}, "branches": branches},
    }


def warped_report(score: float) -> dict[str, Any]:
    near = {"precision": 0.9, "recall": score}
    extractor = {
        "kid": {"value": 1 - score, "standard_error": 0.02, "ratio": 2.04, "N": 14, "of": 54},
        "floor": {"kid": 0.049, "N": 14},
        "manifold_at_the_floors_N": near,
        "manifold_floor": near | {"recall": 0.96},
    }
    arms = {"synthetic": score - 0.1, "real": 0.7, "real + synthetic": 0.71}
    learned = {"arms": {arm: {"dice": interval(dice)} for arm, dice in arms.items()}}
    learned["real_minus_synthetic"] = interval(0.8 - score)
    return {"distribution": {"extractors": {"encoder": extractor}}, "usefulness": {"results": {"U-Net": learned}}}


def write(folder: Path, score: float, weights: str = "abc") -> None:
    folder.mkdir(parents=True)
    for dataset in DATASETS:
        for kind, families in (("test", painted_report(dataset, score)), ("warped", warped_report(score))):
            sections = {name: {"figures": figures} for name, figures in families.items()}
            compared = {"synthetic": {"generator": {"weights": weights}}, "real": {"splits": {"training": 11}}}
            text = json.dumps({"compared": compared, "sections": sections})
            (folder / f"{kind}_{dataset}.json").write_text(text)
    training = {"bundle": "pix2pix_vessel", "data": "training eyes", "epochs": 9, "minutes": 12.4, "finished": True}
    (folder / "minutes.json").write_text(
        json.dumps({"first": training, "second": training | {"data": "phantoms", "options": {"val_interval": 3}}})
    )
    (folder / "seconds.json").write_text(json.dumps({"seconds": [0.1, 0.3, 0.2]}))


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    write(tmp_path / "two_stage", 0.90)
    write(tmp_path / "direct", 0.80)
    return tmp_path


def rows(page: str, heading: str) -> list[str]:
    """Lines of the table below a heading."""
    section = page.partition(f"## {heading}")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


def test_the_tables_hold_what_the_reports_say(comparison: SimpleNamespace, reports: Path) -> None:
    page = comparison.page.page(reports)
    assert rows(page, "Are the vessels")[:3] == [
        "| CHASE_DB1, 6 | two-stage | 0.900 (0.890 to 0.910) | 0.920 (0.910 to 0.930) "
        "| 10.0 (10.0 to 10.0) | 4.0 (4.0 to 4.0) |",
        "| CHASE_DB1, 6 | direct pix2pix | 0.800 (0.790 to 0.810) | 0.820 (0.810 to 0.830) "
        "| 20.0 (20.0 to 20.0) | 4.0 (4.0 to 4.0) |",
        "| CHASE_DB1 | real photographs | 0.750 (0.740 to 0.760) | 0.750 (0.740 to 0.760) "
        "| 25.0 (25.0 to 25.0) | 4.0 (4.0 to 4.0) |",
    ]
    assert rows(page, "Does a branch")[3:6:2] == [
        "| HRF | two-stage | 20 | 100% | 95% | 90% | 90% (80% to 100%) | 90% | 90% |  |",
        "| HRF | real photographs |  | 85% |  |  |  |  |  |  |",
    ]
    assert rows(page, "Do the photographs look")[1:3] == [
        "| CHASE_DB1, 54 | direct pix2pix | 14 | 0.200 (0.020) | 2.0 | 0.90 | 0.80 |",
        "| CHASE_DB1 | real photographs | 14 | 0.049 | 1 | 0.90 | 0.96 |",
    ]
    assert rows(page, "Do they have detail")[1:3] == [
        "| CHASE_DB1 | direct pix2pix | 80% | 0.50 | 1.50 |",
        "| CHASE_DB1 | another real eye | 88% | 0.50 | 1.50 |",
    ]
    assert rows(page, "Are they like")[0].startswith(
        "| CHASE_DB1, 6 | two-stage | 0.900 (0.890 to 0.910) | 27.0 (26.5 to 27.5) |"
    )
    assert rows(page, "Are they of use")[-1] == (
        "| FIVES, 6 | direct pix2pix | U-Net | 0.700 (0.690 to 0.710) | 0.700 (0.690 to 0.710) "
        "| 0.710 (0.700 to 0.720) | 0.000 (-0.010 to 0.010) |"
    )
    assert rows(page, "How it was done") == [
        f"| {title} | {cells} |"
        for method in ("two-stage", "direct pix2pix")
        for title, cells in (
            (method, "pix2pix_vessel | training eyes | 9 | 1 | 12 | "),
            (method, "pix2pix_vessel | phantoms | 9 | 3 | 12 | "),
            (f"**{method}**", " |  |  |  | **25** | **0.20**"),
        )
    ]
    assert "the 33 training eyes of" in page and "`scripts/release_pix2pix_vessel.sh` trained `pix2pix_vessel`" in page
    assert all(len({line.count("|") for line in rows(page, name)}) == 1 for name in ("Does", "What came"))


def test_what_came_out_is_said_of_the_figures(comparison: SimpleNamespace, reports: Path) -> None:
    page = comparison.page.page(reports)
    lines = {line.split(" | ")[0]: line for line in rows(page, "What came out")}
    assert " | two-stage 0.900 ≫ direct pix2pix 0.800 | " in lines["| Dice (more is better)"]
    assert " | two-stage 10.0 ≫ direct pix2pix 20.0 | " in lines["| Betti 0 error (less is better)"]
    assert " | two-stage 4.0 = direct pix2pix 4.0 | " in lines["| Betti 1 error (less is better)"]
    assert " | two-stage 90% > direct pix2pix 80% | " in lines["| branches that go alone (more is better)"]
    assert " | two-stage 0.100 ≫ direct pix2pix 0.200 | " in lines["| KID (less is better)"]
    assert " | two-stage 90% > direct pix2pix 80% | " in lines["| spectrum rings within 25 % (more is better)"]
    assert len(lines) == 10
    assert (
        "Of 30 comparisons, two-stage is ahead in 27, in 21 of them beyond the intervals; direct pix2pix is ahead in 0"
    ) in page
    everywhere = "on CHASE_DB1, HRF and FIVES"
    assert f"- Dice: two-stage better {everywhere}; direct pix2pix better {everywhere}." in page
    assert f"- Betti 1 error: two-stage no clear difference {everywhere}; direct" in page


def test_the_claim_may_fail(comparison: SimpleNamespace, tmp_path: Path) -> None:
    write(tmp_path / "two_stage", 0.70)
    write(tmp_path / "direct", 0.78)
    page = comparison.page.page(tmp_path)
    assert "two-stage is ahead in 0, in 0 of them beyond the intervals; direct pix2pix is ahead in 27" in page
    assert "- Dice: two-stage worse on CHASE_DB1, HRF and FIVES; direct pix2pix better on" in page
    assert " | direct pix2pix 0.780 ≫ two-stage 0.700 | " in page


def test_a_third_method_joins_by_an_entry(
    comparison: SimpleNamespace, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = comparison.page.page(reports)
    third = comparison.methods.METHODS["direct"]._replace(title="diffusion", about="`ddpm_vessel` does so in steps.")
    monkeypatch.setitem(comparison.methods.METHODS, "diffusion", third)
    assert comparison.page.page(reports) == before  # it has no reports yet
    write(reports / "diffusion", 0.85)
    page = comparison.page.page(reports)
    assert " | two-stage 0.900 ≫ diffusion 0.850 ≫ direct pix2pix 0.800 | " in page
    assert "- **diffusion**: `ddpm_vessel` does so in steps.\n" in page
    headings = (
        "Are the vessels",
        "Does a branch",
        "Do the photographs",
        "Do they have",
        "Are they like",
        "Are they of",
    )
    for heading in headings:
        lines = rows(page, heading)
        assert sum("| diffusion |" in line for line in lines) == 3
        assert len(lines) == len(rows(before, heading)) + 3


def test_methods_of_another_size_stand_apart(
    comparison: SimpleNamespace, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = comparison.page.page(reports)
    for name, title, score in (("two_stage_128", "two-stage", 0.6), ("diffusion_128", "diffusion", 0.7)):
        smaller = comparison.methods.METHODS["two_stage"]._replace(title=title, size=128)
        monkeypatch.setitem(comparison.methods.METHODS, name, smaller)
        write(reports / name, score)
    page = comparison.page.page(reports)
    assert "images/two_stage_128.png" in page and "images/two_stage_256.png" in page
    assert before.count("At 256 px:") == page.count("At 256 px:") == page.count("At 128 px:") == 8
    assert " | diffusion 0.700 ≫ two-stage 0.600 | " in page
    assert " | two-stage 0.900 ≫ direct pix2pix 0.800 | " in page, "of one size only"
    assert page.count("- **two-stage**: ") == 1
    smaller, _, larger = (
        page.partition("## Are the vessels")[2].partition("## Does a branch")[0].partition("At 256 px:")
    )
    assert "diffusion" in smaller and "diffusion" not in larger


def test_the_conclusion_is_left_as_it_is_written(comparison: SimpleNamespace, reports: Path) -> None:
    assert comparison.page.page(reports).endswith("## Conclusion\n\nNot drawn yet.\n")
    (reports / "conclusion.md").write_text("It holds on {no} set.\n\nNowhere.\n")
    assert comparison.page.page(reports).endswith("## Conclusion\n\nIt holds on {no} set.\n\nNowhere.\n")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "direct" / "test_HRF.json").unlink(), "test_HRF.json is missing or broken"),
        (lambda folder: (folder / "direct" / "seconds.json").write_text("{"), "seconds.json is missing or broken"),
        (lambda folder: [shutil.rmtree(path) for path in folder.iterdir()], "has no reports"),
    ],
)
def test_what_is_missing_is_said(
    comparison: SimpleNamespace, reports: Path, spoil: Callable[[Path], Any], words: str
) -> None:
    spoil(reports)
    with pytest.raises(RetinaError, match=f"{words}.*make (it|them) with scripts/two_stage.sh"):
        comparison.page.page(reports)


def test_reports_of_different_weights_or_without_the_generator_are_refused(
    comparison: SimpleNamespace, reports: Path
) -> None:
    path = reports / "direct" / "test_HRF.json"
    text = path.read_text()
    path.write_text(text.replace('"abc"', '"def"'))
    with pytest.raises(RetinaError, match="direct has reports of different weights"):
        comparison.page.page(reports)
    content = json.loads(text)
    content["sections"]["faithfulness"]["figures"]["branches"] = {}
    path.write_text(json.dumps(content))
    with pytest.raises(RetinaError, match="test_HRF has no sensitivity test"):
        comparison.page.page(reports)


def test_the_page_is_that_of_its_reports(comparison: SimpleNamespace) -> None:
    if not any(REPORTS.glob("*/test_*.json")):
        pytest.skip(f"{REPORTS} has no reports yet: scripts/two_stage.sh makes them")
    assert (ROOT / "docs" / "two_stage.md").read_text(encoding="utf-8") == comparison.page.page(REPORTS)
    for name in comparison.figures.read_results(REPORTS):
        size = comparison.methods.METHODS[name].size
        assert (ROOT / "docs" / "images" / f"two_stage_{size}.png").is_file()
    for path in REPORTS.glob("*/*_*.json"):
        text = path.read_text(encoding="utf-8")
        generator = json.loads(text)["compared"]["synthetic"]["generator"]
        made_from = ("test", 0) if path.name.startswith("test") else ("training", 3)
        assert (generator["split"], generator["augment"]) == made_from
        assert '"/' not in text


# The command.


class Runs(list[tuple[list[str], Path]]):
    """Stands for ``subprocess.run``: keeps what is asked for, and fails where it is told to."""

    fails: str = ""
    writes: Callable[[list[str]], None] = staticmethod(lambda command: None)

    def __call__(self, command: list[str], cwd: Path, check: bool) -> SimpleNamespace:
        self.append((command[2:], cwd))
        self.writes(command)
        return SimpleNamespace(returncode=int(bool(self.fails) and self.fails in " ".join(command)))


@pytest.fixture
def runs(comparison: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Runs:
    found = Runs()
    monkeypatch.setattr(comparison.running.subprocess, "run", found)
    return found


def options(command: list[str]) -> dict[str, str]:
    start = next(place for place, word in enumerate(command) if word.startswith("--"))
    return {
        key.removeprefix("--"): value for key, value in zip(command[start::2], command[start + 1 :: 2], strict=True)
    }


def test_every_method_can_be_trained_and_released(comparison: SimpleNamespace) -> None:
    for method in comparison.methods.METHODS.values():
        earlier: list[str] = []
        for name, training in method.trainings.items():
            config = json.loads((ROOT / "bundles" / training.bundle / "configs" / "train.json").read_text())
            unknown = {*training.options, *training.weights, "max_epochs", "val_interval", "cache_dir"} - set(config)
            assert not unknown
            assert set(training.weights.values()) <= set(earlier)
            assert training.data in (comparison.methods.EYES, comparison.methods.PHANTOMS)
            earlier.append(name)
        assert {method.trainings[name].bundle: name for name in method.released.values()} == method.released


def test_trainings_run_in_their_order_with_the_weights_of_earlier_ones(
    comparison: SimpleNamespace, runs: Runs, tmp_path: Path
) -> None:
    method = comparison.methods.METHODS["two_stage"]
    comparison.running.train(method, Path("DATA"), tmp_path, tmp_path / "two_stage")
    values = [options(command) for command, _ in runs]
    folders = [tmp_path / "two_stage" / name for name in ("color", "lama_phantoms", "lama")]
    assert [Path(value["output_dir"]) for value in values] == folders
    assert values[0]["dataset_dir"] == "['DATA/CHASE_DB1', 'DATA/HRF', 'DATA/FIVES']" == values[2]["dataset_dir"]
    assert values[1]["dataset_dir"] == str(tmp_path / "phantoms")
    assert (values[1]["generated_share"], values[1]["linear_decay"]) == ("0", "False")
    assert values[2]["color_vessel_weights"] == str(folders[0] / "model.pt")
    assert values[2]["initial_weights"] == str(folders[1] / "model.pt")
    assert [value["val_interval"] for value in values] == ["5", values[1]["max_epochs"], "17"]
    assert {value["resume"] for value in values} == {"False"}
    minutes = comparison.running.read_minutes(tmp_path / "two_stage")
    assert list(minutes) == ["color", "lama_phantoms", "lama"]
    assert minutes["color"]["bundle"] == "pix2pix_color_vessel" and minutes["color"]["data"] == "training eyes"
    assert all(record["finished"] and record["epochs"] > 0 for record in minutes.values())
    comparison.running.train(method, Path("DATA"), tmp_path, tmp_path / "two_stage")
    assert len(runs) == 3  # all were finished


def test_what_was_trained_with_other_settings_is_not_taken(comparison: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "two_stage"
    folder.mkdir()
    method = comparison.methods.METHODS["two_stage"]
    training = method.trainings["color"]
    record = {"bundle": training.bundle, "data": training.data, "epochs": training.epochs + 1, "weights": {}}
    record |= {"options": dict(training.options), "minutes": 3.0, "finished": True}
    (folder / "minutes.json").write_text(json.dumps({"color": record}))
    with pytest.raises(RetinaError, match=r"color was trained with other settings: remove .*two_stage to train again"):
        comparison.running.train(method, tmp_path, tmp_path, folder)


def test_an_interrupted_training_resumes_and_its_minutes_add_up(
    comparison: SimpleNamespace, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, folder = comparison.methods.METHODS["two_stage"], tmp_path / "two_stage"
    clock = iter([0.0, 2.5, 10.0, 11.5, 20.0, 24.0, 30.0, 35.0])
    monkeypatch.setattr(comparison.running, "processor_minutes", lambda: next(clock))
    runs.fails = "two_stage/color"
    with pytest.raises(RetinaError, match="training color failed: fix the error above"):
        comparison.running.train(method, Path("DATA"), tmp_path, folder)
    assert not comparison.running.read_minutes(folder)["color"]["finished"]
    (folder / "color" / "checkpoints").mkdir(parents=True)
    (folder / "color" / "checkpoints" / "epoch_1.pt").touch()
    runs.fails = ""
    comparison.running.train(method, Path("DATA"), tmp_path, folder)
    assert [options(command)["resume"] for command, _ in runs] == ["False", "True", "False", "False"]
    minutes = {name: record["minutes"] for name, record in comparison.running.read_minutes(folder).items()}
    assert minutes == {"color": 4.0, "lama_phantoms": 4.0, "lama": 5.0}


def test_what_a_process_takes_is_counted(comparison: SimpleNamespace) -> None:
    before = comparison.running.processor_minutes()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    assert 0.3 / 60 <= comparison.running.processor_minutes() - before < 5 / 60


def test_released_weights_are_measured_without_a_training(
    comparison: SimpleNamespace, runs: Runs, tmp_path: Path
) -> None:
    method, folder = comparison.methods.METHODS["direct"], tmp_path / "direct"
    comparison.running.train(method, Path("DATA"), tmp_path, folder)
    comparison.running.release(method, folder)
    assert not runs
    assert comparison.running.generator_of(method, folder) == "pix2pix_vessel"


def test_each_set_is_painted_and_evaluated_with_the_trained_weights(
    comparison: SimpleNamespace, runs: Runs, tmp_path: Path
) -> None:
    method, folder, data = comparison.methods.METHODS["two_stage"], tmp_path / "two_stage", tmp_path / "data"

    def evaluated(command: list[str]) -> None:
        if "evaluate" in command:
            target = Path(options(command[3:])["output_dir"])
            section = dict.fromkeys((*comparison.running.KEPT, "tables", "pictures"), "")
            content = {"place": [f"{folder}/test_HRF", f"{data}/HRF"], "sections": {"image": section}}
            target.mkdir()
            (target / "report.json").write_text(json.dumps(content))

    runs.writes = evaluated
    folder.mkdir()
    comparison.running.measure(method, data, folder, tmp_path / "reports")
    released = [command for command, _ in runs if command[1] == "release"]
    assert released == [
        ["retina_monai", "release", *map(str, places), "--overwrite", "True", "--trust", "True"]
        for places in (
            (folder / "color", folder / "bundles" / "pix2pix_color_vessel"),
            (folder / "lama", folder / "bundles" / "lama_fundus"),
        )
    ]
    assert (folder / "bundles" / "lama_fundus" / "configs" / "inference.json").is_file()
    painted = {
        Path(options(c)["output_dir"]).name: options(c)
        for c, _ in runs
        if c[:3] == ["retina_monai", "synthesize", str(folder / "bundles" / "two_stage")]
    }
    assert set(painted) == {f"{kind}_{dataset}" for kind in ("test", "warped") for dataset in DATASETS}
    assert (painted["test_HRF"]["split"], painted["test_HRF"]["appearance"]) == ("test", "HRF")
    warped = painted["warped_FIVES"]
    assert (warped["split"], warped["augment"], warped["appearance"]) == ("training", "3", "random:FIVES")
    families = {options(c)["synthetic_dir"]: options(c)["families"] for c, _ in runs if c[1] == "evaluate"}
    assert families[str(folder / "test_HRF")] == "image,distribution,faithfulness"
    assert families[str(folder / "warped_HRF")] == "distribution,usefulness"
    kept = json.loads((tmp_path / "reports" / "test_HRF.json").read_text())
    assert kept["place"] == ["test_HRF", "HRF"] and list(kept["sections"]["image"]) == list(comparison.running.KEPT)
    count = len(runs)
    comparison.running.measure(method, data, folder, tmp_path / "reports")
    assert len(runs) == count + 2  # the release alone


def test_methods_work_at_their_size(comparison: SimpleNamespace, runs: Runs, tmp_path: Path) -> None:
    """Training, the bundle's copy that is released, and the evaluation."""
    method, folder = comparison.methods.METHODS["two_stage"]._replace(size=128), tmp_path / "two_stage_128"
    comparison.running.train(method, Path("DATA"), tmp_path, folder)
    assert {options(command)["size"] for command, _ in runs} == {"128"}
    comparison.running.release(method._replace(size=64), folder)
    config = folder / "bundles" / "lama_fundus" / "configs" / "inference.json"
    assert json.loads(config.read_text())["size"] == 64

    def evaluated(command: list[str]) -> None:
        if "evaluate" in command:
            target = Path(options(command[3:])["output_dir"])
            target.mkdir()
            (target / "report.json").write_text(json.dumps({"sections": {}}))

    runs.writes = evaluated
    comparison.running.measure(method, Path("DATA"), folder, tmp_path / "reports")
    assert {options(command)["size"] for command, _ in runs if command[1] == "evaluate"} == {"128"}
    assert json.loads(config.read_text())["size"] == 128


def test_each_size_has_a_picture_and_seconds_of_its_own(
    comparison: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[list[str]] = []

    def chains(output: Path, names: list[str]) -> dict[str, SimpleNamespace]:
        loaded.append(names)
        size = comparison.methods.METHODS[names[0]].size
        look = SimpleNamespace(average=lambda: None, choose=lambda *_: None)
        painted = np.full((3, size, size), 90, np.uint8)
        return {name: SimpleNamespace(makes=("image",), appearances=look, paint=lambda *_: painted) for name in names}

    def eyes(data: Path, size: int) -> list[dict[str, Any]]:
        one, three = np.zeros((1, size, size), np.uint8), np.zeros((3, size, size), np.uint8)
        return [{"dataset": "X", "path": "", "vessel": one, "fov": one, "image": three}]

    monkeypatch.setattr(comparison.showing, "load_methods", chains)
    monkeypatch.setattr(comparison.showing, "test_eyes", eyes)
    smaller = comparison.methods.METHODS["direct"]._replace(size=128)
    for name, title in (("direct_128", "direct pix2pix"), ("diffusion_128", "diffusion")):
        monkeypatch.setitem(comparison.methods.METHODS, name, smaller._replace(title=title))
    names = ["direct", "direct_128", "diffusion_128"]
    comparison.showing.show(Path("DATA"), tmp_path, names, tmp_path / "reports", tmp_path)
    assert loaded == [["direct_128", "diffusion_128"], ["direct"]]
    widths = [np.asarray(Image.open(tmp_path / f"two_stage_{size}.png")).shape[1] for size in (128, 256)]
    assert 3.5 * 128 < widths[0] < 5 * 128 and 2.5 * 256 < widths[1] < 4 * 256
    for name in names:
        assert len(json.loads((tmp_path / "reports" / name / "seconds.json").read_text())["seconds"]) == 1


def test_an_unknown_method_is_refused(comparison: SimpleNamespace, runs: Runs) -> None:
    with pytest.raises(RetinaError, match="there is no method ddpm: give two_stage, direct"):
        comparison.main("DATA", "OUT", "ddpm")
    assert not runs


class Painter:
    """Stands for a chain: a flat photograph of its grey level."""

    size = 64
    makes: tuple[str, ...] = ("image",)

    def __init__(self, grey: int) -> None:
        self.grey = grey
        self.appearances = SimpleNamespace(choose=lambda path, seed, index: path, average=lambda: "average")
        self.asked: list[str] = []

    def paint(self, sample: dict[str, np.ndarray], appearance: str, random: Any, latent: int = 0) -> np.ndarray:
        share, fov = sample["vessel_share"], sample["fov"]
        assert share.shape == (1, 64, 64) and share.max() > 127 and set(np.unique(fov)) <= {0, 1}
        self.asked.append(appearance)
        return np.full((3, 64, 64), self.grey, np.uint8)


class TwoStagePainter(Painter):
    makes = ("color_vessel", "image")

    def draw(self, sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"color_vessel": np.full((3, 64, 64), 90, np.float32)}


def test_the_picture_shows_two_eyes_of_each_set_with_their_own_appearance(
    comparison: SimpleNamespace, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison.showing, "DATASETS", [phantoms.name])
    eyes = 3 * comparison.showing.test_eyes(phantoms.parent, 64)
    chains = {"two_stage": TwoStagePainter(150), "direct": Painter(200)}
    comparison.showing.draw(chains, eyes, tmp_path / "two_stage.png")
    picture = np.asarray(Image.open(tmp_path / "two_stage.png"))
    assert picture.shape[1] == 4 + 5 * 68  # vessel map, colour vessel mask, two methods, real
    middle = picture[-36, 4 + 32 :: 68]
    assert middle.tolist()[1:4] == [[90] * 3, [150] * 3, [200] * 3]
    own = [item["image"] for item in find_datalist(str(phantoms))["test"]]
    assert chains["direct"].asked == (3 * own)[:2]
    assert picture.shape[0] > 2 * 68


def test_seconds_are_those_of_every_photograph_but_the_first_round(comparison: SimpleNamespace, phantoms: Path) -> None:
    comparison.showing.DATASETS, before = [phantoms.name], comparison.showing.DATASETS
    eyes = comparison.showing.test_eyes(phantoms.parent, 64)
    comparison.showing.DATASETS = before
    chains = {"two_stage": TwoStagePainter(1), "direct": Painter(2)}
    seconds = comparison.showing.measure_seconds(chains, eyes)
    assert {name: len(times) for name, times in seconds.items()} == {"two_stage": len(eyes), "direct": len(eyes)}
    assert all(0 <= time < 1 for times in seconds.values() for time in times)
    assert chains["direct"].asked == ["average"] * (len(eyes) + 1)
