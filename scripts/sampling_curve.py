"""Measure KID, clDice and seconds of every sampler at several numbers of steps.

    python scripts/sampling_curve.py DATA WEIGHTS... --output bundles/ddpm_vessel/docs/reports/sampling.json \
        --picture docs/images/ddpm_vessel_steps.png

``DATA`` holds CHASE_DB1, HRF and FIVES. ``WEIGHTS`` are the bundle's released weights, or files of a training with
``network.json`` next to them; one file per process. Each is measured with every sampler of its process.

Conditions are warped vessel maps of training eyes, of which no photograph exists, with the discs that disc_from_vessels
finds and the appearances of random training eyes of the same camera. No test eye is used. KID compares the
generated photographs with the training photographs of other patients by the features of ``retina_encoder``, both in the
canonical appearance. Its floor is the KID between two halves of the photographs. Photographs are generated in bfloat16
if the processor supports it.

Lines already in the output are skipped, so that the same command resumes an interrupted run. Seconds are measured last,
for all lines of these weights, and again on every call: for a single photograph in float32, as the bundle generates it.
Run it on an idle machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch import Tensor
from tqdm import tqdm

from retina_monai.bundle import digest, find_bundle, load_appearances, load_network_of, network_input
from retina_monai.data import LoadEyed, VesselMaps, WithAppearance, find_datalist
from retina_monai.engines import choose_device, choose_precision, prepare
from retina_monai.errors import RetinaError
from retina_monai.evaluation import load_extractors, load_judge
from retina_monai.evaluation.families.distribution.set_comparison import unrelated
from retina_monai.files import replacing, write_json
from retina_monai.metrics import cldice, floor_of_halves, kid_of_subsets
from retina_monai.networks import DiffusionGenerator
from retina_monai.networks.diffusion import SAMPLERS, plan_steps
from retina_monai.synthesis import DiscFinder
from retina_monai.transforms import CanonicalAppearanced, MatchAppearance, ReduceEyed

DATASETS = ("CHASE_DB1", "HRF", "FIVES")
STEPS = (4, 8, 16, 32, 64)
WARPS = 1  # of each map
BATCH = 11
BUNDLE = "ddpm_vessel"
PANELS = {"kid": "KID over its floor (less is better)", "cldice": "clDice (more is better)", "seconds": "seconds"}


def main(
    data: str,
    *weights: str,
    output: str,
    picture: str | None = None,
    size: int = 256,
    steps: Sequence[int] | int = STEPS,
    guidance: Sequence[float] | float = 1.0,
    samplers: Sequence[str] | str = (),
    seed: int = 0,
) -> None:
    """Measure, write JSON line by line, and print the table.

    Args:
        data: folder of the data sets.
        weights: files of weights, one per process.
        output: JSON file to write or continue.
        picture: PNG file for the curves; by default none is drawn.
        size: side length in pixels.
        steps: one or several numbers of steps.
        guidance: one or several guidance scales.
        samplers: samplers to measure; defaults to all of the process.
        seed: seed of warps and noise.
    """
    prepare(seed)
    networks = {file: _network(file) for file in weights}
    lines = [
        (network, line)
        for file, network in networks.items()
        for line in _lines(file, network, _listed(samplers), _listed(steps), _listed(guidance))
    ]
    conditions = Conditions(data, size, seed)
    path = Path(output)
    report = json.loads(path.read_text()) if path.is_file() else {"about": conditions.about, "lines": []}
    if conditions.about | {"floor": report["about"]["floor"]} != report["about"]:  # the floor varies with the threads
        raise RetinaError(f"{path} was measured under other conditions: remove it, or give another --output")
    used = {line["process"]: line["weights"] for line in report["lines"]}
    for _, line in lines:
        if used.setdefault(line["process"], line["weights"]) != line["weights"]:
            raise RetinaError(
                f"{path} can hold one file of weights per process, got two for {line['process']}: give another --output"
            )
    for network, line in lines:
        if not any(line.items() <= done.items() for done in report["lines"]):
            report["lines"].append(line | conditions.measure(_sampling(network, line)))
            write_json(path, report)
    for network, line in lines:
        done = next(done for done in report["lines"] if line.items() <= done.items())
        done |= {"seconds": conditions.seconds(_sampling(network, line)), "threads": torch.get_num_threads()}
    write_json(path, report)
    if picture is not None:
        draw(report, picture)
    print(describe(report))


def describe(report: dict[str, Any]) -> str:
    """The lines as a Markdown table, with KID also as a multiple of its floor."""
    floor = report["about"]["floor"]
    titles = ("process", "sampler", "steps", "guidance", "KID", "times the floor", "clDice", "seconds")
    text = "| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|\n"
    for line in report["lines"]:
        kid_value, ratio = f"{line['kid']:.4f} ± {line['standard_error']:.4f}", f"{line['kid'] / floor:.1f}"
        cells = (line["process"], line["sampler"], line["steps"], f"{line['guidance']:g}", kid_value, ratio)
        text += "| " + " | ".join(map(str, cells)) + f" | {line['cldice']:.3f} | {line['seconds']:.2f} |\n"
    return text


def draw(report: dict[str, Any], path: str | Path) -> None:
    """Draw KID, clDice and seconds over the steps, with one curve per sampler without guidance."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for line in sorted(report["lines"], key=lambda line: int(line["steps"])):
        if line["guidance"] == 1:
            curves.setdefault(f"{line['sampler']} of {line['process']}", []).append(line)
    ticks = sorted({int(line["steps"]) for line in report["lines"]})
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        unit = report["about"]["floor"] if key == "kid" else 1
        for label, lines in curves.items():
            values = [line[key] / unit for line in lines]
            axes.plot([line["steps"] for line in lines], values, marker="o", label=label)
        axes.set(xlabel="steps", title=title, xscale="log", yscale="linear" if key == "cldice" else "log")
        axes.set_xticks(ticks, [str(count) for count in ticks])
        axes.minorticks_off()
        if key != "cldice":
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    FigureCanvasAgg(figure)
    with replacing(path) as file:
        figure.savefig(file, dpi=120, format="png")


