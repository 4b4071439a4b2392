"""The table: what is wrong (or only unusual), and the entry points that must say so (or not mind).

Each fault of the data has its test at the reader (``tests/data``), each rule of a setting where it is checked
(``tests/test_settings.py``, ``tests/networks``), each fault of weights in ``tests/test_weights.py``. The table proves
that every entry point goes through them: for each there is a case of the listing, of a file, of what a mask shows, of a
setting, of weights and of the output folder.

A function makes the material of a case in a folder of its own and returns what is unusual about the command: ``data``
is the data set, which each entry point takes in its own way; ``twin`` a data set to which what is accepted must be
equal, if not the phantoms; the rest are settings.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retina_monai.data.files.writing import write_png
from wrong_input.material import (
    SPOILED,
    Material,
    Overrides,
    black_corner,
    cut_corner,
    few_colours,
    grey,
    lying,
    pixels,
    png16,
    upright,
)

TRAINING = ("training", "evaluation")
GENERATING = ("inference", "synthesize")
ALL = (*TRAINING, "prepare", *GENERATING, "evaluate")
"""Of ``pix2pix_vessel``, and the verbs. The other bundles share most of the code, so they meet what is theirs."""

LEARNING = ("iternet_training", "encoder_training")
TESTING = ("iternet_evaluation", "encoder_evaluation")
APPLYING = ("iternet_inference", "encoder_inference")
OTHERS = (*LEARNING, *TESTING, *APPLYING)
"""Of the bundles that look at photographs."""

STAGES = ("color", "lama", "ddpm")
STAGES_LEARNING, STAGES_TESTING, STAGES_APPLYING = (
    tuple(f"{stage}_{task}" for stage in STAGES) for task in ("training", "evaluation", "inference")
)
STAGES_ALL = (*STAGES_LEARNING, *STAGES_TESTING, *STAGES_APPLYING)
"""Of the two stages that paint vessels first, and then the rest, and of diffusion."""

Make = Callable[[Material], Overrides]


@dataclass(frozen=True)
class Case:
    """What each entry point does; those that are not named do not meet the case."""

    make: Make
    refused: dict[str, str] = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    """Patients that are left out of what is accepted."""

    @property
    def name(self) -> str:
        return self.make.__name__


def refused(make: Make, sentence: str, *entries: str, accepted: tuple[str, ...] = ()) -> Case:
    return Case(make, dict.fromkeys(entries or ALL, sentence), accepted)


def accepted(make: Make, *entries: str, without: tuple[str, ...] = ()) -> Case:
    return Case(make, {}, entries or ALL, without)


# Folders and lists


def directory_that_no_adapter_recognises(material: Material) -> Overrides:
    (material.folder / "letters").mkdir()
    (material.folder / "letters" / "letter.txt").write_text("Dear reader")
    return {"data": material.folder / "letters"}


def list_without_test_eyes(material: Material) -> Overrides:
    return {"data": material.eyes().write_list({"training": tuple(range(8))})}


def list_of_test_eyes_only(material: Material) -> Overrides:
    return {"data": material.eyes().write_list({"test": tuple(range(8))})}


def fewer_eyes_than_a_batch(material: Material) -> Overrides:
    return {"data": material.eyes().folder, "batch_size": 6}


def names_of_every_kind(material: Material) -> Overrides:
    eyes = material.eyes()
    names = ["with a space", "umläut ß", "new\nline", "a#b?c%20&d", "$HOME @x", "[1, 2]", "-o 'quoted\"", "眼睛"]
    for eye, name in enumerate(names):
        for key in ("image", "vessel", "fov"):
            path = eyes.path(key, eye)
            path.rename(eyes.move(key, eye, f"{name}.png"))
    eyes.write_list()
    return {"data": eyes.folder.rename(material.folder / "eyes of\nMüller @home 'a' $1 100%")}


def broken_file_of_a_name_with_newlines(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        path = eyes.path("vessel", eye)
        path.rename(eyes.move("vessel", eye, f"one\nError: two\x1b[2J{eye}.png"))
        eyes.path("vessel", eye).write_bytes(b"Dear reader")
    return {"data": eyes.write_list()}


def folder_with_a_number_sign(material: Material) -> Overrides:
    return {"data": material.eyes().folder.rename(material.folder / "eyes #1")}


# Files


def three_broken_files(material: Material) -> Overrides:
    eyes = material.eyes()
    spoil_three(eyes.path("vessel", 1), eyes.path("image", 2), eyes.path("vessel", 3))
    return {"data": eyes.folder}


def three_broken_photographs(material: Material) -> Overrides:
    eyes = material.eyes()
    spoil_three(*(eyes.path("image", eye) for eye in (1, 2, 3)))
    return {"data": eyes.folder}


def three_broken_photographs_skipped(material: Material) -> Overrides:
    return three_broken_photographs(material) | {"skip_unreadable": "true"}


def three_broken_files_skipped(material: Material) -> Overrides:
    return three_broken_files(material) | {"skip_unreadable": "true"}


def spoil_three(first: Path, second: Path, third: Path) -> None:
    """Empty, cut short, something else."""
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:-300])
    third.write_bytes(b"Dear reader, this is no picture at all.")


# What pictures show


def vessel_map_without_a_vessel(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        write_png(eyes.path("vessel", eye), np.zeros((1, 128, 128), np.uint8))
    return {"data": eyes.folder}


def mask_and_photograph_swapped(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        image, vessel = eyes.path("image", eye), eyes.path("vessel", eye)
        content = image.read_bytes()
        image.write_bytes(vessel.read_bytes())
        vessel.write_bytes(content)
    return {"data": eyes.folder}


# How pictures are stored


def png(picture: Image.Image, **how: Any) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG", **how)
    return file.getvalue()


def deep(picture: Image.Image) -> bytes:
    """16 bits a channel, which hold no more than 8."""
    return png16(np.asarray(picture).astype(np.uint16) * 257)


PHOTOGRAPHS: list[tuple[Callable[[Image.Image], bytes], Callable[[Image.Image], Image.Image]]] = [
    (lambda picture: png(grey(picture)), grey),
    (lambda picture: png(few_colours(picture)), few_colours),
    (lambda picture: png(picture.convert("RGBA")), lambda picture: picture),
    (lambda picture: png(cut_corner(picture)), black_corner),
    (lambda picture: deep(grey(picture)), grey),
    (lambda picture: png(lying(picture), exif=upright()), lambda picture: picture),
    (png, lambda picture: picture),
]
"""How a photograph is stored, and what it shows."""

MASKS: list[Callable[[np.ndarray], bytes]] = [
    lambda mask: png(Image.fromarray(mask * np.uint8(255))),
    lambda mask: png(Image.fromarray(mask)),
    lambda mask: png(Image.fromarray(mask * np.uint8(255)).convert("1")),
    lambda mask: png(Image.fromarray(mask * np.uint8(255)).convert("RGBA")),
    lambda mask: png(Image.fromarray(mask * np.uint8(255)).convert("P")),
    lambda mask: png16(mask.astype(np.uint16) * 65535),
    lambda mask: png(Image.fromarray(np.stack([mask * 0, mask * 255, mask * 0], -1).astype(np.uint8))),
    lambda mask: png(Image.fromarray(np.stack([mask * 255] * 3, -1).astype(np.uint8))),
]


def eyes_stored_in_every_way(material: Material) -> Overrides:
    """Each in another; the twin's photographs are RGB."""
    eyes, plain = material.eyes(), material.eyes("twin")
    for eye, (stored, shown) in enumerate(PHOTOGRAPHS):
        with Image.open(eyes.path("image", eye)) as picture:
            photograph = picture.convert("RGB")
        eyes.path("image", eye).write_bytes(stored(photograph))
        shown(photograph).convert("RGB").save(plain.path("image", eye))
        for key in ("vessel", "fov"):
            mask = (pixels(eyes.path(key, eye)) >= 128).astype(np.uint8)
            eyes.path(key, eye).write_bytes(MASKS[eye](mask))
    return {"data": eyes.folder, "twin": plain.folder}


