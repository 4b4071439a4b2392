"""Who is in a synthetic set: published names stay, others become pseudonyms that the owner of the data resolves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from monai.bundle import ConfigParser

from retina_monai.bundle import set_settings
from retina_monai.data import Appearances, CachedEyes, LoadEyed, VesselMaps, find_datalist
from retina_monai.data.export.prepare import prepare
from retina_monai.data.files.reading import read_photograph
from retina_monai.data.files.writing import write_png
from retina_monai.data.listing.pseudonyms import patient_keys
from retina_monai.evaluation.families.usefulness.leaks import LeakError, refuse_leaks
from retina_monai.evaluation.measuring.eye_set import EyeSet, list_real, list_synthetic
from retina_monai.handlers import AppearanceTable
from retina_monai.handlers.writing.set_card import set_card
from retina_monai.synthesis import Chain, LoadedBundle, load_chain, synthesize

SIZE = 64
SPLITS = {"training": 2, "validation": 1, "test": 1}


@pytest.fixture(scope="module")
def clinic(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of a user's own, both eyes of each patient, with names that must not travel."""
    folder = tmp_path_factory.mktemp("own") / "clinic"
    rows, names = ["name,patient,laterality,split"], sorted(path.stem for path in (phantoms / "images").iterdir())
    sides = iter(names)
    for split, count in SPLITS.items():
        for number in range(count):
            for side in "LR":
                old, new = next(sides), f"doe_{split}{number}_{side}"
                rows.append(f"{new},doe_{split}{number},{side},{split}")
                for kind in ("images", "vessels", "fovs"):
                    picture = read_photograph(phantoms / kind / f"{old}.png")
                    write_png(folder / kind / f"{new}.png", picture, synthetic=False)
    (folder / "eyes.csv").write_text("\n".join(rows))
    return folder


class Drawn(LoadedBundle):
    """Paints what a photograph has to have, vessels darker than what is beside them, as no untrained network does."""

    def draw(self, sample: Any, latent: int = 0) -> Any:
        share = sample["vessel_share"][0]
        rows = np.linspace(0, 40, len(share))[:, None]
        image = np.stack([200 - 0.3 * share - rows, 110 - 0.3 * share + rows, 60 - 0.1 * share])
        return {**sample, "image": image.astype(np.float32) * sample["fov"]}


@pytest.fixture
def two_stage(small_bundles: Path) -> Chain:
    colorer = LoadedBundle(small_bundles / "pix2pix_color_vessel", trust=True)
    return Chain("two_stage", colorer, Drawn(small_bundles / "lama_fundus", trust=True))