class Conditions:
    """Generate from warped vessel maps, and compare with the training photographs.

    Args:
        data, size, seed: as for :func:`main`.

    Attributes:
        about: description of the measurement.
    """

    def __init__(self, data: str, size: int, seed: int) -> None:
        self.device = choose_device()
        self.seed = seed
        self.root = find_bundle(BUNDLE)
        appearances = load_appearances(self.root / "models" / "model.pt", self.root)
        self.items = []
        for place, name in enumerate(DATASETS):  # each with different warps and noise
            options = {"split": "training", "augment": WARPS, "seed": seed + place, "find_disc": DiscFinder()}
            maps = VesselMaps(Path(data) / name, size, **options)
            choice = f"random:{name}" if name in appearances.cameras else "random"
            samples = WithAppearance(maps, lambda index, choice=choice: appearances.choose(choice, seed, index))
            self.items += [samples[index] for index in range(len(samples))]
        self.judge, judge = load_judge()
        self.extractor_name, self.extractor = next(iter(load_extractors().items()))
        eyes = find_datalist([str(Path(data) / name) for name in DATASETS])["training"]
        loaded = [_canonical(item, size) for item in tqdm(eyes, desc="reading", leave=False)]
        self.real = self._features(torch.stack(loaded))
        patients = ([str(item["patient"]) for item in found] for found in (eyes, self.items))
        halves, self.subsets, by_patient = unrelated(*patients, np.random.default_rng(seed))
        self.kid_settings: dict[str, Any] = {"extractor": self.extractor_name, "resolution": size}
        floor = floor_of_halves(self.real, halves, by_patient=by_patient, **self.kid_settings)
        self.about = self.kid_settings | {
            "judge": judge,
            "real": len(eyes),
            "generated": len(self.items),
            "N": floor.real_count,
            "floor": floor.kid,
            "seed": seed,
            "precision": choose_precision("auto", self.device),
        }

    def measure(self, network: DiffusionGenerator) -> dict[str, float]:
        """KID with its standard error, and mean clDice."""
        network = network.to(self.device)
        drawn, scores = [], []
        groups = [self.items[start : start + BATCH] for start in range(0, len(self.items), BATCH)]
        low = choose_precision("auto", self.device) == "bf16"
        for group in tqdm(groups, desc="sampling", leave=False):
            condition, fov = self._tensors(group, network)
            noise = network.noise(torch.tensor([item["latent"] for item in group], device=self.device), *fov.shape[2:])
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=low):
                image = network(condition, noise).float()
            image = MatchAppearance()(image, fov).clamp(-1, 1)
            drawn.append(image.cpu())
            scores.append(cldice(self.judge(image, fov) >= 0.5, condition[:, :1] >= 0, fov))
        distance = kid_of_subsets(self.real, self._features(torch.cat(drawn)), self.subsets, **self.kid_settings)
        return {
            "kid": distance.value,
            "standard_error": distance.standard_error,
            "cldice": float(torch.cat(scores).nanmean()),
        }

    def seconds(self, network: DiffusionGenerator) -> float:
        """Seconds for a single photograph in float32: the minimum of six runs, or of two for more than 100 steps."""
        network = network.to(self.device)
        condition, _ = self._tensors(self.items[:1], network)
        times = []
        with torch.inference_mode():
            for _ in range(2 if network.arguments["steps"] > 100 else 6):
                start = time.perf_counter()
                network(condition).cpu()
                times.append(time.perf_counter() - start)
        return min(times)

    def _tensors(self, items: Sequence[dict[str, Any]], network: DiffusionGenerator) -> tuple[Tensor, Tensor]:
        """Conditions of the network and fields of view."""
        given = network_input(self.root, network)
        pictures = [torch.from_numpy(given(item)) for item in items]
        condition = torch.stack([picture if picture.ndim == 3 else picture[None] for picture in pictures]) / 127.5 - 1
        fov = torch.stack([torch.from_numpy(item["fov"]).float() for item in items])
        return condition.to(self.device), fov.to(self.device)

    def _features(self, images: Tensor) -> np.ndarray:
        return torch.cat([self.extractor(part).cpu() for part in images.split(BATCH)]).numpy()


