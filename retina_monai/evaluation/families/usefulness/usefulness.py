"""Usefulness: networks trained on the set, on real eyes and on both, each tested on real test patients.

Train on synthetic, test on real (Esteban et al., https://arxiv.org/abs/1706.02633). All arms take the same number of
steps in the same loop, so that none wins by longer training. Sets made from the mask of a test patient are refused.
The networks can also be tested on real eyes of another camera, from which nothing was learned.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from retina_monai.engines.process import choose_device
from retina_monai.errors import counted
from retina_monai.evaluation.families.usefulness import leaks, segmenter
from retina_monai.evaluation.families.usefulness.usefulness_plots import plot_dice, write_segmentations
from retina_monai.evaluation.measuring.eye import Eye, Eyes, as_mask
from retina_monai.evaluation.report.section import Light, Picture, Section, Table
from retina_monai.evaluation.report.tables import FEWEST, Interval, bootstrap_interval, in_words
from retina_monai.handlers.checkpoints import load_file, save_atomically
from retina_monai.metrics import dice, roc_auc
from retina_monai.networks import iternet
from retina_monai.progress import progress

__all__ = ["MODES", "Plan", "usefulness_section"]

QUESTION = "Does a network trained on the set work on real eyes?"
ARMS = ("synthetic", "real", "real + synthetic")

NEAR = 0.05  # Dice. Two observers of CHASE_DB1 agree to 0.77, and networks reach 0.81. A loss of NEAR makes a network
FAR = 0.10  # as bad as a hurried observer, a loss of FAR makes it useless
LEARNED = 0.10  # Dice by which real eyes alone must exceed a network that marks every pixel, else there is no light
PLATEAU = NEAR / 2  # largest gain in Dice by doubling the steps of the real arm, half of NEAR. Real eyes of CHASE_DB1
# reach 0.726 in 225 steps, 0.751 in 450 and 0.770 in 900; networks with less training hide differences
FEWEST_SEEDS = 3  # trainings of each arm below which there is no light
SHOWN = 3  # test eyes in the picture
UNTRAINED = "Not judged: quick mode trains no networks. Use --mode full."

Example = dict[str, NDArray]
Dice = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """Amount of training.

    Attributes:
        networks: names of :data:`retina_monai.evaluation.families.usefulness.segmenter.NETWORKS`.
        steps: steps of each training, an even number.
        seeds: trainings of each arm.
        most: largest number of training eyes of a set, which are kept in memory; a random sample of a larger set.
    """

    networks: tuple[str, ...]
    steps: int
    seeds: int
    most: int


MODES: dict[str, Plan | None] = {
    "quick": None,
    "full": Plan(("U-Net",), steps=900, seeds=3, most=1000),
    "thorough": Plan(("U-Net", "IterNet"), steps=1800, seeds=5, most=1000),
}
"""``quick`` trains nothing; ``full`` takes about half an hour on one core; ``thorough`` needs a GPU."""


@dataclass
class _Arms:
    """Results of one network: for each arm, the figures of each test eye by seed, (seeds, eyes).

    ``halfway`` is the Dice of real eyes alone after half the steps with a schedule of its own, ``external`` the Dice on
    eyes of another camera.
    """

    dice: dict[str, list[list[float]]] = field(default_factory=lambda: {arm: [] for arm in ARMS})
    auc: dict[str, list[list[float]]] = field(default_factory=lambda: {arm: [] for arm in ARMS})
    halfway: list[list[float]] = field(default_factory=list)
    external: dict[str, list[list[float]]] = field(default_factory=lambda: {arm: [] for arm in ARMS})
    found: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)


def usefulness_section(
    synthetic: Eyes,
    training: Eyes,
    test: Eyes,
    *,
    mode: str,
    seed: int,
    output_dir: Path,
    cache_dir: Path,
    key: str = "vessel",
    external: Eyes = (),
) -> Section:
    """Train on synthetic eyes, on real ones and on both, and test on real ones.

    Finished trainings are cached in ``cache_dir`` under everything on which they depend.

    Args:
        synthetic: synthetic eyes with their conditions.
        training: real eyes for training.
        test: real eyes of other patients.
        mode: key of :data:`MODES`.
        seed: seed of trainings, samples and intervals.
        output_dir: folder for the plot and the picture.
        cache_dir: folder for trained networks.
        key: the mask that is learned: ``vessel``, ``disc``, ...
        external: real eyes of another camera, on which the networks are tested too. They do not affect the light.

    Returns:
        The section. Green: synthetic eyes alone cost at most 0.05 Dice, or a gain when added to real ones, by the whole
        95 % interval over patients. Red: they cost more than 0.10, and more than 0.05 by the whole interval. Amber:
        anything between. Grey: fewer than four test patients or three seeds, a network that does not learn from real
        eyes or has not converged on them, or ``quick``, which trains nothing.

    Raises:
        RetinaError: as :func:`retina_monai.evaluation.families.usefulness.leaks.refuse_leaks`.
    """
    if reason := _missing(synthetic, training, test, key):
        return Section("usefulness", QUESTION, "grey", reason, {"key": key})
    for tested in (test, external):
        if len(tested):
            leaks.refuse_leaks(synthetic, training, tested, key)
    plan = MODES[mode]
    if plan is None:
        return Section("usefulness", QUESTION, "grey", UNTRAINED, {"key": key, "mode": mode})
    pools = {"synthetic": _examples(synthetic, key, plan.most, seed), "real": _examples(training, key, plan.most, seed)}
    if reason := _without_masks(pools, test, key):
        return Section("usefulness", QUESTION, "grey", reason, {"key": key})
    tested, others = ([eye for eye in eyes if _has(eye, key)] for eyes in (test, external))
    results = _run(pools, tested, others, plan, seed, Path(cache_dir), key)
    return _section(results, pools, tested, others, plan, mode, seed, Path(output_dir), key)


def _missing(synthetic: Eyes, training: Eyes, test: Eyes, key: str) -> str:
    names = {"synthetic": synthetic, "real training": training, "real test": test}
    if empty := [name for name, eyes in names.items() if not len(eyes)]:
        return f"Not judged: there are no {' and no '.join(empty)} eyes."
    return ""


def _without_masks(pools: Mapping[str, Sequence[Example]], test: Eyes, key: str) -> str:
    empty = [f"{name} eye for training" for name, examples in pools.items() if not examples]
    empty += [] if any(_has(eye, key) for eye in test) else ["test eye"]
    return f"Not judged: no {' and no '.join(empty)} has a {key} mask." if empty else ""


def _has(eye: Eye, key: str) -> bool:
    return key in eye.masks and bool((eye.masks[key][eye.fov] >= 0.5).any())


def _examples(eyes: Eyes, key: str, most: int, seed: int) -> list[Example]:
    """Training examples of a set; a random sample if it has more than ``most`` eyes."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(eyes))[:most])
    drawn = (eyes[int(place)] for place in progress(chosen, "usefulness: reading eyes"))
    return [_example(eye, key) for eye in drawn if _has(eye, key)]


