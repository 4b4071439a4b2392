"""The command line: ``python -m retina_monai VERB``. What a verb needs is imported when it is called."""

from __future__ import annotations

from typing import Any

import fire

from retina_monai.console import install_excepthook
from retina_monai.errors import parse_switch
from retina_monai.settings import check_settings

__all__ = ["main"]


def prepare(
    *directories: str,
    output: str = "",
    overwrite: Any = False,
    skip_unreadable: Any = False,
    format: str = "datalist",
    dataset_id: int = 501,
) -> str:
    """Print what data sets hold, per set and split, check every picture, and write datalist.json or nnU-Net's form.

    Args:
        directories: where the sets lie, as they were downloaded.
        output: the file to write (datalist.json), or the folder for nnU-Net's data set (nnUNet_raw).
        overwrite: true replaces what is there.
        skip_unreadable: true leaves out eyes whose pictures are broken, and says which.
        format: datalist, or nnunet.
        dataset_id: number of nnU-Net's data set, 1 to 999.
    """
    from retina_monai.data.prepare import prepare as run

    return run(
        [str(directory) for directory in directories],
        str(output),
        parse_switch(overwrite, "overwrite"),
        parse_switch(skip_unreadable, "skip_unreadable"),
        str(format),
        dataset_id,
    )


def list_layouts() -> str:
    """Print the layouts that are recognised, and how to get each data set."""
    from retina_monai.data.prepare import list_layouts as run

    return run()


def phantom(
    directory: str,
    count: int = 40,
    size: int = 512,
    seed: int = 0,
    grade: Any = 0,
    myopia: Any = False,
    camera: str | None = None,
) -> str:
    """Write a set of phantoms: procedural fundus photographs with exact vessel maps, discs, cups and lesions.

    Args:
        directory: where to write; made if need be, never overwritten.
        count: how many eyes.
        size: pixels a side.
        seed: of the set.
        grade: of diabetic retinopathy, 0 to 4, or mixed.
        myopia: false, true, mixed, or a degree from 0 to 1.
        camera: its name, or mixed; without it a random one for each eye.
    """
    from retina_monai.data.phantom import write_phantoms

    check_settings({"phantom_count": count, "size": size, "seed": seed})
    degree = myopia if type(myopia) in (int, float) or myopia == "mixed" else parse_switch(myopia, "myopia")
    written = write_phantoms(str(directory), count, size, seed, grade, degree, camera)
    return f"{count} phantoms of {size} x {size} pixels in {written}"


def release(run_dir: str, bundle: str = "pix2pix_vessel") -> str:
    """Put the weights of a training into a bundle, in half precision, with the appearances of its training eyes.

    Args:
        run_dir: the training's output_dir.
        bundle: name or path.
    """
    from retina_monai.bundle import release as run

    return f"wrote {run(run_dir, bundle)}"


def synthesize(
    bundle: str = "pix2pix_vessel",
    input_dir: str | None = None,
    output_dir: str | None = None,
    count: int | None = None,
    seed: int = 0,
    appearance: str = "average",
    checkpoint: str | None = None,
    batch_size: int = 1,
    skip_unreadable: Any = False,
) -> str:
    """Write a labelled synthetic set: a photograph for each vessel map of a folder, or for trees of the phantom.

    Args:
        bundle: name or path.
        input_dir: a folder of vessel maps, or a data set; without it, phantoms.
        output_dir: where to write; an interrupted set there is completed. Without it: a folder in the bundle's runs.
        count: how many phantoms, where there is no input_dir.
        seed: of phantoms and random appearances.
        appearance: average, a camera, random, random:CAMERA, or the path of a photograph.
        checkpoint: other weights than the released ones.
        batch_size: photographs at a time.
        skip_unreadable: true leaves out vessel maps that cannot be read, and says which.
    """
    from retina_monai.synthesis import synthesize as run

    maps, folder, weights = (None if path is None else str(path) for path in (input_dir, output_dir, checkpoint))
    skip = parse_switch(skip_unreadable, "skip_unreadable")
    written = run(str(bundle), maps, folder, count, seed, str(appearance), weights, batch_size, skip)
    return f"a synthetic set in {written}; train on it with --dataset_dir {written}"


VERBS = {"prepare": prepare, "list": list_layouts, "phantom": phantom, "release": release, "synthesize": synthesize}


def main() -> None:
    """Run the verb on the command line; a mistake ends with one sentence and exit status 1."""
    install_excepthook()
    fire.Fire(VERBS, name="retina_monai")


if __name__ == "__main__":
    main()
