"""Write generated samples as a labelled data set that trains like a real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retina_monai.data.sets.network_format import NetworkOutput
from retina_monai.handlers.pictures import to_uint8
from retina_monai.handlers.writing.sample_set import SampleSet
from retina_monai.seeds import texture_generator
from retina_monai.transforms.appearance import Appearance, render_appearance
from retina_monai.transforms.vessel_label import HALF

__all__ = ["NAMES", "SyntheticSet"]

CONDITIONS = ("color_vessel", "appearance_map")  # network inputs that are not labels
NAMES = (
    "Names: manifest.jsonl and datalist.json say from whose map each sample was made (patient, condition, source). "
    "Patients and eyes of published data sets have their published names. Others are pseudonyms (patient_..., "
    "eye_...), which nobody can resolve without the original files, unless the set was made with --keep_names true."
)


class SyntheticSet(SampleSet):
    """A :class:`SampleSet` of generated photographs with labels, in the chosen appearance.

    The vessel map is written as the label (``vessels``), which keeps the topology of the original map, and as the input
    of the generator (``vessel_shares``), the share of each pixel covered by vessels.

    Every photograph is marked as synthetic. Its manifest line names the origin of the vessel map: ``patient``, and
    ``condition`` (``name``, ``dataset`` if known, ``augmented``). All samples are training samples; readers of the set
    hold out a tenth of the patients for validation.

    Args:
        output_dir: output folder.
        settings: settings that the samples depend on (weights, appearance, ``seed``), written to ``settings.json``.
        appearance: index of a sample -> its appearance; ``None`` keeps photographs as the network paints them.
        texture: whether to draw the texture of the appearance, if it has one.
        network_output: as for :class:`SampleSet`.

    Raises:
        RetinaError: as :class:`SampleSet`.
    """

    facts: Sequence[str] = (
        "Synthetic photographs of the retina with their labels. They show nobody's eye. For research only: not for "
        "diagnosis, nor as a ground for one.",
        "Labels: vessels/ holds the map that each photograph was painted around, reduced to the photograph's size. "
        "Nobody drew it on the photograph. vessel_shares/ holds what the generator was given, the share of each pixel "
        "that vessels cover; fovs/ the field of view; other folders masks that were drawn together with the "
        "photograph.",
        NAMES,
    )

    def __init__(
        self,
        output_dir: str | Path,
        settings: Mapping[str, Any],
        appearance: Callable[[int], Appearance] | None = None,
        texture: bool = True,
        network_output: NetworkOutput | None = None,
    ) -> None:
        super().__init__(output_dir, settings, network_output)
        self.appearance = appearance
        self.texture = texture

    def finish(self, sample: Mapping[Any, Any]) -> dict[Any, Any]:
        sample = {key: value for key, value in sample.items() if key not in CONDITIONS}
        if self.appearance is None:
            return sample
        index = int(sample["index"])
        appearance = self.appearance(index)
        random = texture_generator(int(self.settings.get("seed", 0)), index) if self.texture else None
        painted = _plain(sample["image"]).cpu().float() / 127.5 - 1
        fov, share = (_plain(sample[kind]).cpu().float() for kind in ("fov", "vessel_share"))
        image = render_appearance(painted, fov, share.round() >= HALF, appearance, random)
        look = {"mean": list(appearance.mean), "std": list(appearance.std)}
        return {**sample, "image": to_uint8(image), "appearance": look}


def _plain(value: Any) -> Tensor:
    return torch.as_tensor(value).as_subclass(torch.Tensor)
