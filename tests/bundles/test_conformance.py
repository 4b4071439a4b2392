"""What every bundle promises: MONAI's own checks, the layout of a zoo bundle, and train -> checkpoint -> inference."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out
from PIL import Image

from retina_monai.bundle import bundle_kinds
from retina_monai.data import find_datalist
from retina_monai.data.listing.layouts import list_eyes

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent.parent for path in ROOT.glob("bundles/*/configs/metadata.json"))
FILES = [
    "LICENSE",
    "configs/metadata.json",
    "configs/train.json",
    "configs/inference.json",
    "configs/evaluate.json",
    "configs/multi_gpu_train.json",
    "configs/logging.conf",
    "docs/README.md",
    "docs/data_license.txt",
]
PHOTOGRAPHS = ("Synthesis", "Outpainting")
"""Tasks of bundles that paint photographs."""

RELEASED = {task: ["configs/appearances.json"] for task in PHOTOGRAPHS}
LARGEST = 25 * 10**6
OVERLAYS = ["evaluate.json", "multi_gpu_train.json"]
LONGEST_OVERLAY = 30

RunConfig = Callable[..., ConfigParser]
TASKS = {
    bundle: json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["task"].partition(" ")[0]
    for bundle in BUNDLES
}
every_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name, scope="module")
every_bundle_that_writes_a_set = pytest.mark.parametrize(  # with photographs
    "bundle",
    [
        bundle
        for bundle in BUNDLES
        if TASKS[bundle] in (*PHOTOGRAPHS, "Segmentation") and "image" in sum(bundle_kinds(bundle), ())
    ],
    ids=lambda path: path.name,
    scope="module",
)


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of MONAI's schema, which ``verify_metadata`` takes instead of downloading it."""
    beside = ROOT.parent / "shared" / "reference" / "meta_schema_20240725.json"
    source = Path(os.environ.get("RETINA_SCHEMA") or beside)
    if not source.is_file():
        pytest.skip(f"needs MONAI's metadata schema, and {source} is not there: set RETINA_SCHEMA")
    return Path(shutil.copy(source, tmp_path_factory.mktemp("schema") / "meta_schema_20240725.json"))


@pytest.fixture(scope="module")
def training(bundle: Path, run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one epoch on phantoms."""
    folder = tmp_path_factory.mktemp(bundle.name) / "training"
    run_config(bundle / "configs" / "train.json", output_dir=str(folder))
    return folder


@pytest.fixture(scope="module")
def written_sets(
    bundle: Path, training: Path, phantoms: Path, run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Two sets made by one command from the phantoms' vessel maps, or (by weights that find any) photographs."""
    folders = [tmp_path_factory.mktemp(bundle.name) / "set" for _ in range(2)]
    released = TASKS[bundle] not in PHOTOGRAPHS
    weights = released_weights(bundle) if released else training / "model.pt"
    size = {"size": min(256, input_shape(bundle)[-1])} if released else {}
    for folder in folders:
        run_config(
            bundle / "configs" / "inference.json",
            checkpoint=str(weights),
            input_dir=str(phantoms),
            output_dir=str(folder),
            **size,
        )
    return folders


def metadata(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))


def found_kind(bundle: Path) -> str:
    """The kind of mask beside the photographs of a set that a bundle writes."""
    _, (made, *_) = bundle_kinds(bundle)
    return "vessel" if made == "image" else made


def released_weights(bundle: Path) -> Path:
    path = bundle / "models" / "model.pt"
    if not path.is_file():
        pytest.skip(f"{bundle.name} has no released weights yet")
    return path


def network(bundle: Path) -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    return parser.get_parsed_content("network_def").eval()


@every_bundle
def test_metadata_follows_the_schema(bundle: Path, schema: Path) -> None:
    digest = hashlib.sha256(schema.read_bytes()).hexdigest()
    meta_file = str(bundle / "configs" / "metadata.json")
    verify_metadata(meta_file=meta_file, filepath=str(schema), hash_val=digest, hash_type="sha256")


@every_bundle
def test_the_schema_is_really_consulted(bundle: Path, schema: Path, tmp_path: Path) -> None:
    incomplete = {key: value for key, value in metadata(bundle).items() if key != "authors"}
    (tmp_path / "metadata.json").write_text(json.dumps(incomplete))
    digest = hashlib.sha256(schema.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="'authors' is a required property"):
        verify_metadata(
            meta_file=str(tmp_path / "metadata.json"), filepath=str(schema), hash_val=digest, hash_type="sha256"
        )


@every_bundle
def test_network_takes_and_gives_what_the_metadata_says(bundle: Path) -> None:
    configs = bundle / "configs"
    verify_net_in_out("network_def", str(configs / "metadata.json"), str(configs / "inference.json"), device="cpu")


