"""The command line: ``python -m retina_monai VERB``. What a verb needs is imported when it is called."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

import fire

from retina_monai.console import install_excepthook
from retina_monai.errors import RetinaError, parse_switch
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
    from retina_monai.data.export.prepare import prepare as run

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
    from retina_monai.data.export.prepare import list_layouts as run

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
    from retina_monai.data.phantom.fundus.fundus_phantom import write_phantoms

    check_settings({"count": count, "size": size, "seed": seed}, {"count": "phantom_count"})
    degree = myopia if type(myopia) in (int, float) or myopia == "mixed" else parse_switch(myopia, "myopia")
    written = write_phantoms(str(directory), count, size, seed, grade, degree, camera)
    return f"{count} phantoms of {size} x {size} pixels in {written}"


def release(run_dir: str, bundle: str = "pix2pix_vessel", overwrite: Any = False, trust: Any = False) -> str:
    """Put the weights of a training into a bundle, in half precision (and its appearances, if it has any).

    The bundle gets its next version, and the figures of its card are marked as not measured for these weights.

    Args:
        run_dir: the training's output_dir.
        bundle: name of a bundle of this library, or the path of one, such as ./mine.
        overwrite: true replaces weights that are there.
        trust: true lets a bundle that is not of this library run its code.
    """
    from retina_monai.bundle import release as run

    path = run(str(run_dir), str(bundle), overwrite, parse_switch(trust, "trust"))
    return (
        f"wrote {path}. Next: measure the weights, write the figures into docs/README.md, check docs/data_license.txt"
    )


def synthesize(
    bundle: str = "pix2pix_vessel",
    input_dir: str | None = None,
    output_dir: str | None = None,
    count: int | None = None,
    seed: int = 0,
    appearance: str = "average",
    checkpoint: Any = None,
    batch_size: int | None = None,
    skip_unreadable: Any = False,
    split: str = "all",
    augment: int = 0,
    texture: Any = True,
    trust: Any = False,
    fov_dir: str | None = None,
    keep_names: Any = False,
) -> str | None:
    """Write a labelled synthetic set: a photograph for each vessel map of a folder, or for trees of the phantom.

    With several processes: torchrun --nproc_per_node 2 -m retina_monai synthesize ...

    Args:
        bundle: name of a bundle of this library, or two_stage, which colours the vessels and then paints around them;
            or the path of a bundle, such as ./mine, or FOLDER/two_stage, whose bundles lie in FOLDER.
        input_dir: a folder of vessel maps, or a data set; without it, phantoms.
        output_dir: where to write; an interrupted set there is completed. Without it: a folder in the bundle's runs.
        count: how many phantoms, where there is no input_dir.
        seed: of phantoms, random appearances, textures and warps.
        appearance: average, a camera, random, random:CAMERA, or the path of a photograph.
        checkpoint: other weights than the released ones; of two_stage {'lama_fundus': 'FILE'}, or of both its bundles.
        batch_size: photographs at the same time, each on a thread; without it, as many as there are processors. It does
            not change them.
        skip_unreadable: true leaves out vessel maps that cannot be read, and says which.
        split: training, validation or test: vessel maps of that split of input_dir only.
        augment: warp each map so many times, and generate from the warped ones only.
        texture: false leaves photographs as the network paints them, without the texture of real backgrounds.
        trust: true lets a bundle that is not of this library run its code.
        fov_dir: a folder of fields of view, one for each vessel map of input_dir and of its name.
        keep_names: true keeps the names of patients, eyes and files of a data set of your own; otherwise the set has
            pseudonyms, which nobody without that data set can resolve.
    """
    from retina_monai.synthesis import synthesize as run

    maps, folder, fields = (None if path is None else str(path) for path in (input_dir, output_dir, fov_dir))
    weights = checkpoint if checkpoint is None or isinstance(checkpoint, dict) else str(checkpoint)
    options = (batch_size, skip_unreadable, str(split), augment, texture, trust, fields, keep_names)
    written = run(str(bundle), maps, folder, count, seed, str(appearance), weights, *options)
    if os.environ.get("RANK", "0") != "0":  # of torchrun's processes the first speaks
        return None
    return f"a synthetic set in {written}; train on it with --dataset_dir {written}"


def evaluate(
    synthetic_dir: Any = None,
    real_dir: Any = None,
    output_dir: Any = "report",
    mode: str = "quick",
    size: int = 256,
    seed: int = 0,
    families: Any = "all",
    judge: Any = None,
    encoder: Any = None,
    inception_weights: Any = None,
    skip_unreadable: Any = False,
    cache_dir: Any = None,
    mlflow: Any = True,
    tracking_uri: str | None = None,
    generator: Any = None,
    trust: Any = False,
) -> str:
    """Measure a synthetic set against a real one, and write a report to read (index.html) and one to compute with.

    Args:
        synthetic_dir: what synthesize wrote, a folder with images and masks, or one of photographs alone.
        real_dir: a real set, or a list of them.
        output_dir: where to write; an interrupted evaluation there is resumed.
        mode: how much is trained to measure usefulness: quick (nothing), full (half an hour), thorough (for a GPU).
        size: pixels a side at which the sets are compared.
        seed: of what is drawn.
        families: image, distribution, faithfulness, privacy, usefulness, separated by commas; or all.
        judge: other weights of the vessel segmentation network than the released ones.
        encoder: other weights of the retina encoder than the released ones.
        inception_weights: of Inception-v3, if you have them, for its FID and KID.
        skip_unreadable: true leaves out eyes whose pictures are broken, and says which.
        cache_dir: of finished work; reports on the same real set that share one are quicker.
        mlflow: false does not log to MLflow.
        tracking_uri: of an MLflow server; else SQLite in output_dir.
        generator: path of the bundle that made the synthetic set, if it is not a released one of this library;
            faithfulness asks it to paint again. FOLDER/two_stage for a chain.
        trust: true lets a generator that is not of this library run its code.
    """
    from retina_monai.evaluation.report.report import describe_answers
    from retina_monai.evaluation.report.report import evaluate as run

    written = run(
        synthetic_dir,
        real_dir,
        output_dir,
        mode=mode,
        size=size,
        seed=seed,
        families=families,
        judge=judge,
        encoder=encoder,
        inception_weights=inception_weights,
        skip_unreadable=parse_switch(skip_unreadable, "skip_unreadable"),
        cache_dir=cache_dir,
        mlflow=parse_switch(mlflow, "mlflow"),
        tracking_uri=tracking_uri,
        generator=None if generator is None else str(generator),
        trust=parse_switch(trust, "trust"),
    )
    return f"{describe_answers(written)}\nread {written / 'index.html'}"


VERBS: dict[str, Callable[..., Any]] = {
    "prepare": prepare,
    "list": list_layouts,
    "phantom": phantom,
    "release": release,
    "synthesize": synthesize,
    "evaluate": evaluate,
}


def main() -> None:
    """Run the verb on the command line; a mistake ends with one sentence and exit status 1."""
    install_excepthook()
    check_options(sys.argv[1:])
    fire.Fire(VERBS, name="retina_monai")


def check_options(arguments: Sequence[str]) -> None:
    """Refuse options that the verb does not have; Fire would do so when all is done.

    Args:
        arguments: of the command line. What comes after ``--`` is Fire's own.

    Raises:
        RetinaError: names the first of them, and the option that it resembles.
    """
    verb = arguments[0] if arguments else ""
    if verb not in VERBS:
        return
    options = [*inspect.signature(VERBS[verb]).parameters, "help"]
    own = arguments[1 : arguments.index("--")] if "--" in arguments else arguments[1:]
    for argument in own:
        match = re.match(r"--?([A-Za-z][\w-]+)(=|$)", argument)
        name = match[1].replace("-", "_") if match else ""
        if name and name not in options and name.removeprefix("no") not in options:
            alike = get_close_matches(name, options, 1)
            meant = f"is --{alike[0]} meant?" if alike else f"see python -m retina_monai {verb} --help"
            raise RetinaError(f"{verb} has no option --{name}: {meant}")


if __name__ == "__main__":
    main()