def told(folder: Path) -> str:
    """All that a set says: file names, and what is in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return "\n".join([str(path.relative_to(folder)) for path in files] + [path.read_text("latin1") for path in files])


@pytest.mark.parametrize("inside", ["", "vessels"])
def test_a_set_names_nobody_of_a_users_own(two_stage: Chain, clinic: Path, tmp_path: Path, inside: str) -> None:
    folder = synthesize(two_stage, clinic / inside, tmp_path / "set", augment=1)
    assert "doe" not in told(folder).lower()
    items = [item for items in find_datalist(folder).values() for item in items]
    assert len(items) == 8
    assert len({item["patient"] for item in items}) == (8 if inside else 4), "eyes of one patient stay together"
    assert all(item["condition"]["name"].startswith("eye_") for item in items)


def test_names_are_kept_if_asked_for(two_stage: Chain, clinic: Path, tmp_path: Path) -> None:
    folder = synthesize(two_stage, clinic, tmp_path / "set", keep_names=True)
    items = [item for items in find_datalist(folder).values() for item in items]
    assert {item["patient"] for item in items} >= {"clinic/doe_test0", "clinic/doe_training1"}
    assert (folder / "images" / "clinic_doe_test0_L.png").is_file()


@pytest.mark.parametrize("bundle", ["pix2pix_vessel", "pix2pix_color_vessel", "lama_fundus"])
def test_inference_has_the_same_option(
    bundle: str, small_bundles: Path, run_config: Callable[..., ConfigParser], clinic: Path, tmp_path: Path
) -> None:
    config = small_bundles / bundle / "configs" / "inference.json"
    run_config(config, input_dir=str(clinic), output_dir=str(tmp_path / "set"), size=SIZE)
    assert "doe" not in told(tmp_path / "set").lower()
    run_config(config, input_dir=str(clinic), output_dir=str(tmp_path / "named"), size=SIZE, keep_names="true")
    assert '"patient": "clinic/doe_test0"' in (tmp_path / "named" / "manifest.jsonl").read_text()


def test_published_names_stay(two_stage: Chain, phantoms: Path, tmp_path: Path) -> None:
    folder = synthesize(two_stage, phantoms, tmp_path / "set")
    assert {path.stem for path in (folder / "images").iterdir()} == {
        path.stem for path in (phantoms / "images").iterdir()
    }


def test_pseudonyms_follow_the_files_and_no_name(clinic: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(clinic, tmp_path / "another name"))
    for path in moved.glob("*/doe_*.png"):
        path.rename(path.with_name(path.name.replace("doe", "roe")))
    (moved / "eyes.csv").write_text((moved / "eyes.csv").read_text().replace("doe", "roe"))
    places = (clinic, clinic / "vessels", moved)
    named = [{item["name"]: item["patient"] for item in VesselMaps(place, SIZE).maps} for place in places]
    assert named[0].keys() == named[1].keys() and named[0] == named[2]


def test_equal_files_have_names_of_their_own(clinic: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "maps").mkdir(exist_ok=True)
        shutil.copy(clinic / "vessels" / "doe_test0_L.png", tmp_path / "maps" / f"{name}.png")
    names = [item["name"] for item in VesselMaps(tmp_path / "maps", SIZE).maps]
    assert names[1] == f"{names[0]}_2"


def eyes(place: Path, items: list[dict[str, Any]], *splits: str) -> EyeSet:
    found = EyeSet(place, items, SIZE)
    return found.of_split(*splits) if splits else found


@pytest.mark.parametrize("inside", ["", "vessels"])
def test_the_leak_check_still_knows_the_test_eyes(two_stage: Chain, clinic: Path, tmp_path: Path, inside: str) -> None:
    """Warped maps, which their likeness does not give away: only the pseudonyms do."""
    real = list_real(clinic)
    leaking = synthesize(two_stage, clinic / inside, tmp_path / "leaking", augment=1)
    found = list_synthetic(leaking, real)
    assert {item["condition"]["patient"] for item in found} == {item["patient"] for item in real}
    assert {item["condition"]["name"] for item in found} == {item["name"] for item in real}
    training, test = (eyes(clinic, real, split) for split in ("training", "test"))
    with pytest.raises(LeakError, match=r"2 of 8 synthetic eyes were made from masks of test patients"):
        refuse_leaks(eyes(leaking, found), training, test)
    if not inside:
        safe = synthesize(two_stage, clinic, tmp_path / "safe", split="training", augment=1)
        refuse_leaks(eyes(safe, list_synthetic(safe, real)), training, test)


def test_whoever_lacks_the_files_resolves_nothing(two_stage: Chain, clinic: Path, tmp_path: Path) -> None:
    folder = synthesize(two_stage, clinic, tmp_path / "set")
    other = Path(shutil.copytree(clinic, tmp_path / "clinic"))
    for path in other.glob("*/*.png"):
        with path.open("ab") as file:
            file.write(b"other")
    found = list_synthetic(folder, list_real(other))
    assert all(item["condition"]["patient"].startswith("patient_") for item in found)


def test_vessels_that_were_found_are_those_of_their_photographs(
    run_config: Callable[..., ConfigParser], two_stage: Chain, clinic: Path, tmp_path: Path
) -> None:
    config = Path(__file__).resolve().parents[2] / "bundles" / "iternet_vessel" / "configs" / "inference.json"
    run_config(config, input_dir=str(clinic / "images"), output_dir=str(tmp_path / "found"), size=SIZE, window=SIZE)
    real = list_real(clinic)
    items = [item for items in find_datalist(tmp_path / "found").values() for item in items]
    known = {key for item in real for key in patient_keys(item)}
    assert all(set(patient_keys(item)) & known for item in items), "by the photograph's file"


def test_a_synthetic_set_stays_one(two_stage: Chain, phantoms: Path, tmp_path: Path) -> None:
    folder = synthesize(two_stage, phantoms, tmp_path / "set")
    prepare([folder], tmp_path / "datalist.json")
    content = json.loads((tmp_path / "datalist.json").read_text())
    assert all(item["synthetic"] is True for item in content["training"] + content["validation"])
    again = [item for items in find_datalist(tmp_path / "datalist.json").values() for item in items]
    assert all(item["synthetic"] is True for item in again)
    prepare([folder], tmp_path / "nnunet", format="nnunet")
    (about,) = (tmp_path / "nnunet").glob("*/dataset.json")
    assert json.loads(about.read_text())["synthetic"] is True


def test_in_a_mixed_set_the_synthetic_cases_are_named(
    two_stage: Chain, clinic: Path, phantoms: Path, tmp_path: Path
) -> None:
    folder = synthesize(two_stage, phantoms, tmp_path / "set")
    prepare([clinic, folder], tmp_path / "nnunet", format="nnunet")
    (about,) = (tmp_path / "nnunet").glob("*/dataset.json")
    named = json.loads(about.read_text())["synthetic"]
    assert named == sorted(item["name"] for items in find_datalist(folder).values() for item in items)


def test_a_colleague_is_told_what_the_set_is(two_stage: Chain, phantoms: Path, tmp_path: Path) -> None:
    folder = synthesize(two_stage, phantoms, tmp_path / "set")
    settings = json.loads((folder / "settings.json").read_text())
    about = settings["about"]
    assert list(about["bundles"]) == ["pix2pix_color_vessel", "lama_fundus"]
    text = " ".join((folder / "README.txt").read_text().split())
    assert all(bundle["weights"] == "other" for bundle in about["bundles"].values()), "not this library's"
    versions = [f"{name} {bundle['version']}" for name, bundle in about["bundles"].items()]
    digests = settings["weights"].values()
    for fact in (
        about["package"],
        about["date"],
        *versions,
        *digests,
        "8 samples, made from phantom",
        "For research only",
    ):
        assert fact in text


def test_released_weights_are_told_with_their_terms() -> None:
    chain = load_chain("pix2pix_vessel")
    settings = set_settings(chain.name, chain.roots, chain.checkpoint, SimpleNamespace(settings={}))
    bundle = settings["about"]["bundles"]["pix2pix_vessel"]
    assert bundle["weights"] == "released"
    assert bundle["licence"] == "Apache License, Version 2.0, January 2004"
    assert "CC BY 4.0" in bundle["data_source"] and "Not for diagnosis" in bundle["intended_use"]
    text = " ".join(set_card("Synthetic", [], settings, 1, []).split())
    assert (
        "released weights" in text and "trained on CHASE_DB1, FIVES, HRF, IDRiD, phantom (182 eyes, fingerprint" in text
    )


def test_an_interrupted_set_keeps_its_date(two_stage: Chain, phantoms: Path, tmp_path: Path) -> None:
    folder = synthesize(two_stage, phantoms, tmp_path / "set")
    settings = json.loads((folder / "settings.json").read_text())
    settings["about"] |= {"date": "2001-02-03", "package": "an earlier version"}
    (folder / "settings.json").write_text(json.dumps(settings))
    synthesize(two_stage, phantoms, folder)
    assert "an earlier version" in (folder / "README.txt").read_text()


def test_appearances_of_a_training_name_nobody(clinic: Path, tmp_path: Path) -> None:
    AppearanceTable(CachedEyes(find_datalist(clinic)["training"], LoadEyed(32)), tmp_path).write()
    table = Appearances.load(tmp_path / "appearances.json")
    assert table.cameras == ["clinic"]
    assert all(eye["name"].startswith("eye_") for eye in table.eyes)