# Settings


def setting(key: str, value: Any) -> Make:
    def make(material: Material) -> Overrides:
        return {key: value}

    make.__name__ = f"{key}_{value}".replace(" ", "").replace("[", "").replace("]", "")
    return make


def patch_that_the_network_makes_nothing_of(material: Material) -> Overrides:
    return {"patch": 16, "levels": 6}


def unknown_appearance(material: Material) -> Overrides:
    return {"appearance": "sepia"}


def switch_that_is_neither(material: Material) -> Overrides:
    return {"linear_decay": "perhaps"}


def skipping_perhaps(material: Material) -> Overrides:
    return {"data": material.phantoms, "skip_unreadable": "perhaps"}


# Weights


class Malice:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def malicious_weights(material: Material) -> Overrides:
    content = pickle.dumps({"encoder.0.weight": Malice(material.folder / "malice_was_executed")})
    return {"checkpoint": material.checkpoint(content)}


def no_initial_weights(material: Material) -> Overrides:
    return {"initial_weights": material.folder / "nothing.pt"}


def no_weights_of_the_first_stage(material: Material) -> Overrides:
    return {"color_vessel_weights": material.folder / "nothing.pt", "generated_share": 0.5}


# Where to write


def output_directory_that_cannot_be_written(material: Material) -> Overrides:
    (material.folder / "file").write_text("not a folder")
    return {"output_dir": material.folder / "file" / "run"}


