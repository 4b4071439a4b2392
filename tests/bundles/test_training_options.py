"""Each option of a ``train.json`` arrives at the object that it is for: looked up in the evaluated config, untrained.

What those objects do with it is tested where they are: objectives, networks, transforms, trainers and handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.transforms import RandAffined, RandFlipd

from retina_monai.handlers import Checkpoints, EpochValidation, GrowingShare, LinearDecay, SeededEpochs
from retina_monai.transforms import (
    CanonicalAppearanced,
    ColorVesseld,
    OutpaintingConditiond,
    RandCamerad,
    RandPatchd,
    RandStrokeConditiond,
    RandViewd,
)

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"

CONDITIONS = {OutpaintingConditiond: "vessels", RandStrokeConditiond: "strokes"}

Content = Callable[[str], Any]
Option = tuple[Any, Callable[[Content], Any]]


def handler(content: Content, kind: type) -> Any:
    """The one handler of the training that is such a one."""
    (found,) = [part for part in content("train#handlers")[0].handlers if isinstance(part, kind)]
    return found


def transform(content: Content, kind: type, place: int = 0) -> Any:
    return [part for part in content("train#preprocessing").transforms if isinstance(part, kind)][place]


def rate(player: str, key: str = "lr") -> Callable[[Content], Any]:
    return lambda content: content(f"optimizers#{player}").defaults[key]


def of_network(key: str) -> Callable[[Content], Any]:
    return lambda content: content("network").arguments[key]


def weight(key: str) -> Callable[[Content], Any]:
    return lambda content: getattr(content("objective"), key)


def trainer(key: str) -> Callable[[Content], Any]:
    return lambda content: getattr(content("train#trainer"), key)


def every(player: str) -> dict[str, Option]:
    """Options of every bundle; ``player`` is whose optimizer takes the learning rate."""
    return {
        "seed": (7, lambda content: content("train#dataset").seed),
        "max_epochs": (5, lambda content: content("train#trainer").state.max_epochs),
        "batch_size": (3, lambda content: content("train#dataloader").batch_size),
        "num_workers": (1, lambda content: content("train#dataloader").num_workers),
        "learning_rate": (0.125, rate(player)),
        "betas": ([0.25, 0.75], rate(player, "betas")),
        "linear_decay": (False, lambda content: handler(content, LinearDecay).enabled),
        "ema_decay": (0.5, lambda content: content("averaged").decay ** (1 / content("averaged").every)),
        "val_interval": (3, lambda content: handler(content, EpochValidation).interval),
        "checkpoint_interval": (2, lambda content: handler(content, Checkpoints).interval),
        "keep_checkpoints": (4, lambda content: handler(content, Checkpoints).keep),
    }


ADVERSARIAL: dict[str, Option] = {
    "precision": ("bf16", trainer("precision")),
    "max_gradient_norm": (0.25, trainer("max_gradient_norm")),
}
GEOMETRY: dict[str, Option] = {
    "horizontal_flip": (0.125, lambda content: transform(content, RandFlipd).prob),
    "vertical_flip": (0.375, lambda content: transform(content, RandFlipd, 1).prob),
    "rotation": (0.75, lambda content: transform(content, RandAffined).rand_affine.rand_affine_grid.rotate_range[0]),
    "zoom": (0.625, lambda content: transform(content, RandAffined).rand_affine.rand_affine_grid.scale_range[0]),
    "appearance_mean": ([0.5, 0.0, -0.5], lambda content: transform(content, CanonicalAppearanced).appearance.mean),
    "appearance_std": ([0.5, 0.25, 0.125], lambda content: transform(content, CanonicalAppearanced).appearance.std),
}
DISCRIMINATOR: dict[str, Option] = {
    "discriminator_learning_rate": (0.375, rate("discriminator")),
    "discriminator_scales": (3, lambda content: len(content("discriminator").discriminators)),
    "adversarial_weight": (2.5, weight("adversarial_weight")),
    "feature_matching_weight": (3.5, weight("feature_matching_weight")),
}
UNET: dict[str, Option] = {
    "levels": (3, of_network("levels")),
    "features": (6, of_network("features")),
    "dropout": (0.5, of_network("dropout")),
    "norm": ("batch", of_network("norm")),
    "upsampling": ("transpose", of_network("upsampling")),
    "detail": (3, of_network("detail")),
    "l1_weight": (4.5, weight("l1_weight")),
}
OPTIONS: dict[str, dict[str, Option]] = {
    "pix2pix_vessel": every("generator")
    | ADVERSARIAL
    | GEOMETRY
    | DISCRIMINATOR
    | UNET
    | {
        "spectrum_weight": (5.5, weight("spectrum_weight")),
        "faithfulness_weight": (6.5, weight("faithfulness_weight")),
    },
    "pix2pix_color_vessel": every("generator")
    | ADVERSARIAL
    | GEOMETRY
    | DISCRIMINATOR
    | UNET
    | {"edge": (3.0, lambda content: transform(content, ColorVesseld).edge)},
    "lama_fundus": every("generator")
    | ADVERSARIAL
    | GEOMETRY
    | DISCRIMINATOR
    | {key: (0.5 + place, weight(key)) for place, key in enumerate(("known_weight", "unknown_weight", "color_weight"))}
    | {
        "features": (8, of_network("features")),
        "downsamplings": (2, of_network("downsamplings")),
        "blocks": (1, of_network("blocks")),
        "global_share": (0.5, of_network("global_share")),
        "norm": ("batch", of_network("norm")),
        "upsampling": ("transpose", of_network("upsampling")),
        "masks": ("strokes", lambda content: CONDITIONS[type(content("train#preprocessing").transforms[-2])]),
        "generated_share": (0.25, lambda content: handler(content, GrowingShare).share),
        "spectrum_weight": (5.5, weight("spectrum_weight")),
        "perceptual_weight": (6.5, weight("perceptual_weight")),
        "faithfulness_weight": (8.5, weight("faithfulness_weight")),
        "gradient_penalty": (7.5, weight("gradient_penalty")),
        "penalty_share": (0.125, weight("penalty_share")),
        "composite": (False, weight("composite")),
        "perceptual_features": (12, lambda content: next(content("perceptual").parameters()).shape[0]),
        "perceptual_learning_rate": (0.25, rate("perceptual")),
    },
    "iternet_vessel": every("segmenter")
    | ADVERSARIAL
    | {
        "features": (6, of_network("features")),
        "levels": (3, of_network("levels")),
        "iterations": (2, of_network("iterations")),
        "norm": ("none", of_network("norm")),
        "dropout": (0.25, of_network("dropout")),
        "cross_entropy_weight": (2.5, weight("cross_entropy_weight")),
        "dice_weight": (3.5, weight("dice_weight")),
        "weight_decay": (0.5, rate("segmenter", "weight_decay")),
        "patch": (32, lambda content: transform(content, RandPatchd).patch),
        "smallest_eye": (0.5, lambda content: transform(content, RandPatchd).diameters[0] / content("size")),
        "largest_eye": (1.5, lambda content: transform(content, RandPatchd).diameters[1] / content("size")),
        "resolution_loss": (2.0, lambda content: transform(content, RandCamerad).resolution_loss),
        "blur": (0.75, lambda content: transform(content, RandCamerad).blur),
        "noise": (0.25, lambda content: transform(content, RandCamerad).noise),
        "repeats": (3, lambda content: content("train#dataset").times),
        "window": (48, lambda content: content("inferer").roi_size[0]),
    },
    "retina_encoder": every("encoder")
    | ADVERSARIAL
    | {
        "features": (8, of_network("features")),
        "width": (8, of_network("width")),
        "map_weight": (2.5, weight("map_weight")),
        "trait_weight": (3.5, weight("trait_weight")),
        "weight_decay": (0.5, rate("encoder", "weight_decay")),
        **{
            key: (0.125 * (place + 1), lambda content, key=key: getattr(transform(content, RandViewd), key))
            for place, key in enumerate(("horizontal_flip", "rotation", "zoom", "turned"))
        },
    },
    "ddpm_vessel": every("generator")
    | GEOMETRY
    | {
        "precision": ("bf16", lambda content: str(content("train#inferer").dtype).replace("torch.bfloat16", "bf16")),
        "process": ("velocity", lambda content: content("train#prepare_batch").process),
        "sampler": ("ddpm", of_network("sampler")),
        "steps": (3, of_network("steps")),
        "guidance": (1.5, of_network("guidance")),
        "condition_dropout": (0.75, lambda content: content("train#prepare_batch").condition_dropout),
        "vessel_weight": (3.5, lambda content: content("train#prepare_batch").vessel_weight),
        "weight_decay": (0.5, rate("generator", "weight_decay")),
        **{
            key: (value, lambda content, key=key: content("network").arguments["unet"][key])
            for key, value in {
                "features": 8,
                "multipliers": [1, 2, 2],
                "blocks": 2,
                "attention": 1,
                "unshuffle": 2,
            }.items()
        },
        "gradient_checkpointing": (True, lambda content: content("network").unet.gradient_checkpointing),
    },
}


def plain(value: Any) -> Any:
    return [plain(entry) for entry in value] if isinstance(value, tuple | list) else value


@pytest.mark.parametrize("bundle", OPTIONS)
def test_every_option_arrives(
    bundle: str, small_for: Callable[..., dict[str, Any]], phantoms: Path, tmp_path: Path
) -> None:
    """All at once, with values that are not theirs by default."""
    config = str(BUNDLES / bundle / "configs" / "train.json")
    chosen = {option: value for option, (value, _) in OPTIONS[bundle].items()}
    parser = ConfigParser()
    parser.read_config(config)
    parser.update(small_for(config) | {"output_dir": str(tmp_path / "never"), "first_stage": None} | chosen)
    found = {option: plain(look(parser.get_parsed_content)) for option, (_, look) in OPTIONS[bundle].items()}
    assert found == {key: pytest.approx(value) if isinstance(value, float) else value for key, value in chosen.items()}


@pytest.mark.parametrize("bundle", OPTIONS)
def test_the_seed_is_that_of_the_first_weights_of_the_order_and_of_each_epoch(
    bundle: str, small_for: Callable[..., dict[str, Any]], phantoms: Path, tmp_path: Path
) -> None:
    config = str(BUNDLES / bundle / "configs" / "train.json")
    weights = []
    for seed in (0, 7):
        settings = small_for(config) | {"output_dir": str(tmp_path / "never"), "seed": seed}
        workflow = ConfigWorkflow(config_file=config, logging_file=False, **settings)
        workflow.initialize()
        content = workflow.parser.get_parsed_content
        assert handler(content, SeededEpochs).seed == content("train#dataloader").sampler.seed == seed
        weights.append(torch.cat([parameter.flatten() for parameter in content("network").parameters()]))
    assert not torch.equal(*weights)