@every_bundle
def test_network_exports_to_torchscript(bundle: Path, tmp_path: Path) -> None:
    expected = network(bundle)
    for parameter in expected.parameters():
        if not parameter.any():  # the last layer of MONAI's U-Net: what comes before it would not count
            torch.nn.init.normal_(parameter, std=0.02)
    checkpoint = bundle / "models" / "model.pt"
    if not checkpoint.is_file():
        checkpoint = tmp_path / "model.pt"
        halves = {key: value.half() if value.is_floating_point() else value for key, value in state_of(expected)}
        torch.save(halves, checkpoint)
    expected.load_state_dict(torch.load(checkpoint, weights_only=True))

    ckpt_export(
        "network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(checkpoint),
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        key_in_ckpt="",
    )
    exported = torch.jit.load(tmp_path / "model.ts").eval()
    image = torch.rand(1, *input_shape(bundle), generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(exported(image), expected(image))


def state_of(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return list(module.state_dict().items())


def input_shape(bundle: Path) -> tuple[int, ...]:
    image = metadata(bundle)["network_data_format"]["inputs"]["image"]
    return (image["num_channels"], *image["spatial_shape"])


@every_bundle
def test_training_has_all_properties(
    bundle: Path, small_for: Callable[..., dict[str, Any]], phantoms: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "never"
    config = str(bundle / "configs" / "train.json")
    overrides = small_for(config) | {"mlflow": True, "output_dir": str(folder)}
    workflow = ConfigWorkflow(config_file=config, workflow_type="train", logging_file=False, **overrides)
    workflow.initialize()
    assert workflow.check_properties() == []
    assert not folder.exists(), "looking at a bundle writes nothing"


@every_bundle
def test_inference_has_all_properties(
    bundle: Path, small_for: Callable[..., dict[str, Any]], training: Path, phantoms: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "never"
    config = str(bundle / "configs" / "inference.json")
    overrides = small_for(config) | {"checkpoint": str(training / "model.pt"), "output_dir": str(folder)}
    workflow = ConfigWorkflow(config_file=config, workflow_type="infer", logging_file=False, **overrides)
    workflow.initialize()
    assert workflow.check_properties() == []
    assert not folder.exists(), "looking at a bundle writes nothing"


@every_bundle
@pytest.mark.parametrize("name", FILES)
def test_file_is_there(bundle: Path, name: str) -> None:
    assert (bundle / name).is_file()


@every_bundle
def test_released_files_are_there_and_small(bundle: Path) -> None:
    released_weights(bundle)
    assert [name for name in RELEASED.get(TASKS[bundle], []) if not (bundle / name).is_file()] == []
    assert (bundle / "models" / "model.pt").stat().st_size <= LARGEST


@every_bundle
def test_released_weights_are_a_flat_state_dict_of_the_network(bundle: Path) -> None:
    state = torch.load(released_weights(bundle), weights_only=True)
    assert {key: value.shape for key, value in state.items()} == {k: v.shape for k, v in state_of(network(bundle))}


@every_bundle
def test_there_is_no_code_in_the_bundle(bundle: Path) -> None:
    files = [path for path in bundle.rglob("*") if path.is_file() and "runs" not in path.relative_to(bundle).parts]
    assert {path.suffix for path in files if path.parent.name == "configs"} <= {".json", ".conf"}
    assert [path for path in files if path.suffix in (".py", ".pyc", ".sh", ".so", ".ipynb")] == []


@every_bundle
@pytest.mark.parametrize("name", ["train.json", "inference.json"])
def test_a_mistake_ends_with_one_sentence(bundle: Path, name: str) -> None:
    """Which the module prints that the config imports."""
    config = json.loads((bundle / "configs" / name).read_text(encoding="utf-8"))
    assert "$from retina_monai import console" in config["imports"]


@every_bundle
def test_versions_are_those_that_were_tested(bundle: Path) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.partition(";")[0].split("==") for line in lines if not line.startswith("#"))
    about = metadata(bundle)
    assert (about["monai_version"], about["pytorch_version"], about["numpy_version"]) == (
        pins["monai"],
        pins["torch"],
        pins["numpy"],
    )
    required = about["required_packages_version"]
    assert required == {name: pins[name] for name in required}


@every_bundle
def test_the_changelog_has_the_version(bundle: Path) -> None:
    about = metadata(bundle)
    assert about["changelog"][about["version"]]


@every_bundle
@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_are_thin(bundle: Path, name: str) -> None:
    assert len((bundle / "configs" / name).read_text(encoding="utf-8").splitlines()) <= LONGEST_OVERLAY


@every_bundle_that_writes_a_set
def test_written_set_is_recognised_with_its_patients(
    bundle: Path, written_sets: list[Path], phantoms: Path, small: dict[str, Any]
) -> None:
    listed = list_eyes(written_sets[0], join=False)  # photographs as small as these look alike
    items = [item for split in listed.values() for item in split]
    eyes = [item for split in find_datalist(phantoms).values() for item in split]
    assert len(items) == small["phantom_count"]
    assert {item["name"]: item["patient"] for item in items} == {eye["name"]: eye["patient"] for eye in eyes}
    side = small["size"] if TASKS[bundle] in PHOTOGRAPHS else 2 * small["size"]
    for item in items:
        for key in ("image", found_kind(bundle), "fov"):
            with Image.open(item[key]) as picture:
                assert picture.size == (side, side)
                assert picture.info["SyntheticData"] == "YES", "a phantom stays one"


@every_bundle_that_writes_a_set
def test_what_is_written_is_deterministic(written_sets: list[Path]) -> None:
    first, second = ({str(p.relative_to(d)): p.read_bytes() for p in d.rglob("*") if p.is_file()} for d in written_sets)
    assert first == second
    assert len([name for name in first if name.startswith("images/")]) > 1


@pytest.mark.parametrize(
    "bundle",
    [bundle for bundle in BUNDLES if bundle.name in ("pix2pix_vessel", "iternet_vessel")],
    ids=lambda path: path.name,
    scope="module",
)
def test_written_set_trains_a_generator(
    bundle: Path, written_sets: list[Path], run_config: RunConfig, tmp_path: Path
) -> None:
    output_dir = tmp_path / "again"
    generator = ROOT / "bundles" / "pix2pix_vessel"
    trained = generator if (TASKS[bundle], found_kind(bundle)) == ("Segmentation", "vessel") else bundle
    run_config(trained / "configs" / "train.json", dataset_dir=str(written_sets[0]), output_dir=str(output_dir))
    record = json.loads((output_dir / "training.json").read_text())
    assert (output_dir / "model.pt").is_file()
    assert record["datasets"] == ["synthetic" if TASKS[bundle] in PHOTOGRAPHS else "phantom"]