def output_directory_of_another_training(material: Material) -> Overrides:
    shutil.copytree(material.trained, material.folder / "trained")
    return {"output_dir": material.folder / "trained", "mlflow": "true"}


def output_directory_of_another_set(material: Material) -> Overrides:
    return {"output_dir": material.eyes("set").folder}


def output_directory_in_use(material: Material) -> Overrides:
    """By another process, which starts when the case does; see ``busy``."""
    return {"output_dir": material.folder / "busy"}


def cache_that_cannot_be_made(material: Material) -> Overrides:
    (material.folder / "file").write_text("not a folder")
    return {"cache_dir": material.folder / "file" / "cache"}


# Evaluating a synthetic set


def no_such_real_directory(material: Material) -> Overrides:
    return {"real_dir": material.folder / "nowhere"}


def photographs_alone(material: Material) -> Overrides:
    shutil.copytree(material.phantoms / "images", material.folder / "set")
    return {"data": material.folder / "set", "twin": material.folder / "set"}


def synthetic_set_that_is_a_copy_of_the_real_one(material: Material) -> Overrides:
    eyes = material.eyes("copy")
    for eye in range(8):
        with Image.open(eyes.path("image", eye)) as picture:
            picture.save(eyes.move("image", eye, f"generated_{eye}.tif"))
    return {"data": eyes.write_list(), "real_dir": material.phantoms}


def set_that_is_not_finished(material: Material) -> Overrides:
    eyes = material.eyes_without_list()
    (eyes / "manifest.jsonl").write_text("")
    return {"data": eyes}


def report_among_the_eyes(material: Material) -> Overrides:
    eyes = material.eyes().folder
    return {"data": eyes, "output_dir": eyes}


def output_directory_of_another_page(material: Material) -> Overrides:
    (material.folder / "page").mkdir()
    (material.folder / "page" / "index.html").write_text("Dear reader")
    return {"output_dir": material.folder / "page"}


def no_weights_of_the_judge(material: Material) -> Overrides:
    return {"judge": material.folder / "nothing.pt"}


def malicious_weights_of_the_judge(material: Material) -> Overrides:
    return {"judge": malicious_weights(material)["checkpoint"]}


def no_weights_of_the_encoder(material: Material) -> Overrides:
    return {"encoder": material.folder / "nothing.pt"}


def no_weights_of_inception(material: Material) -> Overrides:
    return {"inception_weights": material.folder / "nothing.pt"}


# Tracking


def server_that_does_not_answer(material: Material) -> Overrides:
    return {"mlflow": "true", "tracking_uri": "http://127.0.0.1:9"}


NO_LAYOUT = r"/letters (is laid out as none of the known data sets|holds no (vessel map|photograph))"

