"""What the settings at the top of the configs may be: numbers in a range, words, switches and paths.

Here are the kinds of rules, and the rules of settings that every training or every command shares. Those of a family
are beside its networks, objectives and transforms, in ``SETTINGS`` of the module whose class a config names as
``_target_`` (:func:`retina_monai.bundle.config_keys.config_rules`): a key may mean something else in another family.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retina_monai.errors import RetinaError, join_first

__all__ = [
    "ADDRESSES",
    "ANY_COUNT",
    "COUNT",
    "INDEX",
    "RULES",
    "SHARE",
    "SHARE_BELOW_1",
    "SIDE",
    "WEIGHT",
    "FilePath",
    "Number",
    "Rule",
    "Switch",
    "Words",
    "check_path",
    "check_settings",
    "expand_home",
]


ANY_COUNT = -1


@dataclass(frozen=True)
class Number:
    """The rule of a setting that is a number, or a list of numbers.

    Attributes:
        low, high: the range.
        whole: integers only.
        open: ``"low"`` or ``"high"`` excludes that end of the range.
        count: length of the list; 0: a single number; ``ANY_COUNT``: a list of any length but 0.
        optional: ``None`` is accepted.
        unit: named in messages.
    """

    low: float
    high: float = math.inf
    whole: bool = False
    open: str = ""
    count: int = 0
    optional: bool = False
    unit: str = ""

    def fits(self, value: Any) -> bool:
        """Whether ``value`` is such a number."""
        if value is None:
            return self.optional
        if not self.count:
            return self._fits_one(value)
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        return (
            is_list
            and len(value) == (self.count if self.count > 0 else len(value) or 1)
            and all(self._fits_one(entry) for entry in value)
        )

    def __str__(self) -> str:
        numbers = "integers" if self.whole else "numbers"
        alone = "an integer" if self.whole else "a number"
        kind = {0: alone, ANY_COUNT: f"a list of {numbers}"}.get(self.count, f"{self.count} {numbers}")
        if math.isfinite(self.high):
            brackets = "(" if self.open == "low" else "[", ")" if self.open == "high" else "]"
            kind = "" if kind == "a number" else f"{kind} "
            text = f"{kind}in {brackets[0]}{self.low}, {self.high:.10g}{brackets[1]}"
        else:
            text = f"{kind} {'>' if self.open == 'low' else '>='} {self.low}"
        return " ".join(filter(None, (text, self.unit, "or None" if self.optional else "")))

    def _fits_one(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        inside = self.low <= value <= self.high and math.isfinite(value)
        return inside and value != {"low": self.low, "high": self.high}.get(self.open)


@dataclass(frozen=True)
class Words:
    """The rule of a setting that is one of some words."""

    words: tuple[str, ...]

    def fits(self, value: Any) -> bool:
        """Whether ``value`` is one of them."""
        return value in self.words

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"


@dataclass(frozen=True)
class Switch:
    """The rule of a setting that is given as :func:`retina_monai.errors.parse_switch` takes it."""


@dataclass(frozen=True)
class FilePath:
    """The rule of a path of a file or folder, or of a list of them, as :func:`check_path` checks it."""


Rule = Number | Words | Switch | FilePath

COUNT, INDEX = Number(1, whole=True), Number(0, whole=True)
SIDE = Number(16, whole=True)  # pixels; of fewer no network makes anything
WEIGHT, SHARE, SHARE_BELOW_1 = Number(0), Number(0, 1), Number(0, 1, open="high")

RULES: dict[str, Rule] = {
    "seed": Number(0, 2**32 - 1, whole=True),
    "size": SIDE,
    "max_epochs": COUNT,
    "repeats": COUNT,
    "batch_size": COUNT,
    "num_workers": INDEX,
    "learning_rate": WEIGHT,
    "betas": Number(0, 1, open="high", count=2),
    "weight_decay": WEIGHT,
    "linear_decay": Switch(),
    "max_gradient_norm": Number(0, open="low", optional=True),
    "ema": Switch(),
    "ema_decay": SHARE_BELOW_1,
    "horizontal_flip": SHARE,
    "vertical_flip": SHARE,
    "rotation": Number(0, math.pi, unit="radians"),
    "zoom": SHARE_BELOW_1,
    "judge_size": COUNT,
    "kid_weight": WEIGHT,
    "val_interval": COUNT,
    "checkpoint_interval": COUNT,
    "keep_checkpoints": COUNT,
    "cache_mb": WEIGHT,
    "phantom_count": COUNT,
    "augment": INDEX,
    "allow_synthetic": Switch(),
    "keep_names": Switch(),
    "mlflow": Switch(),
    "resume": Switch(),
    "skip_unreadable": Switch(),
    "texture": Switch(),
    "tracking_required": Switch(),
    "bundle_root": FilePath(),
    "dataset_dir": FilePath(),
    "input_dir": FilePath(),
    "fov_dir": FilePath(),
    "output_dir": FilePath(),
    "checkpoint": FilePath(),
    "initial_weights": FilePath(),
    "judge_weights": FilePath(),
    "encoder_weights": FilePath(),
    "cache_dir": FilePath(),
    "phantom_dir": FilePath(),
    "appearance": FilePath(),
}
"""By the key; an appearance may be a path."""

ADDRESSES = ("tracking_uri",)
"""Keys of addresses, which may name a file."""


def check_settings(
    settings: Mapping[str, Any], keys: Mapping[str, str] | None = None, rules: Mapping[str, Rule] = RULES
) -> None:
    """Refuse numbers and words that break their rules, all of them in one sentence; other settings are not checked.

    Args:
        settings: values by name.
        keys: the key whose rule a value has to keep, by its name, where that is not the key.
        rules: by the key.

    Raises:
        RetinaError: there are such settings.

    Example:
        >>> check_settings({"batch_size": 0})
        Traceback (most recent call last):
        retina_monai.errors.RetinaError: batch_size must be an integer >= 1, got 0
    """
    wrong = []
    for name, value in settings.items():
        rule = rules.get((keys or {}).get(name, name))
        if isinstance(rule, Number | Words) and not rule.fits(value):
            wrong.append(f"{name} must be {rule}, got {value!r}{_in_radians(rule, value)}")
    if wrong:
        raise RetinaError(join_first(wrong))


def expand_home(path: Any) -> Any:
    """``~`` at the start of a path, or of a SQLite address, as the home folder; in lists and dictionaries too.

    Shells expand it only at the start of a word, and never within quotes. Anything but text and paths stays as it is.
    """
    if isinstance(path, list | tuple):
        return [expand_home(entry) for entry in path]
    if isinstance(path, dict):
        return {key: expand_home(entry) for key, entry in path.items()}
    if isinstance(path, Path):
        return path.expanduser()
    if not isinstance(path, str):
        return path
    address = "sqlite:///" if path.startswith("sqlite:///") else ""
    return address + os.path.expanduser(path.removeprefix(address))


def check_path(key: str, value: Any) -> None:
    """Refuse what cannot be the path, or the list of paths, that a user meant; ``None`` stands for no path.

    An empty one comes of a shell's variable that is not set, a number of Fire, which takes ``2024`` for one. MONAI has
    put ``::`` for each ``#`` of a setting by now.

    Raises:
        RetinaError: it is such a path.
    """
    for path in value if isinstance(value, list | tuple) else [value]:
        if path is not None and (path == "" or not isinstance(path, str | Path)):
            raise RetinaError(f"{key} must be a path, not {path!r}: give one such as ./{path or 'name'}")
        if "::" in str(path) and not str(path).startswith("$"):
            raise RetinaError(
                f"{key} {path} has # or :: in it, which MONAI takes for its own: rename the folder or file"
            )


def _in_radians(rule: Number | Words, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    in_radians = isinstance(rule, Number) and rule.unit == "radians" and is_number
    return f": {value} degrees are {math.radians(value):.2g}" if in_radians else ""
