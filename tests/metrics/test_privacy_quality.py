"""Privacy by features for an engine: the pure functions on the same features, scikit-learn, hand-made copies."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from monai.bundle import ConfigParser
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor

from retina_monai.metrics import (
    PrivacyQuality,
    authenticity,
    clopper_pearson,
    copy_share,
    copy_threshold,
    extract_features,
    infer_membership,
    nearest_distances,
    privacy_quality,
)

METRICS = ("authenticity", "copy_share", "membership_auc")


def flat(images: Tensor) -> Tensor:
    return images.flatten(1)


def pictures(count: int, seed: int) -> Tensor:
    return torch.randn((count, 3, 2, 2), generator=torch.Generator().manual_seed(seed))


def features(images: Tensor) -> np.ndarray:
    return extract_features(flat, images)


TRAINING, HELD_OUT = pictures(40, 0), pictures(25, 1)
PATIENTS = [f"t{number // 2}" for number in range(40)]
OTHERS = [f"h{number}" for number in range(25)]


def quality(metric: str, **arguments: Any) -> PrivacyQuality:
    reference = (features(TRAINING), PATIENTS, features(HELD_OUT), OTHERS)
    return PrivacyQuality(metric, flat, "pixels", *reference, **arguments)


def generated(count: int = 30, copies: int = 6) -> Tensor:
    """Some of them near to training images."""
    images = pictures(count, 2)
    images[:copies] = TRAINING[:copies] + 0.1 * images[:copies]
    return images


def items(images: Tensor) -> list[dict[str, Tensor]]:
    return [{"pred": image} for image in images]


def functions(images: Tensor) -> dict[str, float]:
    training, held_out, made = features(TRAINING), features(HELD_OUT), features(images)
    near, far = nearest_distances(training, made)[0], nearest_distances(held_out, made)[0]
    return {
        "authenticity": authenticity(training, made, PATIENTS),
        "copy_share": copy_share(training, made, PATIENTS).share,
        "membership_auc": infer_membership(near, far, PATIENTS, OTHERS, seed=0).auc,
    }


@pytest.mark.parametrize("metric", METRICS)
def test_the_metric_is_its_function_whatever_the_batches(metric: str) -> None:
    engine = Engine(lambda engine, batch: batch)
    quality(metric).attach(engine, "privacy")
    batches = items(generated())
    first = engine.run([batches[:7], [], batches[7:]]).metrics["privacy"]
    assert first == pytest.approx(functions(generated())[metric])
    clean = engine.run([items(pictures(30, 3))]).metrics["privacy"]
    assert clean == pytest.approx(functions(pictures(30, 3))[metric])
    assert clean != first
    assert engine.run([batches]).metrics["privacy"] == first


def test_all_figures_at_once_and_what_they_were_measured_by() -> None:
    metric = quality("authenticity")
    metric.update(items(generated()))
    found, expected = metric.measure(), functions(generated())
    assert found.authenticity == metric.compute() == expected["authenticity"]
    assert found.copies == copy_share(features(TRAINING), features(generated()), PATIENTS)
    assert found.membership.auc == pytest.approx(expected["membership_auc"])
    assert found.held_out_authenticity == authenticity(features(TRAINING), features(HELD_OUT), PATIENTS)
    assert found.held_out_copies == copy_share(features(TRAINING), features(HELD_OUT), PATIENTS)
    counts = (found.real_count, found.generated_count, found.resolution, found.dimension, found.extractor)
    assert counts == (40, 30, 2, 12, "pixels")


def test_a_generator_that_repeats_its_training_images() -> None:
    values = {}
    for metric in METRICS:
        copies = quality(metric)
        copies.update(items(TRAINING))
        values[metric] = copies.compute()
    assert values == {"authenticity": 0, "copy_share": 1, "membership_auc": 1}


def test_the_share_of_copies_is_that_of_cosines_above_the_threshold() -> None:
    training, made = features(TRAINING), features(generated())
    between = cosine_similarity(training)
    between[np.equal.outer(PATIENTS, PATIENTS)] = -1
    threshold = copy_threshold(between.max(1), PATIENTS)
    hits = cosine_similarity(made, training).max(1) > threshold.value
    found = copy_share(training, made, PATIENTS)
    assert found.threshold.value == pytest.approx(threshold.value)
    assert found.share == hits.mean()
    assert hits[:6].all()
    assert (found.low, found.high) == clopper_pearson(int(hits.sum()), 30)


def test_copies_in_the_plane() -> None:
    """Training images 90 degrees apart, and the fellow eye of one: below 90 degrees is a copy, however bright."""
    training = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.0, -2.0]])
    found = copy_share(training, [[9.0, 1.0], [0.0, 0.1], [1.0, 1.0]], "abcdd", rate=0.3)
    assert found.threshold.value == pytest.approx(0, abs=1e-9)
    assert found.share == 1
    assert copy_share(training[:4], training * 3, "abcd", rate=0.3).share == 1


def test_what_copies_nothing_is_called_a_copy_at_the_rate() -> None:
    random = np.random.default_rng(0)
    shares = [
        copy_share(random.normal(size=(59, 6)), random.normal(size=(40, 6)), range(59), rate=0.1).share
        for _ in range(100)
    ]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.02)


def test_of_many_images_a_sample_counts() -> None:
    metric = quality("copy_share", capacity=8)
    metric.update(items(generated()))
    assert metric.measure().generated_count == 8


def reference(**changes: Any) -> PrivacyQuality:
    names = {"training": features(TRAINING), "patients": PATIENTS, "held_out": features(HELD_OUT)}
    arguments: dict[str, Any] = {**names, "held_out_patients": OTHERS, "metric": "copy_share", **changes}
    return PrivacyQuality(extractor=flat, extractor_name="pixels", **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "fid"}, "metric must be one of authenticity, copy_share, membership_auc, not 'fid'"),
        ({"patients": PATIENTS[1:]}, "a patient for each of 40 training images, not 39"),
        ({"held_out_patients": []}, "a patient for each of 25 held-out images, not 0"),
        ({"held_out": features(HELD_OUT)[:, :5]}, "12 dimensions and generated ones 5"),
        ({"training": features(TRAINING) * np.nan}, "real features must be finite"),
        ({"patients": ["one"] * 40}, "a threshold needs real eyes of at least 3 patients, not 1"),
        ({"training": features(TRAINING) * 0}, "features are all 0 has no direction"),
        ({"rate": 2}, "rate must lie between 0 and 1, not 2"),
        ({"capacity": 0}, "capacity must be at least 1, not 0"),
    ],
)
def test_a_wrong_reference_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reference(**changes)


def test_the_metric_says_what_is_wrong() -> None:
    metric = quality("membership_auc")
    with pytest.raises(NotComputableError, match="PrivacyQuality has seen no image"):
        metric.compute()
    with pytest.raises(KeyError, match="PrivacyQuality finds no 'pred' in the engine's output"):
        metric.update([{"image": TRAINING[0]}])
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\)"):
        metric.update([{"pred": TRAINING[0, :1]}])
    metric.reset()
    with pytest.raises(ValueError, match="12 dimensions and generated ones 48"):
        metric.update([{"pred": torch.zeros(3, 4, 4)}])
    strangers = reference(metric="membership_auc", held_out_patients=["t0"] * 25)
    strangers.update(items(generated()))
    with pytest.raises(ValueError, match="needs patients who were trained on, and others"):
        strangers.compute()


def test_the_metric_from_a_config() -> None:
    config = {
        "_target_": "retina_monai.metrics.PrivacyQuality",
        "metric": "copy_share",
        "extractor": "$lambda images: images.mean((2, 3))",
        "extractor_name": "mean colour",
        "training": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        "patients": ["a", "b", "c"],
        "held_out": [[1.0, 1.0, 1.0]],
        "held_out_patients": ["d"],
        "pred_key": "fake",
    }
    metric = ConfigParser({"privacy": config}).get_parsed_content("privacy")
    metric.update([{"fake": torch.eye(3)[:, :, None] * torch.ones(1, 1, 3)}])
    metric.update([{"fake": torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 3, 3)}])
    assert metric.measure().extractor == "mean colour"
    assert metric.compute() == 1


def test_the_examples_run() -> None:
    assert doctest.testmod(privacy_quality, extraglobs={"np": np}).failed == 0
