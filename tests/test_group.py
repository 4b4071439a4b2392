"""Two processes are as one: what they select, measure, draw, report and train, of any number of eyes.

Two processes with gloo, started once, do everything that the tests look at; this process does the same alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, Dataset

from retina_monai.data import eye_loader
from retina_monai.data.sets.appearances import Appearances
from retina_monai.engines import AdversarialTrainer, GenerationEvaluator, is_first_rank
from retina_monai.errors import RetinaError
from retina_monai.evaluation import PhotographReport, SensitivityReport
from retina_monai.group import gather, group_rank, group_size, own_share, whole_batch
from retina_monai.handlers import EpochLosses, PictureGrid, StopOnNaN
from retina_monai.metrics import (
    ImageQuality,
    KernelDistance,
    SegmentationQuality,
    Selection,
    TopologyQuality,
    TraitAccuracy,
)
from retina_monai.networks.retina_encoder import MultiTaskEncoder, RetinaEncoder
from retina_monai.objectives import DeepSupervision, EncoderTasks, Pix2Pix, Step
from retina_monai.transforms import STRUCTURES

SIZE = 32
COUNTS = (1, 2, 5, 9)
NAMES = ("HRF", "CHASE_DB1")


class Eyes(Dataset):
    """Eyes with all that any metric, report or objective looks at; one has no vessel, few are rare."""

    def __init__(self, count: int) -> None:
        random = torch.Generator().manual_seed(0)
        self.seed = 0
        self.items: list[dict[str, Any]] = []
        for index in range(count):
            image, condition = torch.rand(2, 3, SIZE, SIZE, generator=random) * 2 - 1
            vessel = (condition[:1] > 0.6).float() * (index != 1)
            photograph = {"image": image, "photograph": image, "condition": condition, "vessel": vessel * 2 - 1}
            maps = {"vessel_map": vessel, "fov": (condition[1:2] > index / 10 - 0.9).float()}
            known = torch.tensor([float(index % 3), math.nan if index % 2 else 0.5])
            anatomy = torch.zeros(len(STRUCTURES), 2, 2), torch.zeros(len(STRUCTURES))
            texts = {"name": f"eye_{index}", "patient": f"p{index}", "dataset": NAMES[index % 2]}
            tasks = {"maps": image[:2, :2, :2].abs().where(torch.tensor(index != 2), math.nan), "traits": known}
            tasks |= {"plain": torch.tensor(index % 3 != 0), "rare": torch.tensor(index % 2 == 1)}
            self.items.append({**photograph, **maps, **texts, **tasks, "anatomy": anatomy[0], "known": anatomy[1]})

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        return self.items[index[1]]


def colour(images: Tensor) -> Tensor:
    return torch.cat([images.mean((2, 3)), images.std((2, 3))], dim=1)


METRICS: Mapping[str, Callable[[], Metric]] = {
    "psnr": lambda: ImageQuality("psnr"),
    "ssim_fov": lambda: ImageQuality("ssim", inside_fov=True),
    "sensitivity": lambda: SegmentationQuality("sensitivity", pred_key="judged", target_key="vessel_map"),
    "auc": lambda: SegmentationQuality("roc_auc", pred_key="judged", target_key="vessel_map", inside_fov=True),
    "cldice": lambda: TopologyQuality("cldice", pred_key="judged", target_key="vessel_map"),
    "kid": lambda: KernelDistance(colour, "colour"),
    "kid_of_a_sample": lambda: KernelDistance(colour, "colour", capacity=4),
    "traits": lambda: TraitAccuracy(lambda output: [(item["traits"] / 2, item["traits"]) for item in output]),
    "selection": lambda: Selection(METRICS["cldice"](), METRICS["kid"](), kid_weight=0.3),
}


def outputs(count: int) -> list[dict[str, Any]]:
    return [
        {
            **item,
            "pred": 0.8 * item["image"] + 0.2 * item["condition"],
            "judged": 0.4 * item["vessel_map"] + 0.3 * (item["condition"][1:2] + 1),
        }
        for item in Eyes(count).items
    ]


def measured(metric: Metric, count: int) -> float | str:
    """Of this process's share; the name of the error where so few images have no such figure."""
    share = own_share(count)
    metric.update(metric._output_transform(outputs(count)[share.start : share.stop]))
    try:
        return float(metric.compute())
    except (ValueError, NotComputableError) as error:
        return type(error).__name__


class Rank(Metric):
    """Each process has another figure; the first's is best in epoch 2, the other's would be in epoch 1."""

    def reset(self) -> None: ...

    def update(self, output: Any) -> None: ...

    def compute(self) -> float:
        return 0.0

    def completed(self, engine: Engine, name: str) -> None:
        engine.state.metrics[name] = float(engine.state.epoch * (1 - 2 * group_rank()))


class Paint(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, condition: Tensor) -> Tensor:
        return self.layer(condition).tanh()