def _example(eye: Eye, key: str) -> Example:
    mask = (eye.masks[key] >= 0.5) & eye.fov
    return {"image": segmenter.local_contrast(eye.image, eye.fov), "mask": mask[None].astype(np.uint8)}


def _run(
    pools: Mapping[str, list[Example]],
    test: Sequence[Eye],
    external: Sequence[Eye],
    plan: Plan,
    seed: int,
    cache_dir: Path,
    key: str,
) -> dict[str, _Arms]:
    """Train the networks that are not cached, and measure all."""
    results = {network: _Arms() for network in plan.networks}
    half = plan.steps // 2
    total = len(plan.networks) * plan.seeds * (len(ARMS) * plan.steps + half)
    with progress(title="usefulness: training", unit="step", total=total) as bar:
        for network, arms in results.items():
            for number in range(plan.seeds):
                for arm in ARMS:
                    bar.set_postfix_str(f"{network}, {arm}, seed {number}")
                    model = _trained(network, arm, pools, plan.steps, seed + number, cache_dir, bar)
                    _measure(arms, arm, model, test, key)
                    arms.external[arm].append([dice for dice, _, _ in _tested(model, external, key)])
                bar.set_postfix_str(f"{network}, real with half the steps, seed {number}")
                model = _trained(network, "real", pools, half, seed + number, cache_dir, bar)
                arms.halfway.append([dice for dice, _, _ in _tested(model, test, key)])
    return results


