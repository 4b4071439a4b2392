"""Compare training and sampling of ``ddpm_vessel`` and of ``diffusers`` with a network of equal size."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser, ConfigWorkflow
from torch import Tensor, nn

from benchmarks.measuring import Effort, Stopwatch, in_turns, table
from benchmarks.processes import in_own_process
from retina_monai.engines import choose_precision, keep_big_blocks
from retina_monai.kinds import KINDS
from retina_monai.networks import ConditionedUNet, DiffusionGenerator

CONFIG = Path(__file__).resolve().parents[2] / "bundles" / "ddpm_vessel" / "configs" / "train.json"
WARM_UP = 2
OWN, THEIRS = "ddpm_vessel", "diffusers"
OWN_FP32, LOADING = "ddpm_vessel, fp32", "ddpm_vessel, loading"


class Job(NamedTuple):
    """A measurement: the library, training or sampling, and the batch size."""

    whose: str
    work: str
    batch: int


def measure_diffusion(eyes: Path, effort: Effort) -> str:
    """Measure a training step at the bundle's batch size, and sampling with batch sizes 1 and 4."""
    settings = settings_of(effort)
    batch, several = int(settings["batch_size"]), 4
    jobs = [
        *(Job(whose, "training", batch) for whose in (OWN, LOADING, OWN_FP32, THEIRS)),
        *(Job(whose, "sampling", count) for count in (1, several) for whose in (OWN, THEIRS)),
    ]
    runs = in_turns({job: partial(run, job, eyes, effort) for job in jobs}, effort.rounds, "diffusion")
    seconds = {job: median(times) for job, times in runs.items()}
    rows = [row(job, seconds) for job in jobs]
    unet = unet_of(settings)
    weights = sum(parameter.numel() for parameter in unet.parameters()) / 1e6
    size, side = int(settings["size"]), int(settings["size"]) // unet.unshuffle
    return f"""\
The U-Net of `ddpm_vessel` is compared with the same U-Net of `diffusers` (`UNet2DModel`). Each has {weights:.1f} M
parameters and is used for pictures of {size} px, which both see as blocks of {unet.unshuffle} x {unet.unshuffle}
pixels ({side} px). *x* is the speed relative to `diffusers`.

- *training*: one step at batch size {batch}, on one batch in memory. `ddpm_vessel` runs `train.json` through
  `monai.bundle` with everything that it includes, in {choose_precision("auto", torch.device("cpu"))} (its choice on
  this machine) and in fp32. *loading* adds reading and augmenting batches in the same process, as in a training.
  `diffusers` follows the defaults of its example script for unconditional generation: fp32,
  `DDPMScheduler.add_noise`, `AdamW`, clipped gradients.
- *sampling*: {settings["steps"]} steps of DDIM with velocities, both in fp32.

{table(("whose", "work", "batch", "s", "s a picture", "x"), rows)}"""


def row(job: Job, seconds: dict[Job, float]) -> tuple[str, ...]:
    own, other = seconds[job], seconds[job._replace(whose=THEIRS)]
    return (job.whose, job.work, str(job.batch), f"{own:.3f}", f"{own / job.batch:.3f}", f"{other / own:.2f}")


def run(job: Job, eyes: Path, effort: Effort) -> float:
    return in_own_process(partial(seconds_of, job, eyes, effort))


def seconds_of(job: Job, eyes: Path, effort: Effort) -> float:
    """Median seconds per training step or sampled batch, after a warm-up."""
    torch.manual_seed(0)
    own = job.whose != THEIRS
    if own:
        keep_big_blocks()
    if job.work == "sampling":
        sample = (own_sampling if own else their_sampling)(job.batch, effort)
        return timed(sample, effort.diffusion_samples, warm_up=1)
    if own:
        return own_training(job, eyes, effort)
    return timed(their_training(job.batch, effort), effort.diffusion_iterations)


def timed(work: Callable[[], Any], times: int, warm_up: int = WARM_UP) -> float:
    for _ in range(warm_up):
        work()
    stamps = [time.perf_counter()]
    for _ in range(times):
        work()
        stamps.append(time.perf_counter())
    return median(later - earlier for earlier, later in pairwise(stamps))


