"""The table: what is wrong (or only unusual), and what each entry point must do about it.

A function makes the material of a case in a folder of its own and returns what is unusual about the command: ``data``
is the data set, which each entry point takes in its own way; ``twin`` a data set to which what is accepted must be
equal, if not the phantoms; the rest are settings.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from PIL import Image

from retina_monai.data.files.writing import write_png
from wrong_input.material import (
    SPOILED,
    Material,
    Overrides,
    black_corner,
    bomb,
    cut_corner,
    few_colours,
    grey,
    grey_of_three,
    lying,
    pixels,
    png16,
    small_weights,
    upright,
    veiled,
)

TRAINING = ("training", "evaluation")
GENERATING = ("inference", "synthesize")
ALL_BUT_PREPARE = (*TRAINING, *GENERATING, "evaluate")
LOOKING = (*TRAINING, "prepare", "evaluate")
"""At photographs, and not at vessel maps alone."""
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

DIFFUSION = ("ddpm_training", "ddpm_evaluation", "ddpm_inference")

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


def no_such_directory(material: Material) -> Overrides:
    return {"data": material.folder / "nowhere"}


def directory_that_no_adapter_recognises(material: Material) -> Overrides:
    (material.folder / "letters").mkdir()
    (material.folder / "letters" / "letter.txt").write_text("Dear reader")
    return {"data": material.folder / "letters"}


def photograph_without_its_vessel_map(material: Material) -> Overrides:
    eyes = material.eyes_without_list()
    (eyes / "vessels" / "phantom_00003.png").unlink()
    return {"data": eyes}


def vessel_map_without_its_photograph(material: Material) -> Overrides:
    eyes = material.eyes_without_list()
    (eyes / "images" / "phantom_00003.png").unlink()
    return {"data": eyes}


def list_of_a_picture_that_is_not_there(material: Material) -> Overrides:
    eyes = material.eyes()
    eyes.path("vessel", 6).unlink()
    return {"data": eyes.folder}


def list_that_is_not_json(material: Material) -> Overrides:
    eyes = material.eyes()
    (eyes.folder / "datalist.json").write_text("{'training': [")
    return {"data": eyes.folder}


def patient_in_two_splits(material: Material) -> Overrides:
    return {"data": material.eyes().write_list(same=(3, 7))}


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


def links_out_of_the_folder(material: Material) -> Overrides:
    eyes = material.eyes()
    (material.folder / "elsewhere").mkdir()
    for eye in range(8):
        path = eyes.path("image", eye)
        path.symlink_to(path.rename(material.folder / "elsewhere" / path.name))
    shutil.move(eyes.folder / "vessels", material.folder / "elsewhere" / "vessels")
    (eyes.folder / "vessels").symlink_to(Path("..", "elsewhere", "vessels"))
    return {"data": eyes.folder}


def links_to_nothing(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        eyes.path("vessel", eye).unlink()
        eyes.path("vessel", eye).symlink_to(material.folder / "gone.png")
    return {"data": eyes.folder}


def links_in_a_circle(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        eyes.path("image", eye).unlink()
        eyes.path("image", eye).symlink_to(eyes.path("image", eye))
    return {"data": eyes.folder}


def list_of_photographs_alone(material: Material) -> Overrides:
    shutil.copytree(material.phantoms / "images", material.folder / "eyes" / "images")
    items = [{"image": f"images/phantom_{eye:05d}.png", "patient": str(eye)} for eye in range(8)]
    lists = {"training": items[:4], "validation": items[4:6], "test": items[6:]}
    (material.folder / "eyes" / "datalist.json").write_text(json.dumps(lists))
    return {"data": material.folder / "eyes"}


def list_without_validation_eyes(material: Material) -> Overrides:
    return {"data": material.eyes().write_list({"training": (0, 1, 2, 3, 4, 5), "test": (6, 7)})}


def split_of_a_folder_that_tells_none(material: Material) -> Overrides:
    return photographs_alone(material) | {"split": "test"}


# Files


def sizes_that_differ(material: Material) -> Overrides:
    eyes = material.eyes()
    write_png(eyes.path("vessel", 6), np.zeros((1, 100, 90), np.uint8))
    return {"data": eyes.folder}


def truncated_photograph(material: Material) -> Overrides:
    eyes = material.eyes()
    path = eyes.path("image", 6)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return {"data": eyes.folder}


def empty_photograph(material: Material) -> Overrides:
    eyes = material.eyes()
    eyes.path("image", 6).write_bytes(b"")
    return {"data": eyes.folder}


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


def empty_vessel_map(material: Material) -> Overrides:
    return {"data": material.vessel_map(b"")}


def file_that_is_not_a_picture(material: Material) -> Overrides:
    return {"data": material.vessel_map(b"Dear reader, this is no picture at all.")}


def decompression_bomb(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        eyes.path("image", eye).write_bytes(bomb(16000))
    return {"data": eyes.folder}


def decompression_bomb_as_a_map(material: Material) -> Overrides:
    return {"data": material.vessel_map(bomb(16000))}


# What pictures show


def vessel_map_without_a_vessel(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        write_png(eyes.path("vessel", eye), np.zeros((1, 128, 128), np.uint8))
    return {"data": eyes.folder}


def vessel_map_all_white(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        write_png(eyes.path("vessel", eye), np.full((1, 128, 128), 255, np.uint8))
    return {"data": eyes.folder}


def vessel_map_inverted(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        write_png(eyes.path("vessel", eye), 255 - pixels(eyes.path("vessel", eye))[None])
    return {"data": eyes.folder}


def mask_and_photograph_swapped(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        image, vessel = eyes.path("image", eye), eyes.path("vessel", eye)
        content = image.read_bytes()
        image.write_bytes(vessel.read_bytes())
        vessel.write_bytes(content)
    return {"data": eyes.folder}


def black_map_alone(material: Material) -> Overrides:
    write_png(material.folder / "maps" / "eye.png", np.zeros((1, 64, 64), np.uint8))
    return {"data": material.folder / "maps"}


# How pictures are stored


def twin(material: Material, change: Callable[[Image.Image], Image.Image]) -> Path:
    """What must come out, as RGB of 8 bits."""
    return material.eyes("twin").convert("image", lambda picture: change(picture).convert("RGB")).folder


def grey_photographs(material: Material) -> Overrides:
    return {"data": material.eyes().convert("image", grey).folder, "twin": twin(material, grey_of_three)}


def palette_photographs(material: Material) -> Overrides:
    return {"data": material.eyes().convert("image", few_colours).folder, "twin": twin(material, few_colours)}


def opaque_rgba_photographs(material: Material) -> Overrides:
    return {"data": material.eyes().convert("image", lambda picture: picture.convert("RGBA")).folder}


def transparent_corners(material: Material) -> Overrides:
    return {"data": material.eyes().convert("image", cut_corner).folder, "twin": twin(material, black_corner)}


def half_transparent_photographs(material: Material) -> Overrides:
    return {"data": material.eyes().convert("image", veiled).folder}


def colour_photographs_of_16_bits(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in range(8):
        array = pixels(eyes.path("image", eye)).astype(np.uint16) * 255 + 77
        eyes.path("image", eye).write_bytes(png16(array))
    return {"data": eyes.folder}


def grey_photographs_of_16_bits_that_are_8(material: Material) -> Overrides:
    eyes = material.eyes().convert("image", grey)
    for eye in range(8):
        eyes.path("image", eye).write_bytes(png16(pixels(eyes.path("image", eye)).astype(np.uint16) * 257))
    return {"data": eyes.folder, "twin": twin(material, grey_of_three)}


def grey_photographs_of_16_bits(material: Material) -> Overrides:
    eyes = material.eyes().convert("image", grey)
    for eye in range(8):
        array = pixels(eyes.path("image", eye)).astype(np.uint16) * 255 + 77
        eyes.path("image", eye).write_bytes(png16(array))
    return {"data": eyes.folder}


def cmyk_photographs(material: Material) -> Overrides:
    return {"data": material.eyes().convert("image", lambda picture: picture.convert("CMYK"), ".jpg").folder}


def cmyk_tiffs(material: Material) -> Overrides:
    return {"data": material.eyes().convert("image", lambda picture: picture.convert("CMYK"), ".tif").folder}


def lab_tiffs(material: Material) -> Overrides:
    def lab(picture: Image.Image) -> Image.Image:
        return Image.merge("LAB", picture.split())

    return {"data": material.eyes().convert("image", lab, ".tif").folder}


def photographs_that_exif_turns(material: Material) -> Overrides:
    return {"data": material.eyes().convert("image", lying, exif=upright()).folder}


def jpegs_that_exif_turns(material: Material) -> Overrides:
    eyes = material.eyes().convert("image", lying, ".jpg", quality=95, exif=upright())
    other = material.eyes("twin")
    for eye in range(8):
        upright_pixels = np.rot90(pixels(eyes.path("image", eye)), -1)
        Image.fromarray(np.ascontiguousarray(upright_pixels)).save(other.path("image", eye))
    return {"data": eyes.folder, "twin": other.folder}


def photographs_that_exif_turns_away_from_their_maps(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in range(8):
        image, others = eyes.path("image", eye), [eyes.path(key, eye) for key in ("vessel", "fov")]
        Image.fromarray(pixels(image)[8:120]).save(image, exif=upright())
        for path in others:
            Image.fromarray(pixels(path)[8:120]).save(path)
    return {"data": eyes.folder}


def masks_of_every_kind(material: Material) -> Overrides:
    kinds: list[Callable[[np.ndarray], Image.Image | bytes]] = [
        lambda mask: Image.fromarray(mask * np.uint8(255)),
        lambda mask: Image.fromarray(mask),
        lambda mask: Image.fromarray(mask * np.uint8(255)).convert("1"),
        lambda mask: Image.fromarray(mask * np.uint8(255)).convert("RGBA"),
        lambda mask: Image.fromarray(mask * np.uint8(255)).convert("P"),
        lambda mask: png16(mask.astype(np.uint16) * 65535),
        lambda mask: Image.fromarray(np.stack([mask * 0, mask * 255, mask * 0], -1).astype(np.uint8)),
        lambda mask: Image.fromarray(np.stack([mask * 255] * 3, -1).astype(np.uint8)),
    ]
    eyes = material.eyes()
    for eye, kind in enumerate(kinds):
        for key in ("vessel", "fov"):
            made = kind((pixels(eyes.path(key, eye)) >= 128).astype(np.uint8))
            if isinstance(made, bytes):
                eyes.path(key, eye).write_bytes(made)
            else:
                made.save(eyes.path(key, eye))
    return {"data": eyes.folder}


# Settings


def size_that_the_network_cannot_take(material: Material) -> Overrides:
    return {"size": 100}


def size_that_the_weights_cannot_take(material: Material) -> Overrides:
    return {"size": 72}


def setting(key: str, value: Any) -> Make:
    def make(material: Material) -> Overrides:
        return {key: value}

    make.__name__ = f"{key}_{value}".replace(" ", "").replace("[", "").replace("]", "")
    return make


def patch_that_the_network_makes_nothing_of(material: Material) -> Overrides:
    return {"patch": 16, "levels": 6}


def unknown_appearance(material: Material) -> Overrides:
    return {"appearance": "sepia"}


def appearance_of_an_unknown_camera(material: Material) -> Overrides:
    return {"appearance": "random:sepia"}


def switch_that_is_neither(material: Material) -> Overrides:
    return {"linear_decay": "perhaps"}


def skipping_perhaps(material: Material) -> Overrides:
    return {"data": material.phantoms, "skip_unreadable": "perhaps"}


# Weights


def no_such_weights(material: Material) -> Overrides:
    return {"checkpoint": material.folder / "nothing.pt"}


def weights_of_another_network(material: Material) -> Overrides:
    path = material.folder / "other.pt"
    torch.save(torch.nn.Conv2d(1, 3, 4).state_dict(), path)
    shutil.copy(material.trained / "appearances.json", path.parent)
    return {"checkpoint": path, "size": 256}


def truncated_weights(material: Material) -> Overrides:
    content = (material.trained / "model.pt").read_bytes()
    return {"checkpoint": material.checkpoint(content[: len(content) // 2])}


class Malice:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def malicious_weights(material: Material) -> Overrides:
    content = pickle.dumps({"encoder.0.weight": Malice(material.folder / "malice_was_executed")})
    return {"checkpoint": material.checkpoint(content)}


def weights_of_a_training_of_another_network(material: Material) -> Overrides:
    """With ``network.json`` beside, which tells how to build that network."""
    shutil.copytree(material.trained, material.folder / "trained")
    return {"checkpoint": material.folder / "trained" / "model.pt"}


def network_that_is_none(material: Material) -> Overrides:
    path = weights_of_a_training_of_another_network(material)["checkpoint"]
    path.with_name("network.json").write_text('{"_target_": "os.system", "command": "touch malice_was_executed"}')
    return {"checkpoint": path}


def nan_in_weights(kind: str) -> Make:
    def make(material: Material) -> Overrides:
        source = material.trained if kind == "pix2pix" else small_weights(material.folder / "sound", kind).parent
        state = torch.load(source / "model.pt", weights_only=True)
        next(value for value in state.values() if value.is_floating_point())[0] = torch.nan
        shutil.copytree(source, material.folder / "weights")
        torch.save(state, material.folder / "weights" / "model.pt")
        return {"checkpoint": material.folder / "weights" / "model.pt"}

    make.__name__ = f"nan_in_weights_of_{kind}"
    return make


def no_initial_weights(material: Material) -> Overrides:
    return {"initial_weights": material.folder / "nothing.pt"}


def no_weights_of_the_first_stage(material: Material) -> Overrides:
    return {"color_vessel_weights": material.folder / "nothing.pt", "generated_share": 0.5}


def initial_weights_of_another_network(material: Material) -> Overrides:
    return {"initial_weights": weights_of_a_training_of_another_network(material)["checkpoint"]}


# Where to write


def output_directory_that_cannot_be_written(material: Material) -> Overrides:
    (material.folder / "file").write_text("not a folder")
    return {"output_dir": material.folder / "file" / "run"}


def output_directory_of_another_training(material: Material) -> Overrides:
    shutil.copytree(material.trained, material.folder / "trained")
    return {"output_dir": material.folder / "trained", "mlflow": "true"}


def output_directory_of_another_set(material: Material) -> Overrides:
    return {"output_dir": material.eyes("set").folder}


def output_directory_of_a_set_with_other_settings(material: Material) -> Overrides:
    material.eyes("set")
    (material.folder / "set" / "settings.json").write_text('{"seed": 17}')
    return {"output_dir": material.folder / "set"}


def output_directory_in_use(material: Material) -> Overrides:
    """By another process, which starts when the case does; see ``busy``."""
    return {"output_dir": material.folder / "busy"}


def output_directory_with_features(material: Material) -> Overrides:
    (material.folder / "encoded").mkdir()
    (material.folder / "encoded" / "features.csv").write_text("name,patient\n")
    return {"output_dir": material.folder / "encoded"}


def training_of_another_bundle_to_resume(material: Material) -> Overrides:
    return output_directory_of_another_training(material) | {"resume": "true"}


def nothing_to_resume(material: Material) -> Overrides:
    return {"resume": "true", "mlflow": "true"}


def cache_that_cannot_be_made(material: Material) -> Overrides:
    (material.folder / "file").write_text("not a folder")
    return {"cache_dir": material.folder / "file" / "cache"}


# Evaluating a synthetic set


def no_such_real_directory(material: Material) -> Overrides:
    return {"real_dir": material.folder / "nowhere"}


def one_photograph(material: Material) -> Overrides:
    shutil.copytree(material.phantoms / "images", material.folder / "set")
    for path in sorted((material.folder / "set").iterdir())[1:]:
        path.unlink()
    return {"data": material.folder / "set"}


def one_real_photograph(material: Material) -> Overrides:
    return {"real_dir": one_photograph(material)["data"]}


def disc_without_its_photograph(material: Material) -> Overrides:
    for kind in ("images", "discs"):
        shutil.copytree(material.phantoms / kind, material.folder / "eyes" / kind)
    (material.folder / "eyes" / "images" / "phantom_00003.png").unlink()
    return {"data": material.folder / "eyes"}


def photographs_alone(material: Material) -> Overrides:
    shutil.copytree(material.phantoms / "images", material.folder / "set")
    return {"data": material.folder / "set", "twin": material.folder / "set"}


def photographs_with_nan(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        picture = pixels(eyes.path("image", eye))[..., 1].astype(np.float32) / 255
        picture[60, 60] = np.nan
        Image.fromarray(picture).save(eyes.move("image", eye, f"phantom_{eye:05d}.tif"))
    return {"data": eyes.write_list()}


def volumes_with_nan(material: Material) -> Overrides:
    eyes = material.eyes()
    for eye in SPOILED:
        picture = pixels(eyes.path("image", eye))[..., 1].astype(np.float32).T
        picture[60, 60] = np.nan
        nibabel.save(nibabel.Nifti1Image(picture, np.eye(4)), eyes.move("image", eye, f"phantom_{eye:05d}.nii.gz"))
    return {"data": eyes.write_list()}


def synthetic_set_that_is_the_real_one(material: Material) -> Overrides:
    return {"data": material.phantoms, "real_dir": material.phantoms}


def synthetic_set_that_is_a_copy_of_the_real_one(material: Material) -> Overrides:
    eyes = material.eyes("copy")
    for eye in range(8):
        with Image.open(eyes.path("image", eye)) as picture:
            picture.save(eyes.move("image", eye, f"generated_{eye}.tif"))
    return {"data": eyes.write_list(), "real_dir": material.phantoms}


def synthetic_set_with_real_photographs(material: Material) -> Overrides:
    eyes = material.eyes()
    listed = eyes.write_list({"training": tuple(range(5))})
    (eyes.folder / "datalist.json").rename(material.folder / "eyes" / "some.json")
    eyes.write_list()
    return {"data": listed, "real_dir": material.folder / "eyes" / "some.json"}


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


def output_directory_that_is_a_file(material: Material) -> Overrides:
    (material.folder / "file").write_text("not a folder")
    return {"output_dir": material.folder / "file"}


def no_weights_of_the_judge(material: Material) -> Overrides:
    return {"judge": material.folder / "nothing.pt"}


def malicious_weights_of_the_judge(material: Material) -> Overrides:
    return {"judge": malicious_weights(material)["checkpoint"]}


def no_weights_of_the_encoder(material: Material) -> Overrides:
    return {"encoder": material.folder / "nothing.pt"}


def no_weights_of_inception(material: Material) -> Overrides:
    return {"inception_weights": material.folder / "nothing.pt"}


# Tracking


def address_of_nothing(material: Material) -> Overrides:
    return {"mlflow": "true", "tracking_uri": "somewhere"}


def server_that_does_not_answer(material: Material) -> Overrides:
    return {"mlflow": "true", "tracking_uri": "http://127.0.0.1:9"}


NO_FOLDER = r"/nowhere (does not exist: give a directory|is not a directory: name the folder)"
NO_LAYOUT = r"/letters (is laid out as none of the data sets|holds no (vessel map|photograph))"
NO_VESSEL = r"phantom_0000\d.png has no vessel in it"
NOT_EIGHT = r"phantom_0000\d.png has values up to \d+, finer than the 256 steps of 8 bits: convert it"
NO_MODE = r"phantom_0000\d.(jpg|tif|png) .*(CMYK|LAB|transparent)"

OTHER_NETWORKS = "IterNet|RetinaEncoder|LamaGenerator|DiffusionGenerator"

CASES = [
    refused(no_such_directory, NO_FOLDER, *ALL, *OTHERS, *STAGES_ALL),
    refused(directory_that_no_adapter_recognises, NO_LAYOUT, *ALL, *OTHERS, *STAGES_ALL),
    refused(
        photograph_without_its_vessel_map,
        r"images/phantom_00003.png is a photograph without its vessel map",
        *ALL,
        "iternet_training",
    ),
    refused(vessel_map_without_its_photograph, r"vessels/phantom_00003.png is a vessel map without its photograph"),
    refused(list_of_a_picture_that_is_not_there, r"vessels/phantom_00006.png is not there"),
    refused(list_that_is_not_json, r"/datalist.json is not (JSON|a datalist)"),
    refused(patient_in_two_splits, r"/datalist.json: patient 'patient 3' is in training and in test"),
    refused(
        list_without_test_eyes,
        r"no eye of the data set is for test",
        "evaluation",
        "iternet_evaluation",
        *STAGES_TESTING,
    ),
    refused(
        list_of_test_eyes_only,
        r"no eye of the data set is for training",
        "training",
        *LEARNING,
        *STAGES_LEARNING,
        accepted=("evaluation",),
    ),
    Case(
        list_of_photographs_alone,
        {
            "iternet_training": r"dataset_dir \S*/eyes has no eye with a vessel map: give a data set that has",
            "encoder_training": r"no eye for training has a mask of vessel, disc, .*: give a data set with masks of",
        },
    ),
    refused(split_of_a_folder_that_tells_none, r"/set tells no splits: leave out --split test", "iternet_inference"),
    refused(
        fewer_eyes_than_a_batch,
        r"batch_size 6 is too large for 5 eyes for training: give a smaller --batch_size, or more eyes",
        "training",
        accepted=("evaluation", *GENERATING),
    ),
    accepted(names_of_every_kind),
    refused(broken_file_of_a_name_with_newlines, r"vessels/one\\nError: two\\x1b\[2J0.png is damaged"),
    refused(
        folder_with_a_number_sign,
        r"_dir \S*/eyes ::1 has # or :: in it, which MONAI takes for its own: rename",
        *TRAINING,
        "inference",
        accepted=("prepare", "synthesize", "evaluate"),
    ),
    accepted(links_out_of_the_folder),
    refused(links_to_nothing, r"phantom_00000.png is a link to .*/gone.png, which is not there|/gone.png is not there"),
    refused(links_in_a_circle, r"images/phantom_00000.png is (a link to .* which is not there|not there)"),
    refused(sizes_that_differ, r"vessels/phantom_00006.png is 90 x 100 pixels, .*images/phantom_00006.png is 128 x"),
    refused(truncated_photograph, r"images/phantom_00006.png is damaged, truncated or not a picture"),
    refused(empty_photograph, r"images/phantom_00006.png is empty \(0 bytes\)"),
    refused(
        three_broken_photographs,
        r"3 of 8 eyes cannot .*images/phantom_00001.*images/phantom_00002.*images/phantom_00003.*skip_unreadable",
        *OTHERS,
    ),
    accepted(three_broken_photographs_skipped, *APPLYING, without=("patient 1", "patient 2", "patient 3")),
    refused(
        three_broken_files,
        r"(?=.*vessels/phantom_00001)(?=.*images/phantom_00002).*vessels/phantom_00003",
        *ALL,
        *STAGES_LEARNING,
        "lama_inference",
        "ddpm_inference",
    ),
    accepted(
        three_broken_files_skipped,
        *ALL,
        "lama_inference",
        without=("patient 1", "patient 2", "patient 3"),
    ),
    refused(empty_vessel_map, r"maps/eye.png is empty \(0 bytes\)", *GENERATING),
    refused(file_that_is_not_a_picture, r"maps/eye.png is damaged, truncated or not a picture", *GENERATING),
    refused(decompression_bomb, r"images/phantom_00000.png has too many pixels"),
    refused(decompression_bomb_as_a_map, r"maps/eye.png has too many pixels", *GENERATING),
    refused(vessel_map_without_a_vessel, NO_VESSEL, *ALL, *STAGES_ALL),
    refused(vessel_map_all_white, r"phantom_0000\d.png marks 100% of the eye"),
    refused(vessel_map_inverted, r"phantom_0000\d.png marks \d\d% of the eye"),
    refused(
        mask_and_photograph_swapped,
        r"phantom_0000\d.png is a (mask|photograph where a vessel map belongs)",
        *ALL,
        *APPLYING,
    ),
    refused(black_map_alone, r"maps/eye.png has no vessel in it", *GENERATING),
    accepted(grey_photographs),
    accepted(palette_photographs),
    accepted(opaque_rgba_photographs),
    accepted(transparent_corners),
    accepted(grey_photographs_of_16_bits_that_are_8),
    accepted(photographs_that_exif_turns),
    accepted(jpegs_that_exif_turns),
    accepted(masks_of_every_kind),
    refused(half_transparent_photographs, NO_MODE, *LOOKING),
    refused(
        colour_photographs_of_16_bits,
        r"phantom_0000\d.png is a 16-bit colour picture: convert it to 8 bits per channel",
        *LOOKING,
    ),
    refused(grey_photographs_of_16_bits, NOT_EIGHT, *LOOKING),
    refused(cmyk_photographs, NO_MODE, *LOOKING),
    refused(cmyk_tiffs, NO_MODE, *LOOKING),
    refused(lab_tiffs, NO_MODE, *LOOKING),
    refused(photographs_that_exif_turns_away_from_their_maps, r"vessels/phantom_00000.png is 128 x 112 pixels"),
    refused(size_that_the_network_cannot_take, r"size 100 .* give a --size that is a multiple of 16", "training"),
    refused(size_that_the_weights_cannot_take, r"size 72 .* multiple of 16", "inference", "evaluation"),
    refused(setting("size", -1), r"size must be an integer >= 16, got -1", *TRAINING, "inference", "evaluate"),
    refused(setting("size", 12), r"size must be an integer >= 16, got 12", *OTHERS, *STAGES_ALL),
    refused(size_that_the_weights_cannot_take, r"size 72 .* multiple of 16", "color_inference", "color_evaluation"),
    refused(setting("blocks", -1), r"blocks must be an integer >= 0, got -1", "lama_training"),
    refused(setting("global_share", 1), r"global_share must be in \[0, 1\), got 1", "lama_training"),
    refused(setting("norm", "none"), r"norm must be one of batch, instance, not 'none'", "lama_training"),
    refused(setting("upsampling", "resize"), r"upsampling must be one of transpose, smooth, not", "lama_training"),
    refused(setting("masks", "circles"), r"masks must be one of vessels, strokes, got 'circles'", "lama_training"),
    refused(setting("composite", "perhaps"), r"composite is a switch and takes true, false", "lama_training"),
    refused(setting("generated_share", 2), r"generated_share must be in \[0, 1\], got 2", "lama_training"),
    refused(setting("blend", 0.5), r"blend must be an integer >= 0, got 0.5", "lama_inference"),
    refused(
        setting("process", "noise"),
        r"network_def cannot be built: process must be one of epsilon, velocity, flow, not 'noise'",
        "ddpm_training",
    ),
    refused(
        setting("sampler", "ddim"),
        r"sampler of process flow must be one of euler, not 'ddim'",
        *DIFFUSION,
    ),
    refused(setting("steps", 0), r"steps must be an integer in \[1, 1000\] or None, got 0", *DIFFUSION),
    refused(setting("guidance", -1), r"guidance must be a number >= 0 or None, got -1", *DIFFUSION),
    refused(setting("condition_dropout", 2), r"condition_dropout must be in \[0, 1\], got 2", "ddpm_training"),
    refused(setting("multipliers", []), r"multipliers must be a list of integers >= 1, got \[\]", "ddpm_training"),
    refused(setting("unshuffle", 3), r"network_def cannot be built: unshuffle must be a power of two", "ddpm_training"),
    refused(
        setting("features", 9), r"network_def cannot be built: features must be a multiple of 4, not 9", "ddpm_training"
    ),
    refused(setting("size", 72), r"size 72 .* give a --size that is a multiple of 16", "ddpm_training"),
    refused(setting("size", 18), r"size 18 .* give a --size that is a multiple of 4", "ddpm_inference"),
    refused(
        setting("precision", "fp16"), r"precision fp16 is not available on cpu: give auto, fp32, bf16", "ddpm_training"
    ),
    refused(setting("gradient_checkpointing", "perhaps"), r"gradient_checkpointing is a switch and", "ddpm_training"),
    refused(setting("edge", -1), r"edge must be a number >= 0, got -1", "color_training"),
    refused(no_weights_of_the_first_stage, r"there is no checkpoint \S*/nothing.pt", "lama_training"),
    refused(setting("perceptual_weights", "nothing.pt"), r"there is no checkpoint nothing.pt", "lama_training"),
    refused(setting("patch", 4), r"patch must be an integer >= 16, got 4", "iternet_training"),
    refused(
        patch_that_the_network_makes_nothing_of,
        r"patch 16 is too small for a network that makes one pixel of 32: give a --patch of at least 64",
        "iternet_training",
    ),
    refused(
        setting("window", 0),
        r"window must be an integer >= 16, got 0",
        "iternet_training",
        "iternet_inference",
    ),
    refused(setting("iterations", -1), r"iterations must be an integer >= 0, got -1", "iternet_training"),
    refused(setting("norm", "instance"), r"norm must be one of batch, none, not 'instance'", "iternet_training"),
    refused(setting("size", 200), r"size must be a multiple of 16, not 200", "encoder_training", "encoder_evaluation"),
    refused(setting("turned", 2), r"turned must be in \[0, 1\], got 2", "encoder_training"),
    refused(setting("batch_size", 99), r"batch_size 99 is too large for 5 eyes for training: give a", *LEARNING),
    refused(setting("split", "some"), r"split some is unknown: give training, validation, .* all", "iternet_inference"),
    refused(
        setting("splits", ["test", "some"]),
        r"splits is \['test', 'some'\]: it takes one of training, validation, test, or a list",
        "encoder_evaluation",
    ),
    refused(
        setting("splits", "test"),
        r"the data set has eyes of 2 patients for test, and 8 are needed: name more --splits",
        "encoder_evaluation",
    ),
    refused(setting("allow_synthetic", "perhaps"), r"allow_synthetic is a switch and takes true", "iternet_training"),
    refused(
        setting("batch_size", 0),
        r"batch_size must be an integer >= 1, got 0",
        *TRAINING,
        *GENERATING,
        "encoder_inference",
    ),
    refused(setting("seed", "text"), r"seed must be an integer in \[0, 4294967295\], got 'text'", *TRAINING),
    refused(setting("seed", "once"), r"seed must be an integer in \[0, \d+\], got 'once'", *GENERATING, "evaluate"),
    refused(setting("levels", 1), r"levels must be an integer >= 2, got 1", "training"),
    refused(setting("norm", "foo"), r"norm must be one of batch, instance, none, not 'foo'", "training"),
    refused(setting("upsampling", "foo"), r"upsampling must be one of \S+ \S+ smooth, not 'foo'", "training"),
    refused(setting("discriminator_norm", "foo"), r"discriminator_def cannot be built: .*'FOO'", "training"),
    refused(setting("initialization", "foo"), r"cannot be built: .*'?foo'?", "training"),
    refused(setting("features", "wide"), r"features must be an integer >= 1, got 'wide'", "training"),
    refused(setting("learning_rate", -0.1), r"learning_rate must be a number >= 0, got -0.1", "training"),
    refused(setting("betas", [0.5]), r"betas must be 2 numbers in \[0, 1\), got \[0.5\]", "training"),
    refused(setting("max_epochs", 0), r"max_epochs must be an integer >= 1, got 0", "training"),
    refused(setting("num_workers", -1), r"num_workers must be an integer >= 0, got -1", "training"),
    refused(setting("dropout", 1.5), r"dropout must be in \[0, 1\), got 1.5", "training"),
    refused(setting("precision", "foo"), r"precision foo is not available on \w+: give auto, fp32", "training"),
    refused(setting("count", 0), r"count must be an integer >= 1, got 0", "synthesize"),
    refused(setting("output_dir", ""), r"output_dir must be a path, not '': give one", *ALL_BUT_PREPARE),
    refused(
        setting("output_dir", 2024), r"output_dir must be a path, not 2024: give", *TRAINING, "inference", "evaluate"
    ),
    refused(setting("dataset_dir", 2024), r"dataset_dir must be a path, not 2024: give one such as ./2024", *TRAINING),
    refused(setting("input_dir", ""), r"input_dir must be a path, not '': give one", *GENERATING),
    refused(setting("appearance", 5), r"appearance (must be a path, not 5|5 is unknown): give", *GENERATING),
    refused(setting("appearance", "@seed"), r"appearance @seed is unknown: give ./@seed if it is", "synthesize"),
    refused(unknown_appearance, r"appearance sepia is unknown: give average, random, a camera \(phantom", *GENERATING),
    refused(appearance_of_an_unknown_camera, r"appearance random:sepia is unknown: give average, random", *GENERATING),
    refused(setting("texture", "perhaps"), r"texture is a switch and takes true, false, .* not .perhaps.", *GENERATING),
    refused(switch_that_is_neither, r"linear_decay is a switch and takes true, false, .* not 'perhaps'", "training"),
    refused(
        skipping_perhaps,
        r"skip_unreadable is a switch and takes true, false, .* not 'perhaps'",
        *ALL,
        *OTHERS,
        *STAGES_ALL,
    ),
    refused(
        no_such_weights,
        r"there is no checkpoint \S*/nothing.pt",
        "evaluation",
        *GENERATING,
        *TESTING,
        *APPLYING,
        *STAGES_TESTING,
        *STAGES_APPLYING,
    ),
    refused(
        weights_of_another_network,
        rf"/other.pt holds the weights of another network than (Pix2PixUNet|{OTHER_NETWORKS})",
        *GENERATING,
        *APPLYING,
        *STAGES_APPLYING,
    ),
    refused(
        weights_of_a_training_of_another_network,
        rf"/trained/model.pt holds the weights of a Pix2PixUNet, not of ({OTHER_NETWORKS})",
        *TESTING,
        *APPLYING,
        "lama_evaluation",
        "lama_inference",
        "ddpm_evaluation",
        "ddpm_inference",
    ),
    refused(network_that_is_none, r"/network.json is refused: os.system is not a network of retina_monai", *APPLYING),
    refused(nan_in_weights("pix2pix"), r"/model.pt holds NaN or infinite weights: \S+", *GENERATING),
    refused(
        nan_in_weights("iternet"),
        r"/model.pt holds NaN or infinite weights: \S+",
        "iternet_evaluation",
        "iternet_inference",
    ),
    refused(
        nan_in_weights("encoder"),
        r"/model.pt holds NaN or infinite weights: \S+",
        "encoder_evaluation",
        "encoder_inference",
    ),
    *(
        refused(
            nan_in_weights(stage),
            r"/model.pt holds NaN or infinite weights: \S+",
            f"{stage}_evaluation",
            f"{stage}_inference",
        )
        for stage in STAGES
    ),
    refused(no_initial_weights, r"there is no checkpoint \S*/nothing.pt", *LEARNING, *STAGES_LEARNING),
    refused(
        initial_weights_of_another_network,
        rf"/trained/model.pt holds the weights of another network than ({OTHER_NETWORKS})",
        *LEARNING,
        "lama_training",
        "ddpm_training",
    ),
    refused(
        truncated_weights,
        r"weights/model.pt is truncated or not a checkpoint",
        "evaluation",
        *GENERATING,
        *TESTING,
        *APPLYING,
        *STAGES_TESTING,
        *STAGES_APPLYING,
    ),
    refused(
        malicious_weights,
        r"weights/model.pt is refused: it holds more than tensors and may run",
        "evaluation",
        *GENERATING,
        *TESTING,
        *APPLYING,
        *STAGES_TESTING,
        *STAGES_APPLYING,
    ),
    refused(
        output_directory_that_cannot_be_written,
        r"/file/run\S* cannot be (made|written) \(Not a dir",
        *ALL,
        *OTHERS,
        *STAGES_ALL,
    ),
    refused(
        output_directory_of_another_training,
        r"/trained already holds a training: give another",
        "training",
        *LEARNING,
        *STAGES_LEARNING,
    ),
    refused(
        training_of_another_bundle_to_resume,
        r"epoch_0001.pt was saved by another training: its network networks.(segmenter|encoder|generator) does not fit",
        *LEARNING,
        "lama_training",
        "ddpm_training",
    ),
    refused(
        output_directory_of_another_set,
        r"/set holds a data set that was not made here",
        *GENERATING,
        "iternet_inference",
        *STAGES_APPLYING,
    ),
    refused(
        output_directory_of_a_set_with_other_settings,
        r"/set holds a set made with other settings",
        *GENERATING,
        "iternet_inference",
        *STAGES_APPLYING,
    ),
    refused(output_directory_with_features, r"/encoded holds features.csv already: give another", "encoder_inference"),
    refused(
        output_directory_in_use,
        r"another process is writing to \S*/busy: wait",
        "training",
        *GENERATING,
        "evaluate",
        *LEARNING,
        *APPLYING,
        *STAGES_LEARNING,
        *STAGES_APPLYING,
    ),
    refused(
        nothing_to_resume,
        r"there is no checkpoint to resume in \S*/output: train without --resume",
        "training",
        *LEARNING,
        *STAGES_LEARNING,
    ),
    refused(cache_that_cannot_be_made, r"/file/cache cannot be (made|written) ", "training"),
    refused(
        address_of_nothing,
        r"tracking_uri somewhere is not an address of MLflow: give sqlite:///FILE",
        *TRAINING,
        "evaluate",
    ),
    refused(
        server_that_does_not_answer,
        r"MLflow server http://127.0.0.1:9 does not answer: .*--(tracking_required|mlflow) false",
        *TRAINING,
        "evaluate",
    ),
    refused(no_such_real_directory, NO_FOLDER, "evaluate"),
    refused(one_photograph, r"/set has 1 photograph: an evaluation takes two or more", "evaluate"),
    refused(one_real_photograph, r"/set has 1 photograph: an evaluation takes two or more", "evaluate"),
    refused(
        disc_without_its_photograph,
        r"discs/phantom_00003.png is a mask without its photograph: give both one name, or remove the mask",
        "evaluate",
    ),
    accepted(photographs_alone, "evaluate"),
    refused(
        photographs_with_nan,
        r"phantom_0000\d.tif holds values from nan to nan: a picture has 0 to 255",
        *LOOKING,
        *OTHERS,
    ),
    refused(volumes_with_nan, r"phantom_0000\d.nii.gz holds values from nan to nan: a picture has 0 to 255", *LOOKING),
    refused(
        synthetic_set_that_is_the_real_one,
        r"phantom/\S+ is the real set, or a part of it: each of its 8 photographs is a real one; give a set that was",
        "evaluate",
    ),
    refused(
        synthetic_set_that_is_a_copy_of_the_real_one,
        r"/copy is the real set, or a part of it: each of its 8 photographs is a real one; give a set that was generat",
        "evaluate",
    ),
    refused(
        synthetic_set_with_real_photographs,
        r"5 of the 8 photographs of \S*/eyes are files of the real set: give a synthetic set without them",
        "evaluate",
    ),
    refused(set_that_is_not_finished, r"/eyes is not finished, it has no datalist.json: run again", "evaluate"),
    refused(report_among_the_eyes, r"output_dir \S*/eyes is one of the sets: give a folder of its own", "evaluate"),
    refused(output_directory_of_another_page, r"/page/index.html was not written by an evaluation: give", "evaluate"),
    refused(
        output_directory_that_is_a_file,
        r"/file cannot be made \(File exists\); choose another",
        "training",
        "inference",
        "evaluate",
        *OTHERS,
        *STAGES_ALL,
    ),
    refused(no_weights_of_the_judge, r"no weights \S*/nothing.pt of the judge iternet_vessel: give oth", "evaluate"),
    refused(malicious_weights_of_the_judge, r"weights/model.pt is refused: it holds more than tensors", "evaluate"),
    refused(no_weights_of_the_encoder, r"there is no checkpoint \S*/nothing.pt", "evaluate"),
    refused(no_weights_of_inception, r"/nothing.pt cannot be read: No such file", "evaluate"),
    refused(setting("mode", "slow"), r"mode is 'slow': it takes quick, full or thorough", "evaluate"),
    refused(setting("families", "beauty"), r"families is beauty: it takes all, or some of image, distrib", "evaluate"),
    refused(setting("families", ""), r"families is empty: it takes all, or some of image, distribution", "evaluate"),
    refused(setting("size", 24), r"size is 24: give at least 32 pixels a side", "evaluate"),
    refused(setting("real_dir", 2024), r"real_dir must be a path, not 2024: give one such as ./2024", "evaluate"),
    refused(setting("synthetic_dir", ""), r"synthetic_dir must be a path, not ''", "evaluate"),
    refused(setting("mlflow", "perhaps"), r"mlflow is a switch and takes true, .* not 'perhaps'", "evaluate"),
]
