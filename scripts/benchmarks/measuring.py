"""How long to measure, the clock, the turns, and the table of what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from tqdm import tqdm

EPOCH = 216  # iterations: the reference's 8,640 are 40 epochs of as many training eyes
Key = TypeVar("Key")


@dataclass(frozen=True)
class Effort:
    """How long to measure, and how large.

    Args:
        rounds: turns of each variant.
        warm_up: iterations of a process before its clock starts.
        iterations: that are timed in a process.
        block: iterations of one variant before the next has its turn in the same process.
        phantoms: eyes; those that train are ``warm_up + iterations``.
        seconds: for each variant of inference in each round.
        overhead_sizes: whose overhead is measured.
        compiled: whether ``torch.compile`` is tried.
        overrides: of the bundles' configs; tests make all of it tiny.
        dataset_dirs: sets that are prepared and loaded; the phantoms if there are none.
        dataset_sizes: of the network for which they are loaded, pixels a side.
        reader_size: of the picture that the readers read, pixels a side.
        metric_counts: photographs in the small and in the large set whose metrics are taken.
        metric_size: of these photographs, pixels a side.
        report_count: photographs on each side of the report that is timed.
        report_families: that it asks for.
        fourier_sizes: of the pictures that LaMa's generator paints, pixels a side.
        fourier_pictures: that are timed in a process.
        diffusion_iterations: steps of training that are timed in a process.
        diffusion_samples: times that a batch is sampled in a process.
        chain_samples: of the set whose seconds are taken, at least.
        chain_counts: samples of the small and of the large set whose memory is taken.
    """

    rounds: int
    warm_up: int
    iterations: int
    block: int
    phantoms: int
    seconds: float
    overhead_sizes: tuple[str, ...]
    compiled: bool
    overrides: Mapping[str, Any] = field(default_factory=dict)
    dataset_dirs: tuple[str, ...] = ()
    dataset_sizes: tuple[int, ...] = (256, 512)
    reader_size: int = 960
    metric_counts: tuple[int, int] = (100, 1000)
    metric_size: int = 256
    report_count: int = 100
    report_families: str = "all"
    fourier_sizes: tuple[int, ...] = (256, 512)
    fourier_pictures: int = 8
    diffusion_iterations: int = 8
    diffusion_samples: int = 3
    chain_samples: int = 50
    chain_counts: tuple[int, int] = (100, 10_000)

    def overrides_of(self, config: str | Sequence[str]) -> dict[str, Any]:
        """Those of ``overrides`` that a config has; the others are of other bundles."""
        keys = ConfigParser.load_config_files(config)
        return {key: value for key, value in self.overrides.items() if key in keys}


class Timing(NamedTuple):
    """Seconds of one iteration, and of what happens once at the end of an epoch."""

    iteration: float
    epoch_end: float = 0.0

    @property
    def with_end(self) -> float:
        """Of an iteration with its share in the end of an epoch of ``EPOCH``."""
        return self.iteration + self.epoch_end / EPOCH


class Stopwatch:
    """Time the iterations and the end of each epoch of an engine; attached after all other handlers.

    Args:
        warm_up: first iterations of an epoch that do not count.
    """

    def __init__(self, warm_up: int = 0) -> None:
        self.warm_up = warm_up
        self.stamps: list[float] = []
        self.epochs: list[Timing] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.stamp)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.stop)

    def start(self) -> None:
        self.stamps = [time.perf_counter()]

    def stamp(self) -> None:
        self.stamps.append(time.perf_counter())

    def stop(self) -> None:
        first, *timed = self.stamps[self.warm_up :]
        self.epochs.append(Timing((timed[-1] - first) / len(timed), time.perf_counter() - timed[-1]))


def in_turns(jobs: Mapping[Key, Callable[[], Any]], rounds: int, title: str) -> dict[Key, list[Any]]:
    """Run every job once a round, each round beginning with another one; the results of each, round by round."""
    results: dict[Key, list[Any]] = {name: [] for name in jobs}
    names = list(jobs)
    with tqdm(total=rounds * len(jobs), desc=title) as bar:
        for turn in range(rounds):
            for place in range(len(names)):
                name = names[(turn + place) % len(names)]
                results[name].append(jobs[name]())
                bar.update()
    return results


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"
