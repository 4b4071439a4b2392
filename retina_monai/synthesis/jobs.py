"""A labelled synthetic set by one call: of vessel maps, by a chain of bundles, in any number of processes.

Sample ``i`` depends on ``(seed, i)`` alone, and is the same byte by byte however many are made at a time, in however
many processes and after whatever interruption: a network sees one sample at a time, on one of torch's threads, since
the samples of a batch and the threads of a sum both change the last digit of what comes out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from retina_monai.bundle import new_run_folder, set_settings
from retina_monai.data import VesselMaps, input_or_phantoms
from retina_monai.engines import prepare
from retina_monai.errors import RetinaError, parse_switch
from retina_monai.files import check_folder
from retina_monai.handlers import SyntheticSet, finished_samples
from retina_monai.settings import check_path, check_settings, expand_home
from retina_monai.synthesis.chains import Chain
from retina_monai.synthesis.loading import load_chain
from retina_monai.synthesis.ranks import Ranks, joined
from retina_monai.transforms import Appearance

__all__ = ["synthesize"]

PHANTOMS = 8
Weights = str | Path | Mapping[str, str | Path]


def synthesize(
    bundle: str | Path | Chain = "pix2pix_vessel",
    input_dir: str | Path | None = None,
    output_dir: str | Path | None = None,
    count: int | None = None,
    seed: int = 0,
    appearance: str = "average",
    checkpoint: Weights | None = None,
    batch_size: int | None = None,
    skip_unreadable: bool | str = False,
    split: str = "all",
    augment: int = 0,
    texture: bool | str = True,
    trust: bool | str = False,
    fov_dir: str | Path | None = None,
    keep_names: bool | str = False,
) -> Path:
    """Generate a photograph for each vessel map of a folder, or for vessel trees that the phantom grows.

    An interrupted set is completed by the same call. Processes that torchrun starts share the samples, each with a GPU
    of its own where there are some.

    Args:
        bundle: what :func:`retina_monai.load` takes, for synthesis; or a chain.
        input_dir: a folder of vessel maps, or a data set whose layout is recognised; ``None``: phantoms.
        output_dir: where the set is written; ``None``: a folder of its own in ``runs`` of the (last) bundle.
        count: how many phantoms; only where there is no ``input_dir``.
        seed: of phantoms, random appearances, textures and warps.
        appearance: ``average``, a camera's name, ``random``, ``random:CAMERA``, or the path of a photograph.
        checkpoint: other weights than the released ones; of a chain a dictionary, by the names of its bundles.
        batch_size: photographs that a process makes at the same time, each on a thread of its own: time and memory
            depend on it, the photographs do not. ``None``: its share of the processors.
        skip_unreadable: leave out vessel maps that cannot be read, and log which.
        split: ``training``, ``validation`` or ``test``: vessel maps of that split of ``input_dir`` only; ``all``.
        augment: warp each map so many times, and generate from the warped ones only; 0: maps as they are.
        texture: draw the appearance's texture, by the seed; without it photographs are as the network paints them.
        trust: whether a bundle of another origin may run its code (:func:`retina_monai.bundle.find_bundle`).
        fov_dir: a folder of fields of view, one for each vessel map of ``input_dir`` and of its name.
        keep_names: keep names of patients, eyes and files that nobody has published; otherwise they become pseudonyms
            (:mod:`retina_monai.data.listing.pseudonyms`).

    Returns:
        ``output_dir``: ``images``, ``vessels``, ``vessel_shares``, ``fovs``, ``datalist.json``, ``manifest.jsonl``.

    Raises:
        RetinaError: no such bundle or chain; ``count`` beside ``input_dir``, or ``split`` without it; settings out of
            range; weights or vessel maps that cannot be used; an ``output_dir`` that holds another set, cannot be
            written, or is written to by another run.
    """
    of_maps = (expand_home(input_dir), count, skip_unreadable, split, augment, keep_names)
    look = expand_home(appearance)
    fields = expand_home(fov_dir)
    choice = _Choice(bundle, checkpoint, expand_home(output_dir), *of_maps, seed, look, texture, trust, fields)
    with joined() as ranks:
        work = _Work(choice)
        try:
            plan = ranks.from_first(lambda: work.begin(batch_size))
            work.run(plan, batch_size or max(1, (os.cpu_count() or 1) // ranks.count), ranks)
        finally:
            work.release()
    return plan.folder


@dataclass(frozen=True)
class _Choice:
    """What a set is to be made of: the arguments of :func:`synthesize`."""

    bundle: str | Path | Chain
    checkpoint: Weights | None
    output_dir: str | Path | None
    input_dir: str | Path | None
    count: int | None
    skip_unreadable: bool | str
    split: str
    augment: int
    keep_names: bool | str
    seed: int
    appearance: str
    texture: bool | str
    trust: bool | str
    fov_dir: str | Path | None

    def check(self, batch_size: int | None) -> None:
        """Refuse what needs no look at any file but ``output_dir``."""
        for switch in ("skip_unreadable", "texture", "trust", "keep_names"):
            parse_switch(getattr(self, switch), switch)
        if self.input_dir is not None and self.count is not None:
            raise RetinaError("count is the number of phantoms to grow: give it, or --input_dir, not both")
        if self.input_dir is None and self.split != "all":
            raise RetinaError(f"split {self.split} is of a data set: give one with --input_dir, or leave --split out")
        if self.input_dir is None and self.fov_dir is not None:
            raise RetinaError("fov_dir is for the vessel maps of a folder: give one with --input_dir, or leave it out")
        for key in ("input_dir", "fov_dir", "output_dir", "appearance"):
            check_path(key, getattr(self, key))
        if self.appearance.startswith(("$", "@", "%")):  # inference.json takes the same, and there MONAI's mean more
            raise RetinaError(
                f"appearance {self.appearance} is unknown: give ./{self.appearance} if it is the path of a photograph"
            )
        given = {"count": self.count, "batch_size": batch_size}
        counts = {key: value for key, value in given.items() if value is not None}
        rules = {"count": "phantom_count"}
        check_settings({"seed": self.seed, "augment": self.augment, **counts}, rules)
        if self.output_dir is not None:
            check_folder(self.output_dir)

    def load(self) -> Chain:
        if isinstance(self.bundle, Chain):
            return self.bundle
        for path in self.checkpoint.values() if isinstance(self.checkpoint, Mapping) else [self.checkpoint]:
            check_path("checkpoint", path)
        return load_chain(self.bundle, self.checkpoint, parse_switch(self.trust, "trust"))

    def find_maps(self, chain: Chain) -> VesselMaps:
        count, phantoms = self.count or PHANTOMS, chain.root / "runs" / "phantom"
        folder = input_or_phantoms(self.input_dir, phantoms, count, 2 * chain.size, self.seed)
        how = {"skip_unreadable": self.skip_unreadable, "split": self.split, "augment": self.augment}
        how["keep_names"] = self.keep_names
        return VesselMaps(folder, chain.size, seed=self.seed, fov_dir=self.fov_dir, **how)


@dataclass(frozen=True)
class _Plan:
    """What the first process found: all maps, which samples are not there yet, and where they go."""

    maps: VesselMaps
    places: NDArray[np.int64]
    folder: Path
    settings: Mapping[str, Any]


class _Work:
    """A set in the making, as one process sees it."""

    def __init__(self, choice: _Choice) -> None:
        self.choice = choice
        self.target: SyntheticSet | None = None

    @cached_property
    def chain(self) -> Chain:
        return self.choice.load()

    def begin(self, batch_size: int | None) -> _Plan:
        """Look at all that a user may have wrong, and only then take the folder."""
        self.choice.check(batch_size)
        prepare(self.choice.seed)
        self.chain.appearances.choose(self.choice.appearance)
        given = self.choice.output_dir
        folder = new_run_folder(self.chain.root) if given is None else Path(given)
        maps = self.choice.find_maps(self.chain)
        settings = self._settings(maps)
        target = self._target(folder, settings)
        target.check()
        finished = finished_samples(folder)
        left = (place for place in range(len(maps)) if maps.name(place) not in finished)
        places = np.fromiter(left, np.int64)
        if len(places):
            maps[int(places[0])]
        self.target = target
        target.start()
        return _Plan(maps, places, folder, settings)

    def run(self, plan: _Plan, batch_size: int, ranks: Ranks) -> None:
        """Make this process's share of the samples; the first then brings all together."""
        target = self.target = self.target or self._target(plan.folder, plan.settings)

        def make(place: np.int64) -> dict[str, Any]:
            item = plan.maps[int(place)]
            pred = self.chain.draw(item["image"], item["fov"], item["latent"])
            condition = torch.from_numpy(item["image"])[None] / 127.5 - 1
            return target.write_sample({**item, "image": condition}, torch.from_numpy(pred))

        total, left = len(plan.maps), len(plan.places)
        own = plan.places[ranks.rank :: ranks.count]
        hidden = None if ranks.rank == 0 else True  # None: where there is no screen
        with (
            _threads(batch_size) as threads,
            tqdm(total=total, initial=total - left, desc="generating", unit="sample", disable=hidden) as bar,
        ):
            for start in range(0, len(own), batch_size):
                for line in threads.map(make, own[start : start + batch_size]):
                    target.append(line, ranks.rank)
                    bar.update(min(ranks.count, total - bar.n))
        ranks.wait()
        if ranks.rank == 0:
            target.complete()
        ranks.wait()

    def release(self) -> None:
        """Let others write to the folder."""
        if self.target is not None:
            self.target.release()

    def _settings(self, maps: VesselMaps) -> dict[str, Any]:
        chain, choice = self.chain, self.choice
        texture = parse_switch(choice.texture, "texture")
        drawn = {**chain.bundles[-1].drawn_by, **chain.appearances.settings(choice.appearance), "texture": texture}
        return set_settings(chain.name, chain.roots, chain.checkpoint, maps, **drawn)

    def _target(self, folder: Path, settings: Mapping[str, Any]) -> SyntheticSet:
        chain, choice = self.chain, self.choice

        def appearance(index: int) -> Appearance:
            return chain.appearances.choose(choice.appearance, choice.seed, index)

        return SyntheticSet(folder, appearance, settings, parse_switch(choice.texture, "texture"))


@contextmanager
def _threads(batch_size: int) -> Iterator[ThreadPoolExecutor]:
    """As many threads as there are processors for, on each of which torch computes with one; as before afterwards."""
    before = torch.get_num_threads()
    most = min(batch_size, os.cpu_count() or 1)
    try:
        with ThreadPoolExecutor(most, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            yield threads
    finally:
        torch.set_num_threads(before)
