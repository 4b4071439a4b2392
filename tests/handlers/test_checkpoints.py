"""A checkpoint is all that a training is: what goes on from it ends where the uninterrupted one ends."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from ignite.metrics import Average
from monai.transforms import RandFlipd, RandGaussianNoised, Transform
from PIL import Image
from torch import Tensor, nn

from retina_monai.bundle import load_network
from retina_monai.data import CachedEyes, eye_loader
from retina_monai.engines import AdversarialTrainer, Averaged, GenerationEvaluator
from retina_monai.errors import RetinaError
from retina_monai.handlers import (
    Checkpoints,
    EpochLosses,
    EpochValidation,
    LinearDecay,
    SeededEpochs,
    load_file,
    newest_checkpoint,
)
from retina_monai.handlers.checkpoints import save_atomically
from retina_monai.networks import Pix2PixUNet
from retina_monai.objectives import Pix2Pix

SIZE = 16


class Read(Transform):
    """A photograph, its darkest pixels as vessels, all of it as field of view."""

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        with Image.open(data["image"]) as picture:
            image = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1
        vessel = (image[:1] < -0.5).float() * 2 - 1
        return {"image": image, "vessel": vessel, "fov": torch.ones(1, SIZE, SIZE), "name": data["name"]}


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Conv2d(4, 1, 3))

    def forward(self, pair: Tensor) -> list[Tensor]:
        return [self.layers(pair)]


class Training:
    """pix2pix with all that a real one has: augmentation, dropout, Adam, decay, average, validation, checkpoints."""

    def __init__(
        self,
        folder: Path,
        output: str = "run",
        epochs: int = 4,
        seed: int = 0,
        levels: int = 3,
        features: int = 4,
        workers: int = 0,
        metrics: list[float] | None = None,
        validation: int = 1,
        ema: bool = True,
        run_id: str | None = None,
        **arguments: Any,
    ) -> None:
        self.output_dir = folder / output
        torch.manual_seed(seed)
        self.generator, judge = Pix2PixUNet(levels=levels, features=features), Judge()
        self.objective = Pix2Pix(self.generator, judge)
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), 2e-3, (0.5, 0.999), fused=True)
            for name, network in self.objective.networks.items()
        }
        self.averaged = Averaged(self.generator, 0.9, every=2, enabled=ema)
        self.tracker = SimpleNamespace(run_id=run_id)
        items = [{"image": str(path), "name": path.stem} for path in sorted((folder / "eyes").glob("*.png"))]
        augment = [RandFlipd(["image", "vessel"], prob=0.5, spatial_axis=1), RandGaussianNoised("image", prob=0.5)]
        loader = eye_loader(CachedEyes(items, [Read(), *augment]), 2, workers)
        values = iter(metrics or [])
        quality = Average(
            output_transform=lambda output: (
                next(values)
                if metrics
                else -torch.stack([(item["pred"] - item["image"]).abs().mean() for item in output]).mean()
            )
        )
        self.evaluator = GenerationEvaluator(
            network=self.averaged.network,
            device="cpu",
            val_data_loader=eye_loader(CachedEyes(items[:2], [Read()]), 2, 0, shuffle=False),
            key_val_metric={"quality": quality},
        )
        self.checkpoints = Checkpoints(
            self.output_dir, self.averaged, self.evaluator, tracker=self.tracker, **arguments
        )
        self.trainer = AdversarialTrainer(
            self.objective,
            self.optimizers,
            device="cpu",
            max_epochs=epochs,
            data_loader=loader,
            handlers=[
                SeededEpochs(0, loader.sampler),
                LinearDecay(self.optimizers),
                self.averaged,
                EpochLosses(),
                *([EpochValidation(validator=self.evaluator, interval=validation)] if validation else []),
                self.checkpoints,
            ],
        )

    def run(self) -> Training:
        self.trainer.run()
        return self

    def interrupt_at(self, iteration: int) -> Training:
        @self.trainer.on(Events.ITERATION_COMPLETED(once=iteration))
        def cut() -> None:
            raise PowerCutError

        with pytest.raises(PowerCutError):
            self.trainer.run()
        return self

    def state(self) -> dict[str, Any]:
        return self.checkpoints.state_dict(self.trainer)


class PowerCutError(Exception):
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six eyes: an epoch has three iterations."""
    (tmp_path / "eyes").mkdir()
    random = np.random.default_rng(0)
    for index in range(6):
        pixels = random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "eyes" / f"{index}.png")
    return tmp_path


