"""Generate a labelled synthetic set with a bundle or chain, in any number of processes.

The ``source`` in the ``inference.json`` of the first bundle yields the inputs, and the ``writer`` of the last bundle
that makes photographs writes the samples. ``monai.bundle run`` uses the same objects.

Sample ``i`` depends on ``(seed, i)`` and its input alone. It is identical byte by byte for any batch size, number of
processes or interruption. For this, a network processes one sample at a time in a single torch thread: batching and
multi-threaded sums both change the last digit of the output.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from retina_monai.bundle import new_run_folder, set_settings
from retina_monai.engines import prepare
from retina_monai.errors import RetinaError, parse_switch
from retina_monai.files import check_folder
from retina_monai.handlers import SampleSet, finished_samples, refuse_other_set
from retina_monai.settings import check_path, check_settings, expand_home
from retina_monai.synthesis.bundles import LoadedBundle, part
from retina_monai.synthesis.chains import Chain
from retina_monai.synthesis.loading import load_chain
from retina_monai.synthesis.ranks import Ranks, joined

__all__ = ["synthesize"]

SWITCHES = ("skip_unreadable", "texture", "keep_names")
FOLDERS = ("fov_dir", "disc_dir")
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
    disc_dir: str | Path | None = None,
    size: int | None = None,
) -> Path:
    """Generate one photograph per vessel map of a folder or per phantom vessel tree.

    The same call resumes an interrupted run. Processes started by torchrun share the samples and use one GPU each, if
    available.

    Args:
        bundle: a chain, or a bundle or several joined by ``+`` as for :func:`retina_monai.load`.
        input_dir: folder of the images that the first bundle takes (vessel maps for most), or a data set with a
            recognised layout; ``None`` uses phantoms. A bundle that starts from noise takes none.
        output_dir: output folder; ``None`` creates a folder in ``runs`` of the (last) bundle.
        count: number of phantoms, or of samples from noise; only without ``input_dir``.
        seed: seed of phantoms, noise, random appearances, textures and warps.
        appearance: ``average``, a camera's name, ``random``, ``random:CAMERA``, or the path of a photograph.
        checkpoint: weights to use instead of the released ones; for a chain a dictionary by bundle name.
        batch_size: photographs that a process generates in parallel, each on its own thread. It affects time and
            memory, but not the photographs. Defaults to the process's share of the processors.
        skip_unreadable: whether to skip unreadable vessel maps and log their names.
        split: use only the vessel maps of this split of ``input_dir``: ``training``, ``validation``, ``test`` or
            ``all``.
        augment: number of warped copies of each map, which replace the map; 0 uses the maps unchanged.
        texture: whether to add the texture of the appearance, drawn from the seed.
        trust: whether a bundle from outside this library may run its code (:func:`retina_monai.bundle.find_bundle`).
        fov_dir: folder with one field of view per vessel map of ``input_dir``, under the same name.
        keep_names: whether to keep unpublished names of patients, eyes and files. Otherwise they become pseudonyms
            (:mod:`retina_monai.data.listing.pseudonyms`).
        disc_dir: folder with one disc mask per vessel map of ``input_dir``, under the same name, for generators that
            take a disc. Defaults to the disc masks of the data set, and to the discs found from the vessel maps if it
            has none.
        size: side length of the photographs in pixels; defaults to the size of the bundle.

    Returns:
        ``output_dir``: ``images``, ``vessels``, ``vessel_shares``, ``fovs`` and, if the bundle takes a disc, ``discs``;
        ``datalist.json``, ``manifest.jsonl``.

    Raises:
        RetinaError: there is no such bundle or chain; ``count`` is given with ``input_dir``, or ``split`` without it;
            a setting is out of range; weights or vessel maps are unusable; or ``output_dir`` holds another set, cannot
            be written or is in use by another run.
    """
    options = {
        "seed": seed,
        "appearance": expand_home(appearance),
        "skip_unreadable": skip_unreadable,
        "split": split,
        "augment": augment,
        "texture": texture,
        "fov_dir": expand_home(fov_dir),
        "keep_names": keep_names,
        "disc_dir": expand_home(disc_dir),
    }
    choice = _Choice(bundle, checkpoint, expand_home(output_dir), expand_home(input_dir), count, trust, size, options)
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
    """The arguments of :func:`synthesize`."""

    bundle: str | Path | Chain
    checkpoint: Weights | None
    output_dir: str | Path | None
    input_dir: str | Path | None
    count: int | None
    trust: bool | str
    size: int | None
    options: Mapping[str, Any]

    def check(self, batch_size: int | None) -> None:
        """Reject invalid arguments without reading any file but ``output_dir``."""
        options = self.options
        for switch in SWITCHES:
            parse_switch(options[switch], switch)
        parse_switch(self.trust, "trust")
        if self.input_dir is not None and self.count is not None:
            raise RetinaError("count is the number of phantoms: give either --count or --input_dir")
        if self.input_dir is None and options["split"] != "all":
            raise RetinaError(f"split {options['split']} needs a data set: give --input_dir, or leave out --split")
        for key in FOLDERS:
            if self.input_dir is None and options[key] is not None:
                raise RetinaError(f"{key} needs a folder of vessel maps: give --input_dir, or leave out --{key}")
        paths = {"input_dir": self.input_dir, "output_dir": self.output_dir}
        for key, path in (paths | {key: options[key] for key in (*FOLDERS, "appearance")}).items():
            check_path(key, path)
        if options["appearance"].startswith(("$", "@", "%")):  # MONAI would interpret these in inference.json
            raise RetinaError(
                f"appearance {options['appearance']} is unknown: give ./{options['appearance']} if it is the path of a "
                "photograph"
            )
        given = {"count": self.count, "batch_size": batch_size, "size": self.size}
        counts = {key: value for key, value in given.items() if value is not None}
        rules = {"count": "phantom_count"}
        check_settings({key: options[key] for key in ("seed", "augment")} | counts, rules)
        if self.output_dir is not None:
            check_folder(self.output_dir)
            refuse_other_set(Path(self.output_dir))

    def load(self) -> Chain:
        if isinstance(self.bundle, Chain):
            if self.size not in (None, self.bundle.size):
                raise RetinaError(f"{self.bundle.name} is already loaded with size {self.bundle.size}: leave out size")
            return self.bundle
        for path in self.checkpoint.values() if isinstance(self.checkpoint, Mapping) else [self.checkpoint]:
            check_path("checkpoint", path)
        return load_chain(self.bundle, self.checkpoint, parse_switch(self.trust, "trust"), self.size)

    def for_bundle(self, bundle: LoadedBundle) -> dict[str, Any]:
        """The options that the bundle's ``inference.json`` has."""
        count = {"phantom_count": self.count, "count": self.count} if self.count is not None else {}
        given = {**self.options, **count, "input_dir": self.input_dir}
        given |= {key: Path(given[key]) for key in ("input_dir", *FOLDERS) if given[key] is not None}
        given |= {key: parse_switch(given[key], key) for key in SWITCHES}
        return {key: value for key, value in given.items() if key in bundle.options()}

    def refuse_unused(self, chain: Chain) -> None:
        """Reject options that no bundle of the chain has."""
        usual = signature(synthesize).parameters
        known = {key for bundle in chain.bundles for key in self.for_bundle(bundle)}
        given = {"input_dir": self.input_dir, **self.options}
        for key, value in given.items():
            unusual = (parse_switch(value, key) if key in SWITCHES else value) != usual[key].default
            if key not in known and unusual:
                raise RetinaError(f"{chain.name} has no option {key}: leave out --{key}")


