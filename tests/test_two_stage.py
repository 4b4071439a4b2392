"""The comparison of direct and two-stage synthesis: its page says what the reports hold, for any number of methods."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
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
DATASETS = ("CHASE_DB1", "HRF", "FIVES")
PARTS = ("methods", "showing", "figures", "tables", "words", "page")
METHODS = {"two_stage": "lama_fundus", "direct": "pix2pix_vessel", "diffusion": "ddpm_vessel"}


@pytest.fixture(scope="module")
def comparison() -> Iterator[SimpleNamespace]:
    sys.path.insert(0, str(ROOT / "scripts"))
    parts: dict[str, ModuleType] = {name: importlib.import_module(f"comparison.{name}") for name in PARTS}
    yield SimpleNamespace(**parts)
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
    return {"distribution": {"extractors": {"encoder": extractor}}}


def write(root: Path, name: str, score: float, weights: str = "abc") -> None:
    folder = root / "bundles" / METHODS[name] / "docs" / "reports"
    folder.mkdir(parents=True)
    for dataset in DATASETS:
        for kind, families in (("test", painted_report(dataset, score)), ("warped", warped_report(score))):
            sections = {key: {"figures": figures} for key, figures in families.items()}
            compared = {"synthetic": {"generator": {"weights": weights}}}
            text = json.dumps({"compared": compared, "sections": sections})
            (folder / f"{kind}_{dataset}.json").write_text(text)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    write(tmp_path, "two_stage", 0.90)
    write(tmp_path, "direct", 0.80)
    notes = tmp_path / "docs" / "two_stage"
    notes.mkdir(parents=True)
    (notes / "seconds.json").write_text(json.dumps({name: [0.1, 0.3, 0.2] for name in METHODS}))
    (notes / "conclusion.md").write_text("It holds on {no} set.\n\nNowhere.\n")
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
    assert rows(page, "How it was done") == ["| two-stage | 0.20 |", "| direct pix2pix | 0.20 |"]


def test_what_came_out_is_said_of_the_figures(comparison: SimpleNamespace, reports: Path) -> None:
    page = comparison.page.page(reports)
    lines = {line.split(" | ")[0]: line for line in rows(page, "What came out")}
    assert " | two-stage 0.900 ≫ direct pix2pix 0.800 | " in lines["| Dice (more is better)"]
    assert " | two-stage 10.0 ≫ direct pix2pix 20.0 | " in lines["| Betti 0 error (less is better)"]
    assert " | two-stage 4.0 = direct pix2pix 4.0 | " in lines["| Betti 1 error (less is better)"]
    assert " | two-stage 90% > direct pix2pix 80% | " in lines["| branches that go alone (more is better)"]
    assert " | two-stage 0.100 ≫ direct pix2pix 0.200 | " in lines["| KID (less is better)"]
    assert " | two-stage 90% > direct pix2pix 80% | " in lines["| spectrum rings within 25 % (more is better)"]
    assert len(lines) == 9
    assert (
        "Of 27 comparisons, two-stage is ahead in 24, in 18 of them beyond the intervals; direct pix2pix is ahead in 0"
    ) in page
    everywhere = "on CHASE_DB1, HRF and FIVES"
    assert f"- Dice: two-stage better {everywhere}; direct pix2pix better {everywhere}." in page
    assert f"- Betti 1 error: two-stage no clear difference {everywhere}; direct" in page


def test_the_claim_may_fail(comparison: SimpleNamespace, reports: Path) -> None:
    shutil.rmtree(reports / "bundles")
    write(reports, "two_stage", 0.70)
    write(reports, "direct", 0.78)
    page = comparison.page.page(reports)
    assert "two-stage is ahead in 0, in 0 of them beyond the intervals; direct pix2pix is ahead in 24" in page
    assert "- Dice: two-stage worse on CHASE_DB1, HRF and FIVES; direct pix2pix better on" in page
    assert " | direct pix2pix 0.780 ≫ two-stage 0.700 | " in page


def test_a_third_method_joins_by_an_entry(
    comparison: SimpleNamespace, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = comparison.page.page(reports)
    direct = comparison.methods.METHODS["direct"]
    third = direct._replace(title="diffusion", card="ddpm_vessel", about="`ddpm_vessel` does so in steps.")
    monkeypatch.setitem(comparison.methods.METHODS, "diffusion", third)
    write(reports, "diffusion", 0.85)
    page = comparison.page.page(reports)
    assert " | two-stage 0.900 ≫ diffusion 0.850 ≫ direct pix2pix 0.800 | " in page
    assert "- **diffusion**: `ddpm_vessel` does so in steps.\n" in page
    for heading in ("Are the vessels", "Does a branch", "Do the photographs", "Do they have", "Are they like"):
        lines = rows(page, heading)
        assert sum("| diffusion |" in line for line in lines) == 3
        assert len(lines) == len(rows(before, heading)) + 3


def test_the_conclusion_is_left_as_it_is_written(comparison: SimpleNamespace, reports: Path) -> None:
    assert comparison.page.page(reports).endswith("## Conclusion\n\nIt holds on {no} set.\n\nNowhere.\n")


@pytest.mark.parametrize("name", ["bundles/pix2pix_vessel/docs/reports/test_HRF.json", "docs/two_stage/seconds.json"])
@pytest.mark.parametrize("text", [None, "{"], ids=["missing", "broken"])
def test_what_is_missing_is_said(comparison: SimpleNamespace, reports: Path, name: str, text: str | None) -> None:
    (reports / name).unlink() if text is None else (reports / name).write_text(text)
    with pytest.raises(RetinaError, match=f"{Path(name).name} is missing or broken"):
        comparison.page.page(reports)


def test_reports_of_different_weights_or_without_the_generator_are_refused(
    comparison: SimpleNamespace, reports: Path
) -> None:
    path = reports / "bundles" / "pix2pix_vessel" / "docs" / "reports" / "test_HRF.json"
    text = path.read_text()
    path.write_text(text.replace('"abc"', '"def"'))
    with pytest.raises(RetinaError, match="reports of different weights"):
        comparison.page.page(reports)
    content = json.loads(text)
    content["sections"]["faithfulness"]["figures"]["branches"] = {}
    path.write_text(json.dumps(content))
    with pytest.raises(RetinaError, match="test_HRF has no sensitivity test"):
        comparison.page.page(reports)


def test_the_page_is_that_of_its_reports(comparison: SimpleNamespace) -> None:
    assert (ROOT / "docs" / "two_stage.md").read_text(encoding="utf-8") == comparison.page.page(ROOT)
    for name, found in comparison.figures.read_results(ROOT).items():
        for key, report in found.reports.items():
            generator = report["compared"]["synthetic"]["generator"]
            made_from = ("test", 0) if key.startswith("test") else ("training", 3)
            assert (generator["split"], generator["augment"]) == made_from, name


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
    assert picture.shape[1] == 4 + 5 * 36  # vessel map, colour vessel mask, two methods, real, at half size
    middle = picture[-20, 4 + 16 :: 36]
    assert middle.tolist()[1:4] == [[90] * 3, [150] * 3, [200] * 3]
    own = [item["image"] for item in find_datalist(str(phantoms))["test"]]
    assert chains["direct"].asked == (3 * own)[:2]
    assert picture.shape[0] > 2 * 36


def test_seconds_are_those_of_every_photograph_but_the_first_round(comparison: SimpleNamespace, phantoms: Path) -> None:
    comparison.showing.DATASETS, before = [phantoms.name], comparison.showing.DATASETS
    eyes = comparison.showing.test_eyes(phantoms.parent, 64)
    comparison.showing.DATASETS = before
    chains = {"two_stage": TwoStagePainter(1), "direct": Painter(2)}
    seconds = comparison.showing.measure_seconds(chains, eyes)
    assert {name: len(times) for name, times in seconds.items()} == {"two_stage": len(eyes), "direct": len(eyes)}
    assert all(0 <= time < 1 for times in seconds.values() for time in times)
    assert chains["direct"].asked == ["average"] * (len(eyes) + 1)