def _trained(
    network: str,
    arm: str,
    pools: Mapping[str, list[Example]],
    steps: int,
    seed: int,
    cache_dir: Path,
    bar: Any,
) -> nn.Module:
    """A network from the cache, or newly trained and cached. The progress bar counts its steps in both cases."""
    device = choose_device()
    parts = [examples for name, examples in pools.items() if name in arm]
    eyes, weights = _mixed(parts)
    patch = _patch(eyes)
    depends = {
        "code": [_digest(inspect.getsource(module).encode()) for module in (segmenter, iternet)],
        "network": network,
        "arm": arm,
        "steps": steps,
        "seed": seed,
        "patch": patch,
        "device": device.type,
        "eyes": [_fingerprint(part) for part in parts],
    }
    path = cache_dir / "usefulness" / f"{_digest(json.dumps(depends, sort_keys=True).encode())[:32]}.pt"
    if path.is_file():
        model = segmenter.NETWORKS[network]().to(device)
        model.load_state_dict(load_file(path))
        bar.update(steps)
        return model.eval()
    how: dict[str, Any] = {"patch": patch, "weights": weights, "device": device}
    model = segmenter.train_segmenter(network, eyes, steps, seed, **how, after_step=lambda *_: bar.update())
    save_atomically({name: tensor.cpu() for name, tensor in model.state_dict().items()}, path)
    return model


def _mixed(parts: Sequence[list[Example]]) -> tuple[list[Example], list[float] | None]:
    """The eyes of an arm and their sampling probabilities; two sets are sampled equally."""
    eyes = [example for part in parts for example in part]
    if len(parts) == 1:
        return eyes, None
    return eyes, [1 / len(part) / len(parts) for part in parts for _ in part]


