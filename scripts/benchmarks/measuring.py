"""Settings of the benchmarks, a stopwatch, measurement in turns, and tables."""

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
    """Duration and size of the measurements. All sizes are side lengths in pixels.

    Args:
        rounds: rounds of each variant.
        warm_up: iterations of a process before timing starts.
        iterations: timed iterations per process.
        block: iterations of one variant before the next has its turn in the same process.
        phantoms: number of eyes, of which ``warm_up + iterations`` are training eyes.
        seconds: duration of each inference variant per round.
        overhead_sizes: network sizes whose overhead is measured.
        compiled: whether to try ``torch.compile``.
        overrides: overrides of the bundles' configs; tests use them to shrink everything.
        dataset_dirs: data sets to prepare and load; defaults to the phantoms.
        dataset_sizes: network sizes for which they are loaded.
        reader_size: size of the picture for the readers.
        metric_counts: number of photographs in the small and the large set for the metrics.
        metric_size: size of these photographs.
        report_count: photographs in each of the two sets of the report.
        report_families: families of the report.
        fourier_sizes: picture sizes for LaMa's generator.
        fourier_pictures: timed pictures per process.
        diffusion_iterations: timed training steps per process.
        diffusion_samples: timed batches of samples per process.
        chain_samples: minimum number of samples of the timed set.
        chain_counts: number of samples of the small and the large set for peak memory.
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
        """The overrides of keys in a config; other overrides belong to other bundles."""
        keys = ConfigParser.load_config_files(config)
        return {key: value for key, value in self.overrides.items() if key in keys}


class Timing(NamedTuple):
    """Seconds per iteration and at the end of an epoch."""

    iteration: float
    epoch_end: float = 0.0

    @property
    def with_end(self) -> float:
        """Seconds per iteration, including its share of the end of an epoch of ``EPOCH`` iterations."""
        return self.iteration + self.epoch_end / EPOCH


class Stopwatch:
    """Time the iterations and the end of each epoch of an engine; attached after all other handlers.

    Args:
        warm_up: untimed iterations at the start of an epoch.
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
    """Run every job once per round, starting each round with another job; return the results of each job by round."""
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