def evaluated(count: int, folder: Path) -> dict[str, Any]:
    """Validation through the loader, the evaluator and all that hangs on it: figures, and files as the first wrote."""
    torch.manual_seed(0)
    eyes: Any = Eyes(count)  # stands for CachedEyes
    table = [{"name": n, "dataset": n, "mean": (0.1, 0.2, 0.3), "std": (0.3, 0.2, 0.1)} for n in NAMES]
    table.append({"name": "other", "dataset": "HRF", "mean": (0.5, 0.0, 0.3), "std": (0.1, 0.2, 0.3)})
    chosen = ("psnr", "ssim_fov") + (("kid",) if count > 3 else ())
    evaluator = GenerationEvaluator(
        Paint(),
        condition_key="condition",
        device="cpu",
        val_data_loader=eye_loader(eyes, 1, 0, shuffle=False),
        postprocessing=lambda item: {**item, "generated": item["pred"]},
        key_val_metric={"rank": Rank()},
        additional_metrics={name: METRICS[name]() for name in chosen},
        val_handlers=[
            PictureGrid(folder / "pictures", {"generated": "pred", "real": "image"}, 3, enabled=is_first_rank()),
            PhotographReport(folder, Appearances(table)),
            SensitivityReport(colour, folder / "sensitivity"),
        ],
    )
    for epoch in (1, 2):
        evaluator.run(epoch)
    state: Any = evaluator.state
    found = {"metrics": dict(state.metrics), "best": (state.best_metric_epoch, state.best_metric)}
    gather(None)  # the first has written
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return found | {"files": files}