def _patch(eyes: Sequence[Example]) -> int:
    """Three quarters of the eyes' size, rounded down to a multiple of 8."""
    return max(8, 3 * eyes[0]["image"].shape[-1] // 4 // 8 * 8)


def _measure(arms: _Arms, arm: str, model: nn.Module, test: Sequence[Eye], key: str) -> None:
    measured = list(_tested(model, test, key))
    if not arms.dice[arm]:
        arms.found[arm] = [found for _, _, found in measured[:SHOWN]]
    arms.dice[arm].append([dice for dice, _, _ in measured])
    arms.auc[arm].append([auc for _, auc, _ in measured])


def _tested(model: nn.Module, test: Sequence[Eye], key: str) -> Iterator[tuple[float, float, NDArray[np.float32]]]:
    """Dice, AUC and predicted map of each test eye."""
    for eye in test:
        found = segmenter.segment(model, _padded(segmenter.local_contrast(eye.image, eye.fov)))
        found = found[: eye.fov.shape[0], : eye.fov.shape[1]].clip(0, 1)
        pred, mask, fov = as_mask(found), as_mask(eye.masks[key] >= 0.5), as_mask(eye.fov)
        yield dice((pred >= 0.5).float(), mask, fov).item(), roc_auc(pred, mask, fov).item(), found


def _padded(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Padded to a multiple of 8, since networks halve the size three times."""
    rest = -image.shape[-1] % 8
    return np.pad(image, ((0, 0), (0, rest), (0, rest)))


def _section(
    results: Mapping[str, _Arms],
    pools: Mapping[str, list[Example]],
    test: Sequence[Eye],
    external: Sequence[Eye],
    plan: Plan,
    mode: str,
    seed: int,
    output_dir: Path,
    key: str,
) -> Section:
    patients = [eye.patient for eye in test]
    floor = float(np.mean([_dice_of_everything(eye, key) for eye in test]))
    networks = {name: _figures(arms, patients, seed) for name, arms in results.items()}
    verdicts = {name: judge(figures, floor, plan) for name, figures in networks.items()}
    worst = max(verdicts, key=lambda name: ("green", "amber", "red", "grey").index(verdicts[name][0]))
    counts = {"synthetic": len(pools["synthetic"]), "real": len(pools["real"]), "test": len(test)}
    elsewhere = {name: _external(arms, external, seed) for name, arms in results.items()} if external else {}
    about = {"key": key, "mode": mode, "seed": seed, "test_patients": len(set(patients)), **asdict(plan)}
    return Section(
        key="usefulness",
        question=QUESTION,
        light=verdicts[worst][0],
        answer=verdicts[worst][1].format(network=worst) + (_external_in_words(elsewhere[worst]) if elsewhere else ""),
        figures={
            **about,
            "eyes": counts,
            "dice_of_marking_everything": floor,
            "results": networks,
            "external": elsewhere,
        },
        tables=_tables(networks, counts, plan) + ([_external_table(elsewhere)] if elsewhere else []),
        pictures=_pictures(results, test, key, output_dir),
        notes=_notes(plan, key, len(set(patients))),
    )


def _dice_of_everything(eye: Eye, key: str) -> float:
    share = float((eye.masks[key] >= 0.5)[eye.fov].mean())
    return 2 * share / (1 + share)


def _figures(arms: _Arms, patients: Sequence[str], seed: int) -> dict[str, Any]:
    """Means over eyes and seeds with intervals over patients; differences are paired by eye."""
    mean = {arm: np.mean(arms.dice[arm], axis=0) for arm in ARMS}
    return {
        "arms": {
            arm: {
                "dice": _interval(mean[arm], patients, seed),
                "auc": _interval(np.mean(arms.auc[arm], axis=0), patients, seed),
                "dice_of_seeds": [float(np.mean(row)) for row in arms.dice[arm]],
            }
            for arm in ARMS
        },
        "real_minus_synthetic": _interval(mean["real"] - mean["synthetic"], patients, seed),
        "both_minus_real": _interval(mean["real + synthetic"] - mean["real"], patients, seed),
        "gain_of_second_half": _interval(mean["real"] - np.mean(arms.halfway, axis=0), patients, seed),
    }


def _external(arms: _Arms, eyes: Sequence[Eye], seed: int) -> dict[str, Any]:
    """Means over the eyes of another camera and over seeds, as in :func:`_figures`."""
    patients = [eye.patient for eye in eyes]
    mean = {arm: np.mean(arms.external[arm], axis=0) for arm in ARMS}
    return {
        "datasets": sorted({eye.dataset for eye in eyes}),
        "arms": {arm: _interval(mean[arm], patients, seed) for arm in ARMS},
        "real_minus_synthetic": _interval(mean["real"] - mean["synthetic"], patients, seed),
        "both_minus_real": _interval(mean["real + synthetic"] - mean["real"], patients, seed),
    }


def _external_in_words(figures: Mapping[str, Any]) -> str:
    reached = {arm: figures["arms"][arm]["mean"] for arm in ARMS}
    return (
        f" On another camera ({', '.join(figures['datasets'])}), synthetic eyes reach {reached['synthetic']:.3f}, real "
        f"ones {reached['real']:.3f}, and both {reached['real + synthetic']:.3f}."
    )


def _external_table(networks: Mapping[str, Mapping[str, Any]]) -> Table:
    rows: list[list[str | float | None]] = []
    for name, figures in networks.items():
        lines = figures["arms"] | {
            "real - synthetic": figures["real_minus_synthetic"],
            "(real + synthetic) - real": figures["both_minus_real"],
        }
        rows += [[name, line, interval["N"], *_cells(interval)] for line, interval in lines.items()]
    datasets = ", ".join(next(iter(networks.values()))["datasets"])
    title, columns = f"Tested on another camera: {datasets}", ("network", "trained on", "N", "Dice", "low", "high")
    return Table(
        title, columns, rows, "Real eyes of a set from which nothing was learned. Differences are paired by eye."
    )


def _interval(values: Dice, patients: Sequence[str], seed: int) -> dict[str, float]:
    if not np.isfinite(values).all():  # AUC is undefined for a test eye of a single class
        return Interval(float("nan"), float("nan"), float("nan"), len(values), len(set(patients)))._asdict()
    return bootstrap_interval(values, seed=seed, groups=patients)._asdict()


def judge(figures: Mapping[str, Any], floor: float, plan: Plan) -> tuple[Light, str]:
    """The light of one network, and the sentences, in which {network} is a placeholder for its name."""
    loss, gain, late = (figures[key] for key in ("real_minus_synthetic", "both_minus_real", "gain_of_second_half"))
    reached = {arm: figures["arms"][arm]["dice"]["mean"] for arm in ARMS}
    text = (
        f"A {{network}} trained on synthetic eyes alone reaches a Dice of {reached['synthetic']:.3f} on real test "
        f"eyes. One trained on real eyes reaches {reached['real']:.3f}: a loss of {in_words(loss)}. One trained on "
        f"both reaches {reached['real + synthetic']:.3f}, {in_words(gain, '+.3f')} relative to real eyes alone."
    )
    if reached["real"] < floor + LEARNED:
        return "grey", (
            f"Not judged: a {{network}} trained on real eyes alone reaches a Dice of only {reached['real']:.3f} on "
            f"test eyes, where marking every pixel gives {floor:.3f}."
        )
    if late["mean"] > PLATEAU:
        return "grey", (
            f"{text} Not judged: real eyes alone still gain {late['mean']:.3f} when the steps are doubled to "
            f"{plan.steps}, where {PLATEAU} is the limit. Networks that have not converged hide differences. Use "
            "--mode thorough."
        )
    if loss["groups"] < FEWEST or plan.seeds < FEWEST_SEEDS:
        return "grey", (
            f"{text} Not judged: this needs {FEWEST} test patients and {FEWEST_SEEDS} seeds, and there are "
            f"{loss['groups']} and {plan.seeds}."
        )
    if loss["high"] <= NEAR or gain["low"] > 0:
        return "green", text
    return "red" if loss["mean"] > FAR and loss["low"] > NEAR else "amber", text


def _tables(networks: Mapping[str, Any], counts: Mapping[str, int], plan: Plan) -> list[Table]:
    columns = ("network", "trained on", "eyes", "Dice", "low", "high", "each seed", "AUC", "low", "high")
    eyes = {
        "synthetic": counts["synthetic"],
        "real": counts["real"],
        "real + synthetic": counts["real"] + counts["synthetic"],
    }
    rows: list[list[str | float | None]] = []
    differences: list[list[str | float | None]] = []
    for name, figures in networks.items():
        for arm in ARMS:
            of = figures["arms"][arm]
            seeds = " ".join(f"{value:.3f}" for value in of["dice_of_seeds"])
            rows.append([name, arm, eyes[arm], *_cells(of["dice"]), seeds, *_cells(of["auc"])])
        differences.append([name, "real - synthetic", *_cells(figures["real_minus_synthetic"])])
        differences.append([name, "(real + synthetic) - real", *_cells(figures["both_minus_real"])])
        halves = f"real, {plan.steps} steps - {plan.steps // 2} steps"
        differences.append([name, halves, *_cells(figures["gain_of_second_half"])])
    note = f"Means over test eyes and seeds; 95 % bootstrap intervals over patients, from {FEWEST} patients."
    return [
        Table("Tested on real eyes", columns, rows, note),
        Table(
            "Differences in Dice",
            ("network", "difference", "mean", "low", "high"),
            differences,
            "Paired by eye. " + note,
        ),
    ]


def _cells(interval: Mapping[str, float]) -> list[float | None]:
    values = (interval[name] for name in ("mean", "low", "high"))
    return [None if np.isnan(value) else round(value, 4) for value in values]


def _pictures(results: Mapping[str, _Arms], test: Sequence[Eye], key: str, output_dir: Path) -> list[Picture]:
    pictures = []
    for name, arms in results.items():
        stem = name.lower().replace("-", "")
        plot, grid = output_dir / f"usefulness_{stem}.png", output_dir / f"usefulness_{stem}_eyes.png"
        plot_dice(arms.dice, plot)
        pictures.append(
            Picture(f"Dice on real test eyes, {name}", plot, "Dots are test eyes, columns seeds, and bars their means.")
        )
        write_segmentations(test[:SHOWN], key, arms.found, grid)
        caption = "White: true positive. Orange: false positive. Blue: false negative. First seed."
        pictures.append(Picture(f"Segmentation of test eyes by {name}", grid, caption))
    return pictures


def _notes(plan: Plan, key: str, patients: int) -> list[str]:
    return [
        f"Every network took {plan.steps} steps of 8 patches in all arms. In real + synthetic, half of the patches are "
        "from each set.",
        f"The light is green if synthetic eyes alone cost at most {NEAR} Dice, or if real + synthetic is better than "
        f"real alone, by the whole 95 % interval. It is red if they cost more than {FAR}, with the whole interval "
        f"above {NEAR}, and amber otherwise. Of several networks, the worst counts.",
        f"A light needs {FEWEST} test patients, {FEWEST_SEEDS} seeds, and a real arm near its plateau: with half the "
        f"steps and its own schedule, it loses at most {PLATEAU} Dice.",
        f"For a set with more than {plan.most} eyes, training uses a random sample of {plan.most}.",
        f"The intervals are over {counted(patients, 'test patient')}. The table shows how seeds differ.",
        f"A set with a condition of a test patient, by its manifest or by the {key} map itself, is refused.",
    ]


def _fingerprint(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example["image"].tobytes() + example["mask"].tobytes())
    return digest.hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
