"""A content store keeps pictures under digests and links under names: the names say what the files are."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np

from retina_monai.data.export.prepare import write_datalist
from retina_monai.data.files.checking import check_contents
from retina_monai.data.listing.layout import SPLITS
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom


def _store(folder: Path, array: np.ndarray, link: Path) -> None:
    """Write ``(C, H, W)`` as NIfTI under a digest, and link to it."""
    link.parent.mkdir(parents=True, exist_ok=True)
    columns_first = np.ascontiguousarray(array.transpose(2, 1, 0))
    nibabel.save(nibabel.Nifti1Image(columns_first, np.diag([-1, -1, 1, 1])), folder / "new.nii.gz")
    blob = (folder / "new.nii.gz").rename(folder / f"9f86d081{len(list(folder.iterdir()))}")
    link.symlink_to(blob)


def test_links_of_a_content_store_keep_their_names(tmp_path: Path) -> None:
    store, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    store.mkdir()
    for number in range(2):
        eye = generate_phantom(number, 64)
        _store(store, eye["image"], snapshot / "images" / f"e{number}.nii.gz")
        _store(store, eye["vessel"], snapshot / "vessels" / f"e{number}.nii.gz")
    names = [{"image": f"images/e{i}.nii.gz", "label": f"vessels/e{i}.nii.gz", "patient": str(i)} for i in range(2)]
    (store / "list").write_text(json.dumps({"training": names}))
    (snapshot / "list.json").symlink_to(store / "list")
    folder = find_datalist(snapshot)
    write_datalist(folder, tmp_path / "written.json")
    for datalist in (folder, find_datalist(snapshot / "list.json"), find_datalist(tmp_path / "written.json")):
        items = [item for split in SPLITS for item in datalist[split]]
        assert [Path(item["image"]).name for item in items] == ["e0.nii.gz", "e1.nii.gz"]
        assert check_contents(items) == items