class Forks:
    """A network with a part that serves rare eyes alone, and one that nobody needs; a step of rare eyes alone."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        parts = {name: nn.Conv2d(3, 1, 3) for name in ("common", "rare", "unused")}
        self.networks = nn.ModuleDict({"all": nn.ModuleDict(parts), "rare": nn.Conv2d(3, 1, 3)})
        self.steps = (
            Step("all", ("all",), lambda batch, outputs: {"all": outputs["pred"].square().mean()}),
            Step("rare", ("rare",), self.rare_losses),
        )

    def forward(self, batch: Any) -> dict[str, Tensor]:
        parts: Any = self.networks["all"]
        pred = parts["common"](batch["image"])
        rare = batch["rare"] & (batch["name"][-1] != "eye_3")
        return {"pred": pred + rare[:, None, None, None] * parts["rare"](batch["image"]) if rare.any() else pred}

    def rare_losses(self, batch: Any, outputs: Any) -> dict[str, Tensor]:
        """Of the rare eyes of the batch: without any, nothing to learn from."""
        rare = batch["image"][batch["rare"]]
        losses = [self.networks["rare"](image[None]).abs().mean() for image in rare]
        return {"rare": torch.stack(losses).sum() / len(batch["image"]) if losses else torch.zeros(())}


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 1, 4, 2)

    def forward(self, pair: Tensor) -> list[Tensor]:
        return [self.layer(pair)]


def pix2pix() -> Pix2Pix:
    torch.manual_seed(2)
    paint = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh())
    return Pix2Pix(paint, Judge(), segmenter=nn.Conv2d(3, 1, 3, padding=1), faithfulness_weight=40.0)


def supervision() -> DeepSupervision:
    torch.manual_seed(3)
    return DeepSupervision(nn.Conv2d(3, 2, 3, padding=1), mask_key="vessel_map")


def encoder_tasks(norm: bool = False) -> EncoderTasks:
    torch.manual_seed(4)
    encoder = RetinaEncoder(features=4, width=2, size=SIZE)
    if not norm:
        for name, layer in list(encoder.trunk.named_children()):
            if isinstance(layer, nn.BatchNorm2d):
                setattr(encoder.trunk, name, nn.Identity())
    return EncoderTasks(MultiTaskEncoder(encoder, maps=2, traits=2), observe=encoder.whiten.observe)


OBJECTIVES: Mapping[str, Callable[[], Any]] = {
    "forks": Forks,
    "pix2pix": pix2pix,
    "supervision": supervision,
    "tasks": encoder_tasks,
    "batch norm": lambda: encoder_tasks(norm=True),
}


def trained(objective: Any) -> dict[str, Any]:
    """By Adam, which tells a gradient of 0 from none; eight eyes in batches of two, shared out over the processes."""
    eyes: Any = Eyes(8).items[group_rank() :: group_size()]  # a list is a data set
    if group_rank() > 0:  # the first's weights are everyone's
        for parameter in objective.networks.parameters():
            nn.init.constant_(parameter, 0.5)
    adam = {
        step.name: torch.optim.Adam([p for name in step.updates for p in objective.networks[name].parameters()], 1e-2)
        for step in objective.steps
    }
    trainer = AdversarialTrainer(
        objective,
        adam,
        device="cpu",
        max_epochs=2,
        data_loader=DataLoader(eyes, batch_size=2 // group_size()),
        handlers=[EpochLosses()],
        max_gradient_norm=1.0,
    )
    trainer.run()
    known = {name: sorted(optimizer.state_dict()["state"]) for name, optimizer in adam.items()}
    return {"weights": objective.networks.state_dict(), "losses": dict(trainer.state.metrics), "moved": known}


def stopped() -> str:
    """The loss of the second process alone is NaN, in the last iteration of an epoch."""

    def train(engine: Any, batch: Any) -> None:
        engine.state.losses = {"loss": torch.tensor(math.nan if batch == 1 and group_rank() == 1 else 1.0)}

    engine = Engine(train)
    StopOnNaN().attach(engine)
    try:
        engine.run([0, 1])
    except RetinaError as error:
        return str(error)
    return ""


def findings(folder: Path) -> dict[str, Any]:
    return {
        "metrics": {(name, count): measured(METRICS[name](), count) for name in METRICS for count in COUNTS},
        "evaluated": {count: evaluated(count, folder / str(count)) for count in (1, 9)},
        "trained": {name: trained(make()) for name, make in OBJECTIVES.items()},
        "stopped": stopped(),
        "whole batch": whole_batch(torch.full((2, 1), float(group_rank()))),
    }


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2, timeout=timedelta(seconds=240)
    )
    torch.save(findings(Path(folder, "two")), Path(folder, f"{rank}.pt"))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What one process found, and what each of two did."""
    folder = tmp_path_factory.mktemp("group")
    processes = torch.multiprocessing.spawn(work, (str(folder),), nprocs=2, join=False)
    alone = findings(folder / "one")
    while not processes.join():
        pass
    return alone, [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_that_of_one_process(found: Any, name: str) -> None:
    alone, ranks = found
    for count in COUNTS:
        expected, *values = (part["metrics"][name, count] for part in (alone, *ranks))
        assert values[0] == values[1]
        assert values[0] == (expected if isinstance(expected, str) else pytest.approx(expected, rel=1e-6, nan_ok=True))
    assert isinstance(expected, float)


@pytest.mark.parametrize("count", [1, 9])
def test_validation_counts_every_eye_once_and_in_order(found: Any, count: int) -> None:
    alone, ranks = found
    expected, *values = (part["evaluated"][count] for part in (alone, *ranks))
    for value in values:
        assert value["metrics"] == pytest.approx(expected["metrics"], rel=1e-5)
        assert value["files"] == expected["files"]
        assert value["best"] == (2, 2.0)
    assert {"pictures/epoch_0001.png", "eyes.csv", "report.json", "grid.png"} <= expected["files"].keys()
    assert expected["files"]["eyes.csv"].count(b"\n") == 1 + 4 * count
    assert (b"repeated" in expected["files"]["sensitivity/report.json"]) == (count >= 8)


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "batch norm"])
def test_training_is_that_of_one_process_at_the_global_batch(found: Any, name: str) -> None:
    alone, ranks = found
    expected, *values = (part["trained"][name] for part in (alone, *ranks))
    before = OBJECTIVES[name]().networks.state_dict()
    assert any(not torch.equal(value, before[key]) for key, value in expected["weights"].items())
    for value in values:
        torch.testing.assert_close(value["weights"], expected["weights"], rtol=1e-4, atol=1e-5)
        assert value["losses"] == pytest.approx(expected["losses"], rel=1e-4)
        assert value["moved"] == expected["moved"]
    assert all(torch.equal(values[0]["weights"][key], values[1]["weights"][key]) for key in before)


def test_what_no_rank_has_a_gradient_of_stays_as_it_was(found: Any) -> None:
    for part in (found[0], *found[1]):
        forks = part["trained"]["forks"]
        before = Forks().networks.state_dict()
        assert torch.equal(forks["weights"]["all.unused.weight"], before["all.unused.weight"])
        assert not torch.equal(forks["weights"]["all.rare.weight"], before["all.rare.weight"])
        assert forks["moved"]["all"] == [0, 1, 2, 3]


def test_both_ranks_have_one_batch_norm(found: Any) -> None:
    alone, ranks = found
    weights = [rank["trained"]["batch norm"]["weights"] for rank in ranks]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    means = [key for key in weights[0] if key.endswith("running_mean")]
    assert means and all(weights[0][key].any() for key in means)
    assert alone["trained"]["batch norm"]["weights"].keys() == weights[0].keys()


def test_both_ranks_stop_where_the_loss_of_one_is_nan(found: Any) -> None:
    alone, ranks = found
    assert not alone["stopped"]
    assert ranks[0]["stopped"] == ranks[1]["stopped"] != ""


def test_batches_are_put_together_in_order(found: Any) -> None:
    assert [rank["whole batch"].flatten().tolist() for rank in found[1]] == [[0.0, 0.0, 1.0, 1.0]] * 2