def own_training(job: Job, eyes: Path, effort: Effort) -> float:
    """Median seconds per step of the bundle's full training, with or without loading."""
    steps = WARM_UP + effort.diffusion_iterations
    precision = "fp32" if job.whose == OWN_FP32 else "auto"
    with tempfile.TemporaryDirectory() as output_dir:
        settings = {"dataset_dir": str(eyes), "cache_dir": f"{eyes}-cache", "output_dir": output_dir}
        settings |= {
            **effort.overrides_of(str(CONFIG)),
            "precision": precision,
            **dict.fromkeys(("max_epochs", "val_interval", "checkpoint_interval"), steps),  # it ends before
        }
        if job.whose != LOADING:
            settings["train#trainer#train_data_loader"] = f"$[next(iter(@train#dataloader))] * {steps}"
        workflow = ConfigWorkflow(str(CONFIG), workflow_type="training", logging_file=False, **settings)
        workflow.initialize()
        trainer = workflow.parser.get_parsed_content("train#trainer")
        watch = Stopwatch(WARM_UP)
        watch.attach(trainer)
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=steps), trainer.terminate)
        workflow.run()
        workflow.finalize()
    timed_steps = watch.stamps[WARM_UP:]
    return median(later - earlier for earlier, later in pairwise(timed_steps))


def their_training(batch: int, effort: Effort) -> Callable[[], None]:
    """Training step of ``examples/unconditional_image_generation/train_unconditional.py`` with its defaults."""
    from diffusers import DDPMScheduler

    settings = settings_of(effort)
    blocks, network = blocked(batch, settings), their_unet(settings)
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)

    def step() -> None:
        noise = torch.randn_like(blocks["image"])
        times = torch.randint(0, 1000, (batch,))
        noisy = scheduler.add_noise(blocks["image"], noise, times)
        predicted = network(torch.cat([noisy, blocks["condition"]], dim=1), times).sample
        nn.functional.mse_loss(predicted.float(), noise.float()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def own_sampling(batch: int, effort: Effort) -> Callable[[], Tensor]:
    settings = settings_of(effort)
    network = DiffusionGenerator(unet_of(settings), "velocity", "ddim", int(settings["steps"])).eval()
    condition = pictures(batch, settings)["condition"]

    @torch.inference_mode()
    def draw() -> Tensor:
        drawn: Tensor = network(condition)
        return drawn

    return draw


def their_sampling(batch: int, effort: Effort) -> Callable[[], Tensor]:
    """Sampling as in ``DDIMPipeline``, with the condition concatenated to the picture."""
    from diffusers import DDIMScheduler

    settings = settings_of(effort)
    network, blocks = their_unet(settings).eval(), blocked(batch, settings)
    scheduler = DDIMScheduler(num_train_timesteps=1000, prediction_type="v_prediction")

    @torch.inference_mode()
    def draw() -> Tensor:
        scheduler.set_timesteps(int(settings["steps"]))
        picture = torch.randn(blocks["image"].shape)
        for moment in scheduler.timesteps:
            predicted = network(torch.cat([picture, blocks["condition"]], dim=1), moment).sample
            picture = scheduler.step(predicted, moment, picture).prev_sample
        return picture

    return draw


def settings_of(effort: Effort) -> dict[str, Any]:
    """Settings of the bundle's ``train.json``, with overrides."""
    parser = ConfigParser()
    parser.read_config(CONFIG)
    return {**parser.get(), **effort.overrides}


def unet_of(settings: dict[str, Any]) -> ConditionedUNet:
    keys = ("features", "multipliers", "blocks", "attention", "unshuffle")
    return ConditionedUNet(channels_of(settings), **{key: settings[key] for key in keys})


def channels_of(settings: dict[str, Any]) -> int:
    """Channels of the condition."""
    return sum(KINDS[kind].channels for kind in settings["conditions"])


def their_unet(settings: dict[str, Any]) -> nn.Module:
    """``UNet2DModel`` with the levels, blocks, groups and heads of our U-Net, and attention in the middle block."""
    from diffusers import UNet2DModel

    own = unet_of(settings)
    arguments, levels = own._settings(), len(own.arguments["multipliers"])
    network: nn.Module = UNet2DModel(
        sample_size=int(settings["size"]) // own.unshuffle,
        in_channels=arguments["in_channels"],
        out_channels=own.out_channels * own.unshuffle**2,
        block_out_channels=tuple(arguments["channels"]),
        layers_per_block=arguments["num_res_blocks"],
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        norm_num_groups=arguments["norm_num_groups"],
        attention_head_dim=arguments["num_head_channels"],
    )
    return network


def pictures(batch: int, settings: dict[str, Any]) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    size, channels = int(settings["size"]), {"image": 3, "condition": channels_of(settings)}
    return {key: torch.rand(batch, count, size, size, generator=random) * 2 - 1 for key, count in channels.items()}


def blocked(batch: int, settings: dict[str, Any]) -> dict[str, Tensor]:
    """Pixel-unshuffled pictures, as input of both networks."""
    made = pictures(batch, settings)
    return {key: nn.functional.pixel_unshuffle(value, int(settings["unshuffle"])) for key, value in made.items()}
