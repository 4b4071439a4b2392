"""Validation rules for settings at the top of the configs: numbers in a range, words, switches and paths.

This module defines the types of rules, and the rules of settings that all trainings or commands share. The rules of a
family are beside its networks, objectives and transforms, in ``SETTINGS`` of the module whose class a config names as
``_target_`` (:func:`retina_monai.bundle.config_keys.config_rules`), since a key may have another meaning elsewhere.
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
    """Rule for a number or a list of numbers.

    Attributes:
        low, high: range of the number.
        whole: whether the number must be an integer.
        open: ``"low"`` or ``"high"`` to exclude that end of the range.
        count: length of the list, 0 for a single number, or ``ANY_COUNT`` for a list of any length except 0.
        optional: whether ``None`` is accepted.
        unit: unit for messages.
    """

    low: float
    high: float = math.inf
    whole: bool = False
    open: str = ""
    count: int = 0
    optional: bool = False
    unit: str = ""

    def fits(self, value: Any) -> bool:
        """Whether ``value`` satisfies the rule."""
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
    """Rule for one of several words."""

    words: tuple[str, ...]

    def fits(self, value: Any) -> bool:
        """Whether ``value`` is one of the words."""
        return value in self.words

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"


@dataclass(frozen=True)
class Switch:
    """Rule for a switch, see :func:`retina_monai.errors.parse_switch`."""


@dataclass(frozen=True)
class FilePath:
    """Rule for a path of a file or folder, or a list of paths, see :func:`check_path`."""


Rule = Number | Words | Switch | FilePath

COUNT, INDEX = Number(1, whole=True), Number(0, whole=True)
SIDE = Number(16, whole=True)  # pixels; no network takes smaller images
WEIGHT, SHARE, SHARE_BELOW_1 = Number(0), Number(0, 1), Number(0, 1, open="high")

RULES: dict[str, Rule] = {
    "seed": Number(0, 2**32 - 1, whole=True),
    "size": SIDE,
    "max_epochs": COUNT,
    "repeats": COUNT,
    "validation_repeats": COUNT,
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
"""Rules by key. ``appearance`` is included because it may be a path."""

ADDRESSES = ("tracking_uri",)
"""Keys of addresses, which may refer to a file."""


def check_settings(
    settings: Mapping[str, Any], keys: Mapping[str, str] | None = None, rules: Mapping[str, Rule] = RULES
) -> None:
    """Check numbers and words against their rules, and report all violations at once. Other settings are not checked.

    Args:
        settings: values by name.
        keys: key of the rule of each name, where the two differ.
        rules: rules by key.

    Raises:
        RetinaError: if settings violate their rules.

    Example:
        >>> check_settings({"batch_size": 0})
        Traceback (most recent call last):
        retina_monai.errors.RetinaError: batch_size must be an integer >= 1, got 0
    """
    faults = []
    for name, value in settings.items():
        rule = rules.get((keys or {}).get(name, name))
        if isinstance(rule, Number | Words) and not rule.fits(value):
            faults.append(f"{name} must be {rule}, got {value!r}{_in_radians(rule, value)}")
    if faults:
        raise RetinaError(join_first(faults))


def expand_home(path: Any) -> Any:
    """Expand ``~`` at the start of a path or SQLite address, also in lists and dictionaries.

    Shells expand ``~`` only at the start of a word and not in quotes. Values other than text and paths are returned
    unchanged.
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
    """Check a path or a list of paths. ``None`` stands for no path.

    An empty path may come from an unset shell variable, and a number from Fire, which parses ``2024`` as one. MONAI
    replaces ``#`` in settings by ``::``.

    Raises:
        RetinaError: if a path is empty, is not text, or contains ``::``.
    """
    for path in value if isinstance(value, list | tuple) else [value]:
        if path is not None and (path == "" or not isinstance(path, str | Path)):
            raise RetinaError(f"{key} must be a path, got {path!r}: give one such as ./{path or 'name'}")
        if "::" in str(path) and not str(path).startswith("$"):
            raise RetinaError(
                f"{key} {path} contains # or ::, which MONAI interprets itself: rename the folder or file"
            )


def _in_radians(rule: Number | Words, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    in_radians = isinstance(rule, Number) and rule.unit == "radians" and is_number
    return f": {value} degrees are {math.radians(value):.2g}" if in_radians else ""
