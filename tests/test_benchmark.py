"""Every part of scripts/benchmark.py runs, at tiny sizes; nothing is said about time."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from retina_monai.data import write_phantoms
from retina_monai.errors import RetinaError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
(
    benchmark,
    bare_loop,
    chain,
    costs,
    datasets,
    diffusion,
    fourier,
    inference,
    loading,
    measuring,
    metrics,
    networks,
    overhead,
    page,
    processes,
    readers,
    report,
    training,
) = (
    importlib.import_module(name)
    for name in (
        "benchmark",
        "benchmarks.bare_loop",
        "benchmarks.chain",
        "benchmarks.costs",
        "benchmarks.datasets",
        "benchmarks.diffusion",
        "benchmarks.fourier",
        "benchmarks.inference",
        "benchmarks.loading",
        "benchmarks.measuring",
        "benchmarks.metrics",
        "benchmarks.networks",
        "benchmarks.overhead",
        "benchmarks.page",
        "benchmarks.processes",
        "benchmarks.readers",
        "benchmarks.report",
        "benchmarks.training",
    )
)

TINY = replace(
    benchmark.QUICK,
    warm_up=1,
    iterations=2,
    block=2,
    phantoms=5,
    seconds=0.0,
    dataset_sizes=(32,),
    reader_size=64,
    metric_counts=(5, 10),
    metric_size=64,
    fourier_sizes=(32,),
    fourier_pictures=1,
    chain_samples=6,
    overrides={
        "size": 32,
        "levels": 3,
        "features": 4,
        "blocks": 1,
        "discriminator_features": 4,
        "discriminator_levels": 1,
        "multipliers": [1, 2],
        "batch_size": 1,
        "steps": 2,
    },
)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("benchmark") / "eyes", TINY.phantoms, 64, 0)


def test_diffusion_stands_beside_diffusers_with_an_equal_network(eyes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("diffusers")
    monkeypatch.setattr(diffusion, "in_own_process", lambda job: job())
    text = diffusion.measure_diffusion(eyes, TINY)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and "whose" not in line]
    kinds = [(row[0].strip("| "), row[1]) for row in rows[1:]]
    training = (diffusion.OWN, diffusion.LOADING, diffusion.OWN_FP32, diffusion.THEIRS)
    assert kinds[:4] == [(who, "training") for who in training]
    assert kinds[4:] == [(who, "sampling") for who in (diffusion.OWN, diffusion.THEIRS)] * 2
    assert all(float(row[3]) > 0 for row in rows[1:])
    settings = diffusion.settings_of(benchmark.FULL)
    own, other = diffusion.unet_of(settings), diffusion.their_unet(settings)
    assert sum(p.numel() for p in own.parameters()) == sum(p.numel() for p in other.parameters())


def test_full_and_quick_train_on_the_eyes_that_they_count(tmp_path: Path) -> None:
    for effort in (benchmark.QUICK, benchmark.FULL):
        datalist = write_phantoms(tmp_path / str(effort.phantoms), effort.phantoms, 32, 0) / "datalist.json"
        assert datalist.read_text().split('"validation"')[0].count('"image"') == effort.warm_up + effort.iterations


def test_paper_size_is_the_published_one() -> None:
    generator, discriminator = networks.build_networks("paper", training.PUBLISHED)
    assert round(sum(p.numel() for p in generator.parameters()) / 1e6, 1) == 54.4
    assert round(sum(p.numel() for p in discriminator.parameters()) / 1e6, 1) == 2.8
    assert not any(isinstance(module, torch.nn.InstanceNorm2d) for module in generator.modules())


def test_a_bare_step_moves_both_networks_and_leaves_them_trainable() -> None:
    pair = networks.build_networks("released", TINY.overrides)
    before = [next(network.parameters()).clone() for network in pair]
    bare_loop.BareLoop(*pair, fused=True, precision="bf16").step(networks.phantom_batch("released", TINY))
    for network, old in zip(pair, before, strict=True):
        assert not torch.equal(next(network.parameters()), old)
        assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_two_loops_that_are_compared_train_alike() -> None:
    """Inside a field of view that is the whole picture, the engine's losses are the bare loop's."""
    bare, engine = (networks.build_networks("released", {**TINY.overrides, "dropout": 0.0}) for _ in range(2))
    batch = {**networks.phantom_batch("released", TINY), "fov": torch.ones(1, 1, 32, 32)}
    bare_loop.BareLoop(*bare, fused=True).step(batch)
    objective = overhead.Pix2Pix(*engine, condition_key="condition")
    optimizers = {name: bare_loop.adam(network, fused=True) for name, network in objective.networks.items()}
    overhead.AdversarialTrainer(
        objective=objective,
        optimizers=optimizers,
        device=torch.device("cpu"),
        max_epochs=1,
        data_loader=[batch],
        epoch_length=1,
    ).run()
    for expected, network in zip(bare, engine, strict=True):
        for before, after in zip(expected.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(after, before)


def test_training_is_measured_through_the_bundle_and_leaves_nothing(
    eyes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    jobs = training.training_jobs(eyes, TINY)
    assert set(jobs) == {(size, name) for size in networks.SIZES for name in ("reference", *networks.PRECISIONS)}
    timings = {key: [jobs[key]()] for key in [("released", "reference"), ("released", "bf16")]}
    assert timings["released", "bf16"][0].epoch_end > timings["released", "reference"][0].epoch_end == 0
    text = training.describe_training(timings, TINY)
    assert "| bundle, bf16 |" in text and "| 1.00 | 1.00 to 1.00 | 0.00 | 1.00 |" in text
    assert {path.name for path in eyes.parent.iterdir()} == {"eyes", "eyes-cache"}


def test_overhead_of_equal_loops_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    timings = overhead.time_overhead("released", "fp32", TINY)
    assert {name: len(blocks) for name, blocks in timings.items()} == {"bare": 2, "engine": 2, "averaged": 2}
    same = {name: [measuring.Timing(0.25), measuring.Timing(0.5)] for name in timings}
    assert "| fp32 | 375.0 | +0.0 % | +0.0 % | +0.0 % | +0.0 % |" in overhead.describe_overhead(
        {("paper", "fp32"): same}, TINY
    )


def test_forms_of_the_generator_agree() -> None:
    speeds, left_out = inference.time_inference(TINY)
    assert [name for name in speeds if "fp32" in name] == [
        "eager, fp32, default malloc",
        "eager, fp32",
        "channels_last, fp32",
    ]
    assert all(set(speed.rates) == {1, 8} and speed.difference < 0.05 for speed in speeds.values())
    assert speeds["eager, fp32"].difference == 0 < speeds["eager, bf16 weights"].difference
    assert f"`torch.compile` is not there: {left_out}." in inference.describe_inference(speeds, left_out, TINY)


def test_a_form_that_cannot_be_compiled_is_left_out_with_the_reason() -> None:
    def broken(vessel: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such header\nand more")

    painters = {"compiled": inference.Painter(broken), "eager": inference.Painter(torch.nn.Identity())}
    seconds, failure = inference.call_first(painters, torch.zeros(1, 1, 8, 8))
    assert list(seconds) == ["eager"] and failure == "RuntimeError: no such header"
    with pytest.raises(RuntimeError, match="no such header"):
        inference.call_first({"eager": inference.Painter(broken)}, torch.zeros(1, 1, 8, 8))


def test_loading_is_measured_from_all_caches(eyes: Path) -> None:
    threads = torch.get_num_threads()
    rates = loading.time_loading(eyes, TINY)
    torch.set_num_threads(threads)
    assert list(rates) == ["nothing cached", "from the disk cache", "from memory", "from memory, with augmentation"]
    assert "| from memory | " in loading.describe_loading(rates, 32)


def test_data_sets_are_prepared_and_loaded_cold_and_then_from_the_cache(eyes: Path) -> None:
    effort = replace(TINY, dataset_dirs=(str(eyes),))
    rows = [
        line.split(" | ") for line in datasets.measure_datasets(eyes.parent, effort).splitlines() if "eyes |" in line
    ]
    assert [row[1:4] for row in rows[1:]] == [["5", "prepare", ""], ["5", "cold", "32"], ["5", "cached", "32"]]
    assert benchmark.command("datasets", effort, False).endswith("--dataset_dir \"['DATA/eyes']\"")


def test_the_disk_cache_is_filled_by_the_cold_run_and_read_by_the_next(eyes: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    datasets.time_loading_all(eyes, 32, tmp_path, True, TINY.overrides)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(files) == TINY.phantoms
    datasets.time_loading_all(eyes, 32, tmp_path, False, TINY.overrides)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    datasets.time_loading_all(eyes, 32, tmp_path, True, TINY.overrides)
    assert all(files[path] < path.stat().st_mtime_ns for path in tmp_path.iterdir())
    torch.set_num_threads(threads)


def test_the_peak_is_that_of_the_job() -> None:
    cost = processes.in_own_process(partial(costs.cost_of, 1, partial(np.ones, 2**25)))  # 256 MiB
    assert 250 <= cost.peak < 300


def test_every_reader_reads_the_same_picture(tmp_path: Path) -> None:
    paths = readers.write_pictures(tmp_path, 64)
    expected = np.asarray(Image.open(paths["PNG"])).transpose(2, 0, 1)
    for title, path in paths.items():
        difference = np.abs(readers.read_photograph(path).astype(int) - expected).max()
        assert difference == 0 or (title == "JPEG" and difference < 100)
    rates = readers.time_readers(64, TINY)
    assert {title for title, reader in rates if reader == readers.OURS} == paths.keys()
    assert {title for title, reader in rates if reader == readers.MONAI} == paths.keys() - {"PPM, gzipped", "MHA"}
    assert "| PPM, gzipped | " in readers.describe_readers(rates, 64)


def test_photographs_to_measure_are_all_different_and_come_when_asked_for() -> None:
    varied = metrics.VariedEyes(metrics.PHANTOMS + 3, 32, seed=1)
    eyes = [varied[place] for place in range(len(varied))]
    assert len({eye.image.tobytes() for eye in eyes}) == len(eyes) == metrics.PHANTOMS + 3
    assert eyes[metrics.PHANTOMS].masks["vessel"].sum() == eyes[0].masks["vessel"].sum() > 0
    assert all(eye.fov.shape == (32, 32) and eye.image.dtype == np.uint8 for eye in eyes)
    assert [eye.patient for eye in varied[:3]] == ["1/0", "1/0", "1/1"]


@pytest.mark.parametrize("family", metrics.FAMILIES)
def test_every_family_of_metrics_measures_as_many_photographs_as_it_says(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    count = 1 if family in metrics.FEWER else 5
    cost = metrics.time_family(family, count, 64)
    assert cost.eyes == count and cost.seconds > 0
    assert not list(tmp_path.iterdir())


def test_a_report_is_timed_from_sets_of_the_size_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "in_own_process", lambda job: job())
    effort = replace(TINY, report_count=4, report_families="image,distribution")
    text = report.measure_report(Path(), effort)
    cells = text.splitlines()[-1].strip("| ").split(" | ")
    assert cells[:2] == ["4 + 4", "image,distribution"] and float(cells[3]) >= 1 and float(cells[4]) > 200
    assert (benchmark.FULL.report_count, benchmark.FULL.report_families) == (100, "all")


def test_fourier_convolutions_stand_beside_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fourier, "in_own_process", lambda job: job())
    text = fourier.measure_fourier(Path(), TINY)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")][2:]
    kinds = [(work, kind) for work in ("painting", "training") for kind in ("plain", "Fourier")]
    assert [tuple(row[1:3]) for row in rows] == kinds and {row[0] for row in rows} == {"32"}
    assert [row[5] for row in rows if row[2] == "plain"] == ["1.00", "1.00"]
    assert all(float(row[4]) > 0 for row in rows)
    assert benchmark.FULL.fourier_sizes == (256, 512)
    assert fourier.build(0.75, benchmark.FULL).arguments["global_share"] == 0.75


def test_chains_are_timed_and_weighed_on_sets_of_the_size_that_is_said(
    eyes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "in_own_process", lambda job: job())
    monkeypatch.setattr(costs, "in_own_process", lambda job: job())
    text = chain.measure_chain(eyes, replace(TINY, chain_counts=(10, 20)))
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows] == ["chain", "---", "pix2pix_vessel", "two_stage", "samples", "---", "10", "20"]
    assert rows[2][4] == "1.00" and all(float(cell) > 0 for row in rows[2:4] for cell in row[1:])
    assert benchmark.FULL.chain_counts == (100, 10_000)


def test_the_costs_of_metrics_stand_beside_their_ratios() -> None:
    measured = {
        ("image", "small"): costs.Cost(100, 2.0, 40.0),
        ("image", "large"): costs.Cost(1000, 21.0, 44.0),
    }
    text = metrics.describe_metrics(measured, 256)
    assert "| image | 100 to 1000 | 50.0 | 47.6 | 10.5 | 40 | 44 | 1.10 |" in text
    assert benchmark.command("metrics", benchmark.FULL, False).endswith("--only metrics --rounds 3")
    assert benchmark.FULL.metric_counts == (100, 1000) and benchmark.FULL.metric_size == 256


def test_a_process_of_its_own_has_the_settings_of_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "4294967296")
    assert processes.in_own_process(partial(os.getenv, "MALLOC_MMAP_THRESHOLD_")) is None
    assert os.environ["MALLOC_MMAP_THRESHOLD_"] == "4294967296"


def test_turns_begin_with_another_job_each_round() -> None:
    order: list[str] = []
    jobs = {name: partial(order.append, name) for name in "abc"}
    assert measuring.in_turns(jobs, 2, "turns") == {name: [None, None] for name in "abc"}
    assert order == ["a", "b", "c", "b", "c", "a"]


def test_page_names_no_host_and_no_path_and_keeps_what_was_measured_on_the_same_machine() -> None:
    first = page.page({"Loading": "old loading", "Training": "old training"}, "")
    second = page.page({"Training": "new training"}, first)
    assert re.findall(r"## (\w+)\n\n(.+)\n", second) == [("Training", "new training"), ("Loading", "old loading")]
    assert "old" not in page.page({"Training": "new"}, first.replace(page.machine(), "Machine: another"))
    assert f"torch {torch.__version__.split('+')[0]}" in first
    assert platform.node() not in page.machine() and "/" not in page.machine()


def test_command_line_refuses_what_it_does_not_know() -> None:
    assert benchmark.chosen("loading,training") == benchmark.chosen(("loading", "training")) == ["training", "loading"]
    with pytest.raises(RetinaError, match="--only speed is unknown"):
        benchmark.main(only="speed")
    with pytest.raises(RetinaError, match="--rounds must be a positive integer"):
        benchmark.main(rounds=0)
    with pytest.raises(RetinaError, match="quick is a switch"):
        benchmark.main(quick="perhaps")


def test_the_page_has_a_section_for_every_part() -> None:
    assert tuple(part.capitalize() for part in benchmark.PARTS) == page.SECTIONS


def test_command_line_writes_the_parts_that_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "QUICK", TINY)
    monkeypatch.setitem(benchmark.PARTS, "loading", lambda eyes, effort: f"{effort.phantoms} eyes")
    benchmark.main(quick=True, only="loading", output=str(tmp_path / "page.md"))
    text = (tmp_path / "page.md").read_text()
    assert "5 eyes\n\nMade by `python scripts/benchmark.py --only loading --rounds 1 --quick`." in text
    assert str(tmp_path) not in text