LISTING = [
    refused(directory_that_no_adapter_recognises, NO_LAYOUT, *ALL, *OTHERS, *STAGES_ALL),
    refused(no_such_real_directory, r"/nowhere does not exist: give a directory", "evaluate"),
    refused(set_that_is_not_finished, r"/eyes is not finished", "evaluate"),
    refused(
        list_of_test_eyes_only,
        r"the data set has no training eyes",
        "training",
        *LEARNING,
        *STAGES_LEARNING,
    ),
    refused(
        list_without_test_eyes,
        r"the data set has no test eyes",
        "evaluation",
        "iternet_evaluation",
        *STAGES_TESTING,
    ),
    refused(
        setting("splits", "test"),
        r"eyes of 2 patients for test, and 8 are needed",
        "encoder_evaluation",
    ),
    refused(
        fewer_eyes_than_a_batch,
        r"batch_size 6 is too large for 5 eyes",
        "training",
        accepted=("inference",),
    ),
    refused(
        folder_with_a_number_sign,
        r"_dir \S*/eyes ::1 contains # or ::",
        "inference",
        accepted=("prepare", "synthesize", "evaluate"),
    ),
    accepted(names_of_every_kind),
]

FILES = [
    refused(
        three_broken_files,
        r"(?=.*vessels/phantom_00001)(?=.*images/phantom_00002).*vessels/phantom_00003",
        *ALL,
        *STAGES_ALL,
    ),
    refused(
        three_broken_photographs,
        r"images/phantom_00001.*images/phantom_00002.*images/phantom_00003",
        *OTHERS,
    ),
    accepted(three_broken_files_skipped, *ALL, "lama_inference", without=("patient 1", "patient 2", "patient 3")),
    accepted(three_broken_photographs_skipped, *APPLYING, without=("patient 1", "patient 2", "patient 3")),
    refused(broken_file_of_a_name_with_newlines, r"vessels/one\\nError: two\\x1b\[2J0.png is damaged", "prepare"),
    accepted(eyes_stored_in_every_way),
    accepted(photographs_alone, "evaluate"),
]

MASKS_SHOW = [
    refused(
        vessel_map_without_a_vessel,
        r"phantom_0000\d.png has no vessel in it",
        *ALL,
        *LEARNING,
        *TESTING,
        *STAGES_ALL,
    ),
    refused(
        mask_and_photograph_swapped,
        r"phantom_0000\d.png is a (mask|photograph where a vessel map belongs)",
        "evaluate",
        *APPLYING,
    ),
    refused(
        synthetic_set_that_is_a_copy_of_the_real_one,
        r"/copy is the real set, or a part of it",
        "evaluate",
    ),
]

