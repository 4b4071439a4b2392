"""Weights name the class of their network, not the file in which it is defined."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet, UNet

from retina_monai.bundle import load_network
from retina_monai.errors import RetinaError
from retina_monai.networks import (
    ConditionedUNet,
    DiffusionGenerator,
    Pix2PixUNet,
    describe_network,
    find_network_class,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Pix2PixUNet", Pix2PixUNet),
        ("BasicUNet", BasicUNet),
        ("retina_monai.networks.unet.Pix2PixUNet", Pix2PixUNet),
        ("retina_monai.networks.a_file_that_was_moved.Pix2PixUNet", Pix2PixUNet),
        ("monai.networks.nets.basic_unet.BasicUNet", BasicUNet),
        ("", None),
        ("NoSuchNetwork", None),
        ("initialize_weights", None),
        ("os.Pix2PixUNet", None),
        ("os.system", None),
        ("monai.networks.utils.torch.os.system", None),
    ],
)
def test_a_class_is_found_by_its_name_among_networks_alone(name: str, expected: type | None) -> None:
    assert find_network_class(name) is expected


def test_a_description_names_classes_at_every_depth() -> None:
    described = describe_network(DiffusionGenerator(ConditionedUNet(features=4, multipliers=(1, 2)), steps=2))
    assert (described["_target_"], described["unet"]["_target_"]) == ("DiffusionGenerator", "ConditionedUNet")
    assert json.loads(json.dumps(described)) == described


def test_a_network_of_monai_is_described_by_its_attributes(tmp_path: Path) -> None:
    network = UNet(2, 3, 1, [4, 8, 8], [2, 2], num_res_units=1, norm="batch", dropout=0.1).eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    (tmp_path / "network.json").write_text(json.dumps(describe_network(network)))
    image = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(load_network(UNet(2, 3, 1, [4, 4], [2]), tmp_path / "model.pt")(image), network(image))


@pytest.mark.parametrize("prefix", ["", "retina_monai.networks.unet.", "retina_monai.networks.before_it_moved."])
def test_weights_load_whatever_file_their_network_was_in(prefix: str, tmp_path: Path) -> None:
    network = Pix2PixUNet(levels=2, features=3)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    described = describe_network(network) | {"_target_": f"{prefix}Pix2PixUNet"}
    (tmp_path / "network.json").write_text(json.dumps(described))
    image = torch.rand(1, 1, 8, 8)
    assert torch.equal(load_network(Pix2PixUNet(), tmp_path / "model.pt")(image), network.eval()(image))


@pytest.mark.parametrize("change", [{"_mode_": "debug"}, {"levels": "$1 + 1"}, {"norm": {"_target_": "os.getcwd"}}])
def test_a_description_that_could_run_code_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    network = Pix2PixUNet(levels=2, features=3)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    (tmp_path / "network.json").write_text(json.dumps(describe_network(network) | change))
    with pytest.raises(RetinaError, match=r"network\.json is refused"):
        load_network(Pix2PixUNet(), tmp_path / "model.pt")
