"""List the eyes of a data set whose segmented vessel map and disc are plausible.

    python scripts/plausible_eyes.py FOLDER [--most_grade 4]

FOLDER holds what scripts/label_photographs.sh wrote: ``vessels``, the data set written by iternet_vessel, and
``labelled``, the same with the discs found by unet_disc. Writes FOLDER/datalist.json, the data set of the plausible
eyes, and FOLDER/left_out.csv, the other eyes with the reasons.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fire
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.data.listing.layout import SPLITS
from retina_monai.data.listing.manifest import read_manifest
from retina_monai.files import write_json, write_text
from retina_monai.kinds import KINDS
from retina_monai.metrics.biomarkers import vessel_density

DENSITY = (0.03, 0.2)
"""Range of the share of the field of view that vessels cover."""

FRAGMENT = 0.02
"""A connected component with a smaller share of the vessel pixels is a fragment."""

MOST_FRAGMENTED = 0.25
"""Maximum share of the vessel pixels in fragments."""

RIM = 0.015
"""Width of the rim of the field of view, as a share of its height."""

MOST_AT_RIM = 0.1
"""Maximum share of the vessel pixels in the rim, where networks take the border of the photograph for a vessel."""

LEAST_CERTAIN = 0.75
"""Minimum mean probability of the vessel pixels; it falls with haze and blur."""

LEAST_CONFIDENCE = 0.9
"""Minimum confidence of the disc."""


def main(folder: str, most_grade: int = 4) -> None:
    """Write the list of plausible eyes, and that of the others.

    Args:
        folder: folder of ``vessels`` and ``labelled``.
        most_grade: highest grade of diabetic retinopathy to keep; eyes without a grade are kept.
    """
    root = Path(folder)
    lines = {line["name"]: line for line in read_manifest(root / "labelled")}
    content = json.loads((root / "labelled" / "datalist.json").read_text(encoding="utf-8"))
    kept: dict[str, list[Any]] = {split: [] for split in SPLITS}
    rows: list[dict[str, Any]] = []
    for split in SPLITS:
        for item in content[split]:
            reasons = faults(item, lines[item["name"]], root, most_grade)
            if reasons:
                rows.append({"name": item["name"], "split": split, "reasons": "; ".join(reasons)})
            else:
                kept[split].append(item | {kind: f"labelled/{item[kind]}" for kind in KINDS if kind in item})
    table = io.StringIO()
    writer = csv.DictWriter(table, ["name", "split", "reasons"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(root / "left_out.csv", table.getvalue())
    write_json(root / "datalist.json", {key: content[key] for key in content if key not in SPLITS} | kept)
    print(f"{sum(map(len, kept.values()))} eyes in {root / 'datalist.json'}, {len(rows)} in {root / 'left_out.csv'}")


def faults(item: Mapping[str, Any], line: Mapping[str, Any], root: Path, most_grade: int) -> list[str]:
    """Reasons to leave out an eye.

    Args:
        item: its entry in ``datalist.json``.
        line: its line of the manifest.
        root: folder of ``vessels`` and ``labelled``.
        most_grade: highest grade to keep.
    """
    if item.get("grade", 0) > most_grade:
        return [f"grade {item['grade']}"]
    reasons = []
    if line.get("confidence", 0.0) < LEAST_CONFIDENCE:
        reasons.append(f"disc confidence {line.get('confidence', 0.0):.2f}")
    vessel, fov = (read_mask(root / "labelled" / item[kind])[0] > 0 for kind in ("vessel", "fov"))
    probability = read_photograph(root / "vessels" / "probabilities" / Path(item["vessel"]).name)[0] / 255
    return reasons + map_faults(vessel, fov, probability)


def map_faults(vessel: NDArray[np.bool_], fov: NDArray[np.bool_], probability: NDArray[np.float64]) -> list[str]:
    """Reasons why a vessel map is implausible.

    Args:
        vessel: segmented vessel map ``(H, W)``.
        fov: field of view ``(H, W)``.
        probability: vessel probabilities ``(H, W)`` in [0, 1].
    """
    if not vessel.any():
        return ["no vessel"]
    density = vessel_density(vessel, fov)
    components, _ = ndimage.label(vessel, np.ones((3, 3)))
    shares = np.bincount(components[vessel])[1:] / np.count_nonzero(vessel)
    fragmented = float(shares[shares < FRAGMENT].sum())
    depth = ndimage.distance_transform_edt(np.pad(fov, 1))[1:-1, 1:-1]
    at_rim = float((depth[vessel] <= RIM * np.ptp(np.flatnonzero(fov.any(axis=1)))).mean())
    certain = float(probability[vessel].mean())
    found: Sequence[tuple[bool, str]] = [
        (not DENSITY[0] <= density <= DENSITY[1], f"vessel density {density:.3f}"),
        (fragmented > MOST_FRAGMENTED, f"{fragmented:.0%} of the vessels in fragments"),
        (at_rim > MOST_AT_RIM, f"{at_rim:.0%} of the vessels at the rim"),
        (certain < LEAST_CERTAIN, f"mean probability of vessels {certain:.2f}"),
    ]
    return [text for wrong, text in found if wrong]


if __name__ == "__main__":
    fire.Fire(main)