SETTINGS = [
    refused(setting("size", 100), r"size must be a multiple of 16 .* got 100", "training"),
    refused(
        setting("size", 72),
        r"size must be a multiple of 16 .* got 72",
        "inference",
        "evaluation",
        "color_inference",
        "color_evaluation",
    ),
    refused(setting("size", 72), r"size must be a multiple of 32 .* got 72", "ddpm_training"),
    refused(setting("size", 18), r"size must be a multiple of 4 .* got 18", "ddpm_inference"),
    refused(setting("size", 200), r"size must be a multiple of 16", "encoder_training", "encoder_evaluation"),
    refused(
        setting("size", 12),
        r"size must be an integer >= 16, got 12",
        "iternet_evaluation",
        *APPLYING,
        "color_training",
        "lama_training",
        "lama_evaluation",
        "lama_inference",
        "ddpm_evaluation",
    ),
    refused(
        patch_that_the_network_makes_nothing_of,
        r"patch must be at least \d+ for a network",
        "iternet_training",
    ),
    refused(setting("batch_size", 99), r"batch_size 99 is too large for 5 eyes", *LEARNING),
    refused(setting("batch_size", 0), r"batch_size must be an integer >= 1, got 0", "synthesize"),
    refused(setting("count", 0), r"count must be an integer >= 1, got 0", "synthesize"),
    refused(setting("seed", "once"), r"seed must be an integer in \[0, \d+\], got 'once'", "synthesize", "evaluate"),
    refused(setting("precision", "foo"), r"precision foo is not available", "training"),
    refused(setting("discriminator_norm", "foo"), r"discriminator_def cannot be built: .*'FOO'", "training"),
    refused(
        setting("process", "noise"),
        r"network_def cannot be built: process must be",
        "ddpm_training",
    ),
    refused(setting("sampler", "ddim"), r"sampler of process clean must be one of euler", "ddpm_inference"),
    refused(switch_that_is_neither, r"linear_decay is a switch", "training"),
    refused(skipping_perhaps, r"skip_unreadable is a switch", "prepare", "synthesize", "evaluate"),
    refused(setting("mlflow", "perhaps"), r"mlflow is a switch", "evaluate"),
    refused(setting("output_dir", ""), r"output_dir must be a path, got '': give one", "training", "synthesize"),
    refused(setting("synthetic_dir", ""), r"synthetic_dir must be a path, got ''", "evaluate"),
    refused(unknown_appearance, r"appearance sepia is unknown", *GENERATING),
    refused(setting("appearance", "@seed"), r"appearance @seed is unknown: give ./@seed if it is", "synthesize"),
    refused(setting("mode", "slow"), r"mode must be quick, full or thorough, got 'slow'", "evaluate"),
    refused(setting("families", "beauty"), r"families must be all, or some of image, .*, got beauty", "evaluate"),
    refused(setting("families", ""), r"families must be all, or some of image, .*, got empty", "evaluate"),
    refused(setting("size", 24), r"size must be at least 32 pixels, got 24", "evaluate"),
    refused(
        server_that_does_not_answer,
        r"MLflow server http://127.0.0.1:9 does not answer",
        "training",
        "evaluate",
    ),
]

WEIGHTS = [
    refused(
        malicious_weights,
        r"weights/model.pt is refused",
        "evaluation",
        *GENERATING,
        *TESTING,
        *APPLYING,
        *STAGES_TESTING,
        *STAGES_APPLYING,
    ),
    refused(no_initial_weights, r"there is no checkpoint \S*/nothing.pt", "training", *LEARNING, *STAGES_LEARNING),
    refused(no_weights_of_the_first_stage, r"there is no checkpoint \S*/nothing.pt", "lama_training"),
    refused(setting("perceptual_weights", "nothing.pt"), r"there is no checkpoint nothing.pt", "lama_training"),
    refused(no_weights_of_the_judge, r"no weights \S*/nothing.pt of the judge", "evaluate"),
    refused(malicious_weights_of_the_judge, r"weights/model.pt is refused", "evaluate"),
    refused(no_weights_of_the_encoder, r"there is no checkpoint \S*/nothing.pt", "evaluate"),
    refused(no_weights_of_inception, r"/nothing.pt cannot be read: No such file", "evaluate"),
]

FOLDERS = [
    refused(
        output_directory_that_cannot_be_written,
        r"/file/run\S* cannot be (made|written) \(Not a dir",
        *ALL,
        *TESTING,
        "encoder_inference",
        *STAGES_TESTING,
    ),
    refused(
        output_directory_of_another_training,
        r"/trained already holds a training",
        "training",
        *LEARNING,
        *STAGES_LEARNING,
    ),
    refused(
        output_directory_of_another_set,
        r"/set holds another data set",
        *GENERATING,
        "iternet_inference",
        *STAGES_APPLYING,
    ),
    refused(
        output_directory_in_use,
        r"another process is writing to \S*/busy",
        "training",
        "synthesize",
        "evaluate",
        *APPLYING,
    ),
    refused(cache_that_cannot_be_made, r"/file/cache cannot be (made|written) ", "training"),
    refused(report_among_the_eyes, r"output_dir \S*/eyes is one of the sets: give another folder", "evaluate"),
    refused(output_directory_of_another_page, r"/page/index.html was not written by an evaluation: give", "evaluate"),
]

CASES = [*LISTING, *FILES, *MASKS_SHOW, *SETTINGS, *WEIGHTS, *FOLDERS]