def differences(first: Any, second: Any, path: str = "") -> Iterator[str]:
    """Where two nested states differ, bit by bit."""
    if isinstance(first, Mapping):
        yield from (f"{path}/{key}" for key in first.keys() ^ second.keys())
        for key in first.keys() & second.keys():
            yield from differences(first[key], second[key], f"{path}/{key}")
    elif isinstance(first, list | tuple):
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from differences(one, other, f"{path}/{index}")
    elif not (torch.equal(first, second) if isinstance(first, Tensor) else first == second):
        yield path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("workers", "iteration"), [(0, 7), (2, 7), (0, 11), (0, 6)])
def test_a_resumed_training_equals_the_uninterrupted_one_bit_for_bit(
    folder: Path, workers: int, iteration: int
) -> None:
    """Cut within epochs 3 and 4, and at the very end of epoch 2, before its checkpoint."""
    straight = Training(folder, "straight").run()
    Training(folder, "cut", workers=workers).interrupt_at(iteration)
    resumed = Training(folder, "cut", seed=99, workers=workers, resume=True).run()
    assert list(differences(straight.state(), resumed.state())) == []
    assert straight.trainer.state.metrics == resumed.trainer.state.metrics
    first, second = (load_file(training.output_dir / "model.pt") for training in (straight, resumed))
    assert list(differences(first, second)) == []
    assert straight.state()["iteration"] == 12 and straight.state()["best_metric_epoch"] > 0


def test_every_epoch_has_an_order_and_an_augmentation_of_its_own(folder: Path) -> None:
    training = Training(folder, epochs=3)
    epochs: list[list[tuple[str, float]]] = []
    training.trainer.add_event_handler(Events.EPOCH_STARTED, lambda: epochs.append([]))

    @training.trainer.on(Events.ITERATION_COMPLETED)
    def remember() -> None:
        (output,) = training.trainer.state.output
        epochs[-1] += [(name, float(image.sum())) for name, image in zip(output["name"], output["image"], strict=True)]

    training.run()
    assert len({tuple(name for name, _ in drawn) for drawn in epochs}) == 3
    assert all(sorted(name for name, _ in drawn) == list("012345") for drawn in epochs)
    assert len({frozenset(drawn) for drawn in epochs}) == 3


def test_everything_is_restored(folder: Path) -> None:
    first = Training(folder, run_id="abc123", metrics=[0.3, 0.7, 0.5], epochs=3).run()
    second = Training(folder, seed=1, epochs=3, resume=True)
    assert list(differences(first.objective.networks.state_dict(), second.objective.networks.state_dict()))
    second.run()
    assert list(differences(first.state(), second.state())) == []
    assert second.trainer.state.epoch == 3 and second.trainer.state.iteration == 9
    assert second.evaluator.state.best_metric == 0.7 and second.evaluator.state.best_metric_epoch == 2
    assert second.tracker.run_id == "abc123"
    moments = second.optimizers["discriminator"].state_dict()["state"][0]
    assert moments["step"].item() == 9 and moments["exp_avg"].abs().max() > 0
    assert int(second.averaged.state_dict()["n_averaged"]) == 4


def test_a_checkpoint_holds_every_part_in_plain_types(folder: Path) -> None:
    training = Training(folder, epochs=1).run()
    state = torch.load(training.output_dir / "checkpoints" / "epoch_0001.pt", weights_only=True)
    assert state.keys() == {
        *("networks.generator", "networks.discriminator", "optimizers.generator", "optimizers.discriminator"),
        *("averaged", "loss_scaler", "fixed", "epoch", "iteration", "best_metric", "best_metric_epoch", "run_id"),
    }
    assert list(differences(state, training.state())) == []


@pytest.mark.parametrize(
    ("keep", "interval", "expected"), [(2, 1, [4, 5]), (1, 1, [5]), (3, 2, [2, 4, 5]), (9, 9, [5])]
)
def test_the_newest_few_are_kept_and_the_last_always(
    folder: Path, keep: int, interval: int, expected: list[int]
) -> None:
    training = Training(folder, epochs=5, keep=keep, interval=interval).run()
    assert files(training.output_dir / "checkpoints") == [f"epoch_{epoch:04d}.pt" for epoch in expected]
    assert newest_checkpoint(training.output_dir).name == "epoch_0005.pt"


