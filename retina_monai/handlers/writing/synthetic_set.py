"""Write what a generator makes as a labelled data set that can be trained on with the same flag as a real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from retina_monai.handlers.pictures import to_uint8
from retina_monai.handlers.writing.sample_set import SampleSet
from retina_monai.seeds import texture_generator
from retina_monai.transforms.appearance import Appearance, render_appearance

__all__ = ["NAMES", "SyntheticSet"]

NAMES = (
    "Names: manifest.jsonl and datalist.json say from whose map each sample was made (patient, condition, source). "
    "Patients and eyes of published data sets have their published names. Others are pseudonyms (patient_..., "
    "eye_...), which nobody can resolve without the original files, unless the set was made with --keep_names true."
)


class SyntheticSet(SampleSet):
    """Write photograph, vessel map and field of view of each generated sample, as :class:`SampleSet` says.

    The vessel map twice: as the label (``vessels``), which keeps the topology of the map that the sample was made from,
    and as what the generator was given (``vessel_shares``): the share of each pixel that vessels cover.

    Every photograph is marked synthetic, and its line tells whose vessel map it was made from: ``patient``, and
    ``condition`` (``name``, ``dataset`` where known, ``augmented``). All samples train; who reads the set keeps a tenth
    of the patients for validation.

    Args:
        output_dir: where to write.
        appearance: ``(index)`` -> the appearance to give to sample ``index``.
        settings: what the samples depend on (weights, appearance, ``seed``); kept in ``settings.json``.
        texture: whether the appearance's texture is drawn, where it has one.
        condition_key: entry of the evaluator's batch: vessel map ``(1, H, W)`` in [-1, 1].

    Raises:
        RetinaError: as :class:`SampleSet`.
    """

    keys: ClassVar[Sequence[str]] = (*SampleSet.keys, "condition")
    facts: ClassVar[Sequence[str]] = (
        "Synthetic photographs of the retina with vessel maps. They show nobody's eye. For research only: not for "
        "diagnosis, nor as a ground for one.",
        "Labels: vessels/ holds the map that each photograph was painted around, reduced to the photograph's size. "
        "Nobody drew it on the photograph. vessel_shares/ holds what the generator was given, the share of each pixel "
        "that vessels cover; fovs/ the field of view.",
        NAMES,
    )

    def __init__(
        self,
        output_dir: str | Path,
        appearance: Callable[[int], Appearance],
        settings: Mapping[str, Any],
        texture: bool = True,
        condition_key: str = "image",
    ) -> None:
        super().__init__(output_dir, settings, {"name": "synthetic", "synthetic": True})
        self.appearance = appearance
        self.texture = texture
        self.condition_key = condition_key

    def write_sample(self, item: Mapping[str, Any], pred: Tensor) -> dict[str, Any]:
        name, fov = str(item["name"]), _plain(item["fov"]).cpu().float()
        index, appearance = int(item["index"]), self.appearance(int(item["index"]))
        given = _plain(item[self.condition_key]).cpu().float()
        random = texture_generator(int(self.settings.get("seed", 0)), index) if self.texture else None
        painted = _plain(pred).cpu().float() / 127.5 - 1
        image = render_appearance(painted, fov, torch.from_numpy(to_uint8(given) >= 128), appearance, random)
        pictures = {
            "image": to_uint8(image),
            "vessel": _plain(item["label"]).cpu(),
            "vessel_share": _plain(item["vessel_share"]).cpu(),
            "fov": fov,
        }
        return {
            "name": name,
            **self.write_pictures(name, pictures),
            "patient": str(item["patient"]),
            "dataset": "synthetic",
            "source": Path(str(item["source"])).name,
            "index": index,
            "seed": self.settings.get("seed"),
            **({"latent": int(item["latent"])} if "latent" in item else {}),
            "appearance": {"mean": list(appearance.mean), "std": list(appearance.std)},
            **told_condition(item),
            "synthetic": True,
        }


def told_condition(item: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the eye whose map it was: its side, its name, its data set, and whether the map was warped."""
    told: dict[str, Any] = {"laterality": str(item["laterality"])} if item.get("laterality") else {}
    if "condition" in item:
        dataset = {"dataset": str(item["condition_dataset"])} if item.get("condition_dataset") else {}
        told["condition"] = {"name": str(item["condition"])} | dataset | {"augmented": bool(item.get("augmented"))}
    return told


def _plain(value: Any) -> Tensor:
    return torch.as_tensor(value).as_subclass(torch.Tensor)