def _canonical(item: dict[str, Any], size: int) -> Tensor:
    eye = CanonicalAppearanced(["image"])(ReduceEyed(["image"], 2)(LoadEyed(2 * size)(item)))
    image: Tensor = eye["image"]
    return image


def _lines(
    file: str,
    network: DiffusionGenerator,
    samplers: Sequence[str],
    steps: Sequence[int],
    guidance: Sequence[float],
) -> list[dict[str, Any]]:
    """The lines to measure for a file of weights. Invalid settings are rejected here, before any measurement."""
    process = str(network.arguments["process"])
    if unknown := set(samplers) - {name for names in SAMPLERS.values() for name in names}:
        raise RetinaError(f"there is no sampler {sorted(unknown)[0]}: give some of {SAMPLERS}")
    chosen = [sampler for sampler in SAMPLERS[process] if not samplers or sampler in samplers]
    try:
        for count in steps:
            plan_steps(process, SAMPLERS[process][0], count)
    except ValueError as error:
        raise RetinaError(str(error)) from error
    return [
        {"process": process, "weights": digest(file), "sampler": sampler, "steps": count, "guidance": float(weight)}
        for sampler in chosen
        for count in steps
        for weight in guidance
    ]


def _sampling(network: DiffusionGenerator, line: dict[str, Any]) -> DiffusionGenerator:
    return network.sample_by(sampler=line["sampler"], steps=line["steps"], guidance=line["guidance"])


def _network(file: str) -> DiffusionGenerator:
    released = find_bundle(BUNDLE) / "models" / "model.pt"
    if not Path(file).with_name("network.json").is_file() and Path(file).resolve() != released.resolve():
        raise RetinaError(f"{file} has no network.json next to it: copy both files from a training")
    network: Any = load_network_of(BUNDLE, file)
    loaded: DiffusionGenerator = network
    return loaded


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


if __name__ == "__main__":
    try:
        fire.Fire(main)
    except RetinaError as error:
        raise SystemExit(f"error: {error}") from error