def test_epochs_beyond_four_digits_are_newer(folder: Path) -> None:
    training = Training(folder, epochs=10_001, keep=2)
    training.trainer.state.epoch = 9_998
    training.trainer.state.iteration = 3 * 9_998
    training.run()
    assert files(training.output_dir / "checkpoints") == ["epoch_10000.pt", "epoch_10001.pt"]
    assert newest_checkpoint(training.output_dir).name == "epoch_10001.pt"


def test_the_weights_taken_away_are_those_of_the_best_validation(folder: Path) -> None:
    training = Training(folder, metrics=[0.2, 0.9, 0.4, 0.9], epochs=4)
    averages, saved = [], []

    @training.trainer.on(Events.EPOCH_COMPLETED)
    def remember() -> None:
        averages.append({name: value.clone() for name, value in training.averaged.network.state_dict().items()})
        saved.append(load_file(training.output_dir / "model.pt"))

    training.run()
    best = [0, 1, 1, 1]
    for weights, epoch in zip(saved, best, strict=True):
        assert list(differences(weights, averages[epoch])) == []
    assert list(differences(averages[0], averages[1]))
    trained = training.generator.state_dict()
    assert list(differences(averages[3], trained))


def test_without_validation_the_last_weights_are_taken_away_also_after_resuming(folder: Path) -> None:
    first = Training(folder, epochs=1, validation=0).run()
    early = load_file(first.output_dir / "model.pt")
    assert list(differences(early, first.averaged.network.state_dict())) == []
    second = Training(folder, epochs=2, validation=0, resume=True).run()
    late = load_file(second.output_dir / "model.pt")
    assert list(differences(late, second.averaged.network.state_dict())) == []
    assert list(differences(early, late))


@pytest.mark.parametrize(
    ("epochs", "interval", "validated"), [(1, 5, [1]), (3, 2, [2, 3]), (4, 2, [2, 4]), (2, 1, [1, 2])]
)
def test_a_training_ends_with_a_validation_and_none_is_done_twice(
    folder: Path, epochs: int, interval: int, validated: list[int]
) -> None:
    training = Training(folder, epochs=epochs, validation=interval)
    assert epochs_validated(training) == validated
    state = load_file(newest_checkpoint(training.output_dir))
    assert state["epoch"] == epochs and state["best_metric_epoch"] in validated


def test_a_finished_training_that_is_extended_ends_with_a_validation_too(folder: Path) -> None:
    """Metrics grow, so that each validation finds the best weights so far."""
    Training(folder, epochs=1, validation=2, metrics=[0.1]).run()
    training = Training(folder, epochs=3, validation=2, metrics=[0.2, 0.3], resume=True)
    assert epochs_validated(training) == [2, 3]
    assert load_file(newest_checkpoint(training.output_dir))["best_metric_epoch"] == 3
    again = Training(folder, epochs=3, validation=2, metrics=[0.4], resume=True)
    assert epochs_validated(again) == []


def epochs_validated(training: Training) -> list[int]:
    """The epochs in which a training validates, as it runs."""
    epochs: list[int] = []
    training.evaluator.add_event_handler(Events.COMPLETED, lambda evaluator: epochs.append(evaluator.state.epoch))
    training.run()
    return epochs


def test_without_average_the_trained_weights_are_taken_away(folder: Path) -> None:
    training = Training(folder, epochs=1, ema=False).run()
    assert list(differences(load_file(training.output_dir / "model.pt"), training.generator.state_dict())) == []


def test_network_json_builds_the_network_that_the_weights_fit(folder: Path) -> None:
    training = Training(folder, epochs=1, levels=2, features=3).run()
    description = json.loads((training.output_dir / "network.json").read_text())
    assert description == {"_target_": "Pix2PixUNet", **training.generator.arguments}
    loaded = load_network(Pix2PixUNet(), training.output_dir / "model.pt")
    assert list(differences(loaded.state_dict(), load_file(training.output_dir / "model.pt"))) == []
    assert files(training.output_dir) == ["checkpoints", "model.pt", "network.json"]


def test_other_ranks_read_but_do_not_write(folder: Path) -> None:
    Training(folder, epochs=1).run()
    before = {path: path.stat().st_mtime_ns for path in (folder / "run").rglob("*")}
    resumed = Training(folder, seed=1, epochs=2, resume=True, enabled=False).run()
    assert {path: path.stat().st_mtime_ns for path in (folder / "run").rglob("*")} == before
    assert resumed.trainer.state.iteration == 6
    Training(folder, "other", epochs=1, enabled=False).run()
    assert not (folder / "other").exists()


