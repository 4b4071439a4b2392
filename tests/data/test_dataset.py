"""Eyes come out as (seed, epoch, index) say, whoever loads them, and are read from their files once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import get_track_meta
from monai.transforms import Compose, RandFlipd, RandGaussianNoised, Transform
from PIL import Image
from torch import distributed

from retina_monai.data.sets.dataset import CachedEyes, SeededSampler, eye_loader
from retina_monai.errors import RetinaError

SIZE = 8
EYE_BYTES = 3 * SIZE * SIZE


class Read(Transform):
    """Reads a PNG, and counts how often it does."""

    reads = 0

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        Read.reads += 1
        with Image.open(data["image"]) as picture:
            image = torch.from_numpy(np.array(picture)).permute(2, 0, 1) + self.offset
        return {"image": image, "name": data["name"]}


class ReadArray(Read):
    """The same as a NumPy array."""

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        item = super().__call__(data)
        return {**item, "image": item["image"].numpy()}


class Float(Transform):
    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**data, "image": data["image"].float()}


def augmenting(offset: int = 0) -> Compose:
    noise = RandGaussianNoised("image", prob=0.7, std=10.0)
    return Compose([Read(offset), RandFlipd("image", prob=0.5, spatial_axis=1), Float(), noise])


def write_eye(folder: Path, index: int, value: int | None = None) -> dict[str, str]:
    random = np.random.default_rng(index)
    pixels = random.integers(0, 200, (SIZE, SIZE, 3), dtype=np.uint8)
    path = folder / f"{index}.png"
    Image.fromarray(pixels if value is None else np.full_like(pixels, value)).save(path)
    return {"image": str(path), "name": f"eye{index}"}


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, str]]:
    folder = tmp_path / "eyes"
    folder.mkdir()
    Read.reads = 0
    return [write_eye(folder, index) for index in range(5)]


Make = Callable[..., CachedEyes]


@pytest.fixture
def make(items: list[dict[str, str]], tmp_path: Path) -> Make:
    def build(transform: Any = None, cache: bool = True, **arguments: Any) -> CachedEyes:
        arguments = {"cache_dir": tmp_path / "cache" if cache else None, **arguments}
        return CachedEyes(items, transform or augmenting(), **arguments)

    return build


def same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return bool(torch.equal(first["image"], second["image"])) and first["name"] == second["name"]


def test_an_item_is_the_same_whatever_was_drawn_before(make: Make) -> None:
    eyes, others = make(seed=4), make(seed=4)
    wanted = eyes[3, 2]
    for draw in [(1, 0), (3, 1), (3, 2), (7, 4)]:
        others[draw]
    np.random.seed(1)
    torch.manual_seed(1)
    assert same(others[3, 2], wanted) and same(eyes[3, 2], wanted)


def test_samples_are_not_tracked_and_what_surrounds_them_is(make: Make) -> None:
    eyes = make(seed=4)
    assert get_track_meta()
    assert type(eyes[3, 2]["image"]) is torch.Tensor
    assert get_track_meta()


def test_another_epoch_index_or_seed_is_another_item(make: Make) -> None:
    eyes = make(seed=4)
    wanted = eyes[3, 2]
    assert not any(same(eyes[epoch, 2], wanted) for epoch in (0, 1, 2, 4, 5))
    assert not same(make(seed=5)[3, 2], wanted)
    assert eyes[3, 1]["name"] == "eye1"
    assert same(eyes[2], eyes[0, 2])


def test_noise_is_not_shared_by_the_eyes_of_an_epoch(items: list[dict[str, str]]) -> None:
    eyes = CachedEyes([items[0]] * 6, augmenting())
    pictures = [eyes[1, place]["image"] for place in range(6)]
    assert len({picture.sum().item() for picture in pictures}) > 3


@pytest.mark.parametrize("memory_mb", [0, 100])
def test_two_workers_load_what_none_loads(make: Make, memory_mb: float) -> None:
    def epochs(workers: int) -> list[dict[str, Any]]:
        loader = eye_loader(make(seed=1, memory_mb=memory_mb), batch_size=2, num_workers=workers)
        batches = []
        for epoch in (1, 2):
            loader.sampler.set_epoch(epoch)
            batches += list(loader)
        return batches

    alone, shared = epochs(0), epochs(2)
    assert len(alone) == len(shared) == 4
    for first, second in zip(alone, shared, strict=True):
        assert torch.equal(first["image"], second["image"]) and first["name"] == second["name"]
    assert not torch.equal(alone[0]["image"], alone[2]["image"])


def test_loading_draws_nothing_from_torch_or_numpy(make: Make) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(eye_loader(make(), batch_size=2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


def test_each_file_is_read_once(make: Make) -> None:
    eyes = make()
    for epoch in range(3):
        for index in range(len(eyes)):
            eyes[epoch, index]
    assert Read.reads == 5
    make()
    assert Read.reads == 5


def test_what_is_cached_is_not_changed_by_augmentation(make: Make) -> None:
    eyes = make()
    before = eyes.deterministic(1)["image"].clone()
    for epoch in range(8):
        eyes[epoch, 1]
    assert torch.equal(eyes.deterministic(1)["image"], before)
    assert before.dtype == torch.uint8


def test_a_file_of_another_size_is_read_again(make: Make, items: list[dict[str, str]]) -> None:
    make()
    size = os.path.getsize(items[2]["image"])
    write_eye(Path(items[2]["image"]).parent, 2, value=7)
    assert os.path.getsize(items[2]["image"]) != size
    assert make().deterministic(2)["image"].unique().tolist() == [7]
    assert Read.reads == 6


def test_a_file_of_another_time_is_read_again(make: Make, items: list[dict[str, str]]) -> None:
    make()
    status = os.stat(items[3]["image"])
    os.utime(items[3]["image"], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    make()
    assert Read.reads == 5 + 1


@pytest.mark.parametrize("length", [0, 10, 500])
def test_a_cached_file_that_was_cut_short_is_written_anew(make: Make, tmp_path: Path, length: int) -> None:
    whole = make()[1, 0]
    cached = sorted((tmp_path / "cache").glob("*.pt"))
    for path in cached[:2]:
        path.write_bytes(path.read_bytes()[:length])
    assert same(make()[1, 0], whole) and Read.reads == 5 + 2
    make()
    assert Read.reads == 5 + 2


class Refuse(Read):
    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if data["name"] == "eye3":
            raise RetinaError("3.png is truncated")
        return super().__call__(data)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_users_mistake_comes_out_of_monais_wrapping_also_in_a_worker(make: Make, workers: int) -> None:
    eyes = make([Refuse(), Float()], cache=False, memory_mb=0)
    with pytest.raises(RetinaError, match=r"3\.png is truncated$"):
        list(eye_loader(eyes, num_workers=workers))


class RefuseSome(Read):
    """Finds a mistake in the eyes of even number."""

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        item = super().__call__(data)
        if int(data["name"][3:]) % 2 == 0:
            raise RetinaError(f"{data['image']} shows no eye")
        return item


@pytest.mark.parametrize("memory_mb", [0, 1.5 * EYE_BYTES / 2**20, 100])
def test_all_mistakes_come_up_at_once_beyond_the_budget_too(
    make: Make, items: list[dict[str, str]], memory_mb: float
) -> None:
    with pytest.raises(RetinaError) as error:
        make([RefuseSome()], memory_mb=memory_mb)
    named = "; ".join(f"{items[place]['image']} shows no eye" for place in (0, 2, 4))
    assert str(error.value).startswith(f"3 of 5 eyes cannot be used: {named} (fix or remove them")
    assert Read.reads == 5


@pytest.mark.parametrize("memory_mb", [0, 1.5 * EYE_BYTES / 2**20, 100])
@pytest.mark.parametrize("skip", [True, "true"])
def test_eyes_with_a_mistake_are_left_out_and_logged(
    make: Make, items: list[dict[str, str]], caplog: pytest.LogCaptureFixture, memory_mb: float, skip: bool | str
) -> None:
    eyes = make([RefuseSome()], memory_mb=memory_mb, skip_unreadable=skip)
    assert "left out 3 of 5 eyes: " in caplog.text and items[4]["image"] in caplog.text
    alone = CachedEyes([items[1], items[3]], [RefuseSome()])
    assert len(eyes) == len(alone) == 2 and set(eyes.memory) <= {0, 1}
    for place in range(2):
        assert same(eyes[4, place], alone[4, place])
    assert [epoch for epoch, _ in SeededSampler(eyes)] == [0, 0]


def test_a_set_of_which_no_eye_is_left_is_refused(items: list[dict[str, str]]) -> None:
    with pytest.raises(RetinaError, match=r"^no eye is left, each of the 2 cannot be used: .*0\.png shows no eye; .*"):
        CachedEyes([items[0], items[2]], [RefuseSome()], skip_unreadable=True)
    with pytest.raises(RetinaError, match="skip_unreadable is a switch"):
        CachedEyes(items, [Read()], skip_unreadable="perhaps")


def test_what_is_on_disk_beyond_the_budget_is_not_read_before_its_turn(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    loads: list[object] = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **more: loads.append(args) or load(*args, **more))
    eyes = make(memory_mb=1.5 * EYE_BYTES / 2**20)
    assert len(loads) == 2 and len(eyes) == 5 and Read.reads == 5


def test_an_error_of_a_transform_is_not_taken_for_a_broken_cache(make: Make, items: list[dict[str, str]]) -> None:
    Path(items[1]["image"]).write_bytes(b"no picture")
    with pytest.raises(RuntimeError, match="applying transform"):
        make()
    assert Read.reads == 2


def test_other_transforms_do_not_share_a_cache(make: Make) -> None:
    plain, brighter = make().deterministic(0), make(augmenting(offset=9)).deterministic(0)
    assert torch.equal(brighter["image"], plain["image"] + 9)


def test_the_budget_of_memory_is_kept_and_the_rest_comes_from_disk(make: Make, tmp_path: Path) -> None:
    eyes = make(memory_mb=2.5 * EYE_BYTES / 2**20)
    assert sorted(eyes.memory) == [0, 1]
    for epoch in range(4):
        for index in range(len(eyes)):
            eyes[epoch, index]
    assert sorted(eyes.memory) == [0, 1] and Read.reads == 5
    assert len(list((tmp_path / "cache").glob("*.pt"))) == 5
    everything, nothing = make(memory_mb=1), make(memory_mb=0)
    assert len(everything.memory) == 5 and not nothing.memory
    for index in range(5):
        assert same(everything[2, index], nothing[2, index]) and same(everything[2, index], eyes[2, index])
    assert not nothing.memory and Read.reads == 5


def test_arrays_count_as_much_as_tensors(make: Make) -> None:
    assert len(make([ReadArray()], memory_mb=2.5 * EYE_BYTES / 2**20).memory) == 2


def test_without_a_folder_nothing_is_kept_on_disk(make: Make, tmp_path: Path) -> None:
    eyes = make(cache=False, memory_mb=0)
    reads = Read.reads
    eyes[1, 0], eyes[2, 0]
    assert Read.reads == reads + 2
    assert [path.name for path in tmp_path.iterdir()] == ["eyes"]


def draws(
    count: int, shuffle: bool = True, seed: int = 0, batch_size: int = 1, epoch: int = 0
) -> list[tuple[int, int]]:
    sampler = SeededSampler(range(count), seed, shuffle, batch_size)
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) and drawn == list(sampler)
    return drawn


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first = draws(40, epoch=1)
    torch.manual_seed(7)
    assert draws(40, epoch=1) == first
    assert {epoch for epoch, _ in first} == {1} and sorted(index for _, index in first) == list(range(40))
    orders = {tuple(index for _, index in draws(40, seed=seed, epoch=epoch)) for seed in (0, 1) for epoch in (1, 2)}
    assert len(orders) == 4 and tuple(range(40)) not in orders


def test_validation_keeps_the_order() -> None:
    assert draws(5, shuffle=False, epoch=2) == [(2, index) for index in range(5)]


def as_rank(monkeypatch: pytest.MonkeyPatch, rank: int, ranks: int) -> None:
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(distributed, "get_world_size", lambda: ranks)


@pytest.mark.parametrize(("count", "ranks", "batch_size"), [(12, 2, 3), (17, 2, 2), (17, 3, 1), (7, 4, 1), (8, 1, 3)])
def test_ranks_share_out_the_batches_of_one_process(
    monkeypatch: pytest.MonkeyPatch, count: int, ranks: int, batch_size: int
) -> None:
    whole = ranks * batch_size
    alone = draws(count, batch_size=whole, epoch=3)
    expected = [alone[start : start + whole] for start in range(0, count - whole + 1, whole)]
    shares = []
    for rank in range(ranks):
        as_rank(monkeypatch, rank, ranks)
        mine = draws(count, batch_size=batch_size, epoch=3)
        shares.append([mine[start : start + batch_size] for start in range(0, len(mine) - batch_size + 1, batch_size)])
    assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == expected


@pytest.mark.parametrize(("count", "ranks"), [(5, 2), (6, 3), (1, 2), (2, 4), (0, 2)])
def test_ranks_share_out_validation_without_padding_and_in_order(
    monkeypatch: pytest.MonkeyPatch, count: int, ranks: int
) -> None:
    shares = []
    for rank in range(ranks):
        as_rank(monkeypatch, rank, ranks)
        shares.append(draws(count, shuffle=False, epoch=2, batch_size=2))
    assert list(chain(*shares)) == [(2, index) for index in range(count)]
    assert {len(share) for share in shares} <= {count // ranks, -(-count // ranks)}
    assert not count or shares[0]


def test_loaders_of_ranks_agree_on_their_length(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    eyes, lengths = make(), set()
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        loader = eye_loader(eyes, batch_size=1)
        lengths.add((len(loader), len(list(loader))))
    assert lengths == {(2, 2)}


@pytest.mark.parametrize(
    ("batch_size", "shuffle", "sizes"), [(2, True, [2, 2]), (2, False, [2, 2, 1]), (5, True, [5]), (8, True, [5])]
)
def test_a_training_batch_that_is_not_full_is_left_out(
    make: Make, batch_size: int, shuffle: bool, sizes: list[int]
) -> None:
    loader = eye_loader(make(), batch_size=batch_size, shuffle=shuffle)
    assert [len(batch["name"]) for batch in loader] == sizes
