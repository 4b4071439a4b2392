"""The command line: ``python -m retina_monai VERB``. Each verb imports its dependencies when it is called."""

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
    """Check every picture of data sets, summarise each set and split, and write datalist.json or an nnU-Net data set.

    Args:
        directories: folders of the data sets, as downloaded.
        output: file to write (datalist.json), or folder of the nnU-Net data set (nnUNet_raw).
        overwrite: true replaces existing output.
        skip_unreadable: true skips eyes with broken pictures and lists them.
        format: datalist or nnunet.
        dataset_id: ID of the nnU-Net data set, 1 to 999.
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
    """List the recognised data set layouts and where to get each data set."""
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
        directory: output folder; created if missing, never overwritten.
        count: number of eyes.
        size: side length in pixels.
        seed: random seed.
        grade: grade of diabetic retinopathy, 0 to 4, or mixed.
        myopia: false, true, mixed, or a degree in [0, 1].
        camera: name of a camera, or mixed; by default a random camera for each eye.
    """
    from retina_monai.data.phantom.fundus.fundus_phantom import write_phantoms

    check_settings({"count": count, "size": size, "seed": seed}, {"count": "phantom_count"})
    degree = myopia if type(myopia) in (int, float) or myopia == "mixed" else parse_switch(myopia, "myopia")
    written = write_phantoms(str(directory), count, size, seed, grade, degree, camera)
    return f"{count} phantoms of {size} x {size} pixels in {written}"


def release(run_dir: str, bundle: str = "pix2pix_vessel", overwrite: Any = False, trust: Any = False) -> str:
    """Copy trained weights into a bundle in half precision, with the table of appearances if there is one.

    The version of the bundle is increased, and the figures in its model card are marked as not measured for these
    weights.

    Args:
        run_dir: output_dir of the training.
        bundle: name of a bundle of this library, or path of a bundle such as ./mine.
        overwrite: true replaces existing weights.
        trust: true allows a bundle from outside this library to run its code.
    """
    from retina_monai.bundle import release as run

    path = run(str(run_dir), str(bundle), overwrite, parse_switch(trust, "trust"))
    return (
        f"wrote {path}. Next: evaluate the weights, update the figures in docs/README.md, check docs/data_license.txt"
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
    disc_dir: Any = None,
    size: Any = None,
) -> str | None:
    """Write a labelled synthetic data set: one photograph per vessel map of a folder or per phantom vessel tree.

    With several processes: torchrun --nproc_per_node 2 -m retina_monai synthesize ...

    Args:
        bundle: name of a bundle of this library, or two_stage, which colours the vessels and then paints around them;
            or path of a bundle such as ./mine, or FOLDER/two_stage for the bundles in FOLDER. Bundles joined by + work
            one after the other.
        input_dir: folder of the images that the first bundle takes (vessel maps for most), or a data set; by default
            phantoms are used. A bundle that starts from noise takes none.
        output_dir: output folder; an interrupted run is resumed. Defaults to a new folder in the bundle's runs.
        count: number of phantoms, or of samples from noise; only without input_dir.
        seed: random seed of phantoms, noise, random appearances, textures and warps.
        appearance: average, a camera, random, random:CAMERA, or path of a photograph.
        checkpoint: weights to use instead of the released ones; for two_stage {'lama_fundus': 'FILE'}, with one entry
            per bundle to replace.
        batch_size: number of photographs generated in parallel, each on its own thread. Does not affect the output.
            Defaults to the number of processors.
        skip_unreadable: true skips unreadable vessel maps and lists them.
        split: use only the vessel maps of this split of input_dir: training, validation or test.
        augment: number of warped copies of each vessel map; if set, only warped maps are used.
        texture: false omits the background texture and keeps photographs as the network paints them.
        trust: true allows a bundle from outside this library to run its code.
        fov_dir: folder with one field of view per vessel map of input_dir, under the same name.
        keep_names: true keeps the names of patients, eyes and files of an unpublished data set. By default they become
            pseudonyms, which cannot be resolved without that data set.
        disc_dir: folder with one disc mask per vessel map of input_dir, under the same name, for generators that take
            a disc. By default the discs of the data set are used, or found from the vessel maps.
        size: side length of the photographs in pixels, if the network supports other sizes than that of the bundle.
    """
    from retina_monai.synthesis import synthesize as run

    given = (input_dir, output_dir, fov_dir, disc_dir)
    maps, folder, fields, discs = (None if path is None else str(path) for path in given)
    weights = checkpoint if checkpoint is None or isinstance(checkpoint, dict) else str(checkpoint)
    options = (batch_size, skip_unreadable, str(split), augment, texture, trust, fields, keep_names, discs, size)
    written = run(str(bundle), maps, folder, count, seed, str(appearance), weights, *options)
    if os.environ.get("RANK", "0") != "0":  # only the first process prints
        return None
    return f"wrote a synthetic data set to {written}; train on it with --dataset_dir {written}"


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
    external_dir: Any = None,
) -> str:
    """Compare a synthetic data set with real ones, and write an HTML report (index.html) and its figures as JSON.

    Args:
        synthetic_dir: output of synthesize, a folder of images and masks, or a folder of photographs.
        real_dir: a real data set, or a list of them.
        output_dir: output folder; an interrupted evaluation is resumed.
        mode: training effort to measure usefulness: quick (none), full (half an hour), thorough (needs a GPU).
        size: side length in pixels at which the sets are compared.
        seed: random seed.
        families: image, distribution, faithfulness, privacy, usefulness, separated by commas; or all.
        judge: weights of the vessel segmentation network to use instead of the released ones.
        encoder: weights of the retina encoder to use instead of the released ones.
        inception_weights: weights of Inception-v3, if you have them, for its FID and KID.
        skip_unreadable: true skips eyes with broken pictures and lists them.
        cache_dir: folder of cached results; share it between reports on the same real data set to save time.
        mlflow: false turns off logging to MLflow.
        tracking_uri: URI of an MLflow server; defaults to SQLite in output_dir.
        generator: path of the bundle that made the synthetic set, if it is not a released bundle of this library;
            faithfulness generates with it again. FOLDER/two_stage for a chain.
        trust: true allows a generator from outside this library to run its code.
        external_dir: a real data set of another camera, or a list of them, to test the networks of usefulness on too.
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
        external_dir=external_dir,
    )
    return f"{describe_answers(written)}\nreport: {written / 'index.html'}"


VERBS: dict[str, Callable[..., Any]] = {
    "prepare": prepare,
    "list": list_layouts,
    "phantom": phantom,
    "release": release,
    "synthesize": synthesize,
    "evaluate": evaluate,
}


def main() -> None:
    """Run the verb given on the command line; errors print one sentence and exit with status 1."""
    install_excepthook()
    check_options(sys.argv[1:])
    fire.Fire(VERBS, name="retina_monai")


def check_options(arguments: Sequence[str]) -> None:
    """Reject unknown options before the verb runs. Fire itself would do so only afterwards.

    Args:
        arguments: command-line arguments. Those after ``--`` are Fire's own.

    Raises:
        RetinaError: the verb has no such option. The message suggests the most similar one.
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
            hint = f"did you mean --{alike[0]}?" if alike else f"see python -m retina_monai {verb} --help"
            raise RetinaError(f"{verb} has no option --{name}: {hint}")


if __name__ == "__main__":
    main()