def test_a_folder_that_holds_a_training_is_refused_and_left_alone(folder: Path) -> None:
    Training(folder, epochs=1).run()
    before = {path: path.read_bytes() for path in (folder / "run").rglob("*.pt")}
    with pytest.raises(RetinaError, match=r"run already holds a training: .* --resume true"):
        Training(folder, epochs=1, seed=5).run()
    assert {path: path.read_bytes() for path in (folder / "run").rglob("*.pt")} == before


def test_nothing_to_resume(folder: Path) -> None:
    with pytest.raises(RetinaError, match=f"there is no checkpoint to resume in {folder / 'run'}: train without"):
        Training(folder, resume=True).run()
    assert not (folder / "run").exists()


def test_a_checkpoint_of_another_network_is_refused_by_its_name(folder: Path) -> None:
    Training(folder, epochs=1).run()
    message = r"epoch_0001.pt was saved by another training: its network networks.generator does not fit"
    with pytest.raises(RetinaError, match=message):
        Training(folder, epochs=2, features=6, resume=True).run()
    with pytest.raises(RetinaError, match="its part averaged does not fit"):
        Training(folder, "plain", epochs=1, ema=False).run()
        Training(folder, "plain", epochs=2, resume=True).run()


@pytest.mark.parametrize("length", [0, 2, 100, 5_000, -10])
def test_a_truncated_checkpoint_is_refused_by_name(folder: Path, length: int) -> None:
    path = newest_checkpoint(Training(folder, epochs=1).run().output_dir)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(RetinaError, match=f"^{path} is "):
        Training(folder, epochs=2, resume=True).run()


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4:UserWarning")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_not_executed(folder: Path, zipped: bool) -> None:
    path, trap = folder / "run" / "checkpoints" / "epoch_0001.pt", folder / "trap"
    path.parent.mkdir(parents=True)
    state = {"networks.generator": {}, "epoch": Malicious(trap)}
    if zipped:
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state))
    with pytest.raises(RetinaError, match=f"{path} is refused: it holds more than tensors and may run code"):
        Training(folder, resume=True).run()
    assert not trap.exists()
    torch.load(path, weights_only=False) if zipped else pickle.loads(path.read_bytes())
    assert trap.exists()


@pytest.mark.parametrize("content", [b"\x89PNG\r\n", b"GIF89a", b"II*\0", b"this is text", b"hello", b"{}", b""])
def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(RetinaError, match=f"^{tmp_path / 'model.pt'} is "):
        load_file(tmp_path / "model.pt")


def test_a_file_of_something_else_or_none_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(RetinaError, match=r"list.pt is not a checkpoint: it holds a list, not a dictionary"):
        load_file(tmp_path / "list.pt")
    with pytest.raises(RetinaError, match=f"there is no checkpoint {tmp_path / 'none.pt'}"):
        load_file(tmp_path / "none.pt")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """A real failure: the system lets no file grow beyond a limit, as on a full disk."""
    path = tmp_path / "model.pt"
    save_atomically({"weight": torch.ones(3)}, path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(RetinaError, match=f"{path} cannot be written"):
            save_atomically({"weight": torch.ones(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and files(tmp_path) == ["model.pt"]


def test_an_output_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(RetinaError, match="file/run cannot be made"):
        Training(folder, "file/run").run()


def test_a_folder_in_which_another_process_trains_is_refused(folder: Path) -> None:
    (folder / "run").mkdir()
    with (folder / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RetinaError, match=r"another process is writing to .*run"):
            Training(folder).run()
    assert files(folder / "run") == [".lock"]
    Training(folder, epochs=1).run()
    assert not (folder / "run" / ".lock").exists()


@pytest.mark.parametrize("tracked", [False, True])
def test_a_training_that_fails_lets_others_train(folder: Path, tracked: bool) -> None:
    """And its error goes on, whether or not the tracker hands it on as well."""
    training = Training(folder, epochs=1)

    def stumble() -> None:
        raise ZeroDivisionError

    def hand_on(engine: Any, error: BaseException) -> None:
        raise error

    training.trainer.add_event_handler(Events.EPOCH_COMPLETED, stumble)
    if tracked:
        training.tracker.enabled = True
        training.trainer.add_event_handler(Events.EXCEPTION_RAISED, hand_on)
    with pytest.raises(ZeroDivisionError):
        training.run()
    assert not (folder / "run" / ".lock").exists()
    with (folder / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_other_ranks_of_a_training_share_its_folder(folder: Path) -> None:
    (folder / "run").mkdir()
    with (folder / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Training(folder, epochs=1, enabled=False).run()