@dataclass(frozen=True)
class _Plan:
    """Result of the first process's checks: the missing samples, the number of finished ones, and the output folder."""

    source: Sequence[Mapping[Any, Any]]
    finished: int
    folder: Path
    settings: Mapping[str, Any]


class _Work:
    """One process's part in writing a set."""

    def __init__(self, choice: _Choice) -> None:
        self.choice = choice
        self.target: SampleSet | None = None

    @cached_property
    def chain(self) -> Chain:
        return self.choice.load()

    def begin(self, batch_size: int | None) -> _Plan:
        """Check all inputs, and lock the folder only afterwards."""
        self.choice.check(batch_size)
        prepare(self.choice.options["seed"])
        chain = self.chain
        self.choice.refuse_unused(chain)
        if chain.appearances is not None:
            chain.appearances.choose(self.choice.options["appearance"])
        given = self.choice.output_dir
        folder = new_run_folder(chain.root) if given is None else Path(given)
        source = self._source(folder)
        settings = self._settings(source)
        target = self._target(folder, settings)
        target.check()
        if len(source):
            source[0]
        self.target = target
        target.start()
        return _Plan(source, len(finished_samples(folder)), folder, settings)

    def run(self, plan: _Plan, batch_size: int, ranks: Ranks) -> None:
        """Generate this process's share of the samples; the first process then completes the set."""
        target = self.target = self.target or self._target(plan.folder, plan.settings)

        def make(place: int) -> dict[str, Any]:
            sample = plan.source[place]
            return target.write_sample(self.chain.draw(sample, sample.get("latent", 0)))

        left = len(plan.source)
        total = left + plan.finished
        own = range(ranks.rank, left, ranks.count)
        hidden = None if ranks.rank == 0 else True  # None hides the bar only where there is no terminal
        with (
            _threads(batch_size) as threads,
            tqdm(total=total, initial=plan.finished, desc="generating", unit="sample", disable=hidden) as bar,
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
        """Unlock the folder."""
        if self.target is not None:
            self.target.release()

    def _source(self, folder: Path) -> Any:
        """The first bundle's source of inputs for unfinished samples.

        Raises:
            RetinaError: the source does not provide all inputs of the chain.
        """
        first = self.chain.bundles[0]
        phantoms = {"phantom_dir": self.chain.root / "runs" / "phantom"} if "phantom_dir" in first.options() else {}
        source = part(first.options(**self.choice.for_bundle(first), **phantoms, output_dir=folder), "source")
        if missing := [kind for kind in self.chain.takes if kind not in source.kinds]:
            raise RetinaError(
                f"{self.chain.name} takes {missing[0]}, which no earlier bundle makes: the source of {first.name} "
                f"provides {', '.join(source.kinds) or 'noise'}"
            )
        return source

    def _settings(self, source: Any) -> dict[str, Any]:
        chain = self.chain
        drawn_with: dict[str, Any] = {}
        for bundle in chain.bundles:
            drawn_with |= part(bundle.options(**self.choice.for_bundle(bundle)), "drawn_with")
        return set_settings(chain.name, chain.roots, chain.checkpoint, source, **drawn_with)

    def _target(self, folder: Path, settings: Mapping[str, Any]) -> SampleSet:
        how = {"output_dir": folder, "settings": settings, "network_output": self.chain.network_output}
        drawing = self.chain.drawing
        target: SampleSet = part(drawing.options(**self.choice.for_bundle(drawing), **how), "writer")
        return target


@contextmanager
def _threads(batch_size: int) -> Iterator[ThreadPoolExecutor]:
    """Up to one thread per processor, in each of which torch computes single-threaded; restored afterwards."""
    before = torch.get_num_threads()
    most = min(batch_size, os.cpu_count() or 1)
    try:
        with ThreadPoolExecutor(most, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            yield threads
    finally:
        torch.set_num_threads(before)
