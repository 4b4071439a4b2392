"""Checks that every ``initialize`` runs first, before anything is read or written."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from torch import nn

from retina_monai.bundle.config_keys import config_rules, nested_settings, references, refuse_unused, written
from retina_monai.bundle.in_use import ConfigInUse
from retina_monai.errors import RetinaError, parse_switch, root_error
from retina_monai.files import check_folder
from retina_monai.group import group_size
from retina_monai.handlers.mlflow_store import is_usable
from retina_monai.settings import ADDRESSES, FilePath, Number, Switch, Words, check_path, check_settings, expand_home

__all__ = ["check_config", "check_eyes", "check_networks", "check_size"]

LOADERS = ("dataloader", "train::dataloader", "validate::dataloader")
LOADING = tuple(f"{loader}::{key}" for loader in LOADERS for key in ("batch_size", "num_workers"))


def check_config(in_use: ConfigInUse) -> None:
    """Validate the config in use; the first entry of every ``initialize``.

    Keys are checked by :func:`retina_monai.bundle.config_keys.refuse_unused`, paths by
    :func:`retina_monai.settings.check_path`, values by :func:`retina_monai.settings.check_settings`, ``output_dir`` by
    :func:`retina_monai.files.check_folder`, and the MLflow store by
    :func:`retina_monai.handlers.mlflow_store.is_usable`. Switches given as text are converted to Booleans, and ``~`` in
    a path is expanded to the home folder.

    Raises:
        RetinaError: a setting is invalid.
    """
    parser = in_use.parser
    rules = config_rules(parser)
    paths = {key for key, rule in rules.items() if isinstance(rule, FilePath)}
    switches = [key for key, rule in rules.items() if isinstance(rule, Switch)]
    for key in (key for key in (*rules, *ADDRESSES) if key in parser):
        _set_path(parser, key, key in paths, key in ADDRESSES)
    shipped = _shipped_config(in_use)
    refuse_unused(parser, shipped, in_use.sources, in_use.runs)
    if "train::trainer::amp" in parser:  # an argument of MONAI's trainer that ours do not use
        raise RetinaError("train#trainer#amp has no effect: give --precision bf16, fp16 or fp32")
    nested = nested_settings(parser, shipped)
    for id, key in nested.items():
        _set_path(parser, id, key in paths, key in ADDRESSES)
        if key not in references(parser.get()) and not isinstance(parser[id], dict):  # log the value in use
            parser[key] = parser[id]
    for id, key in ({key: key for key in switches if key in parser} | nested).items():
        if key in switches:
            parser[id] = parse_switch(parser.get_parsed_content(id), written(id))
    nested |= {id: id.split("::")[-1] for id in LOADING if id in parser}
    keys = {key: key for key, rule in rules.items() if isinstance(rule, Number | Words) and key in parser} | nested
    values = {written(id): parser.get_parsed_content(id) for id in keys}
    check_settings(values, {written(id): key for id, key in keys.items()}, rules)
    if "output_dir" in parser:
        check_folder(parser.get_parsed_content("output_dir"))
    if "tracker" in parser:
        _check_tracking(parser)


def check_networks(in_use: ConfigInUse) -> None:
    """Build the networks of the config in use: each ``NAME_def``, and ``NAME`` if there is one.

    Runs in every ``initialize``, once the seed is set.

    Raises:
        RetinaError: a network rejects its arguments or its weights.
    """
    parser = in_use.parser
    names = [key.removesuffix("_def") for key in parser.get() if key.endswith("_def")]
    for key in (key for name in names for key in (f"{name}_def", name) if key in parser):
        try:
            parser.get_parsed_content(key)
        except Exception as error:  # MONAI wraps any exception
            if root_error(error):
                raise
            raise RetinaError(f"{key} cannot be built: {str(_innermost(error)).strip()}") from error


def check_eyes(datalist: dict[str, Any], split: str, batch_size: int = 1, repeats: int = 1) -> None:
    """Reject a data set whose split is smaller than one global batch.

    Args:
        datalist: lists of eyes by split.
        split: the split to check: ``training``, ``validation`` or ``test``.
        batch_size: batch size of each process.
        repeats: number of times each eye is used per epoch.

    Raises:
        RetinaError: the split has too few eyes.
    """
    processes = group_size()
    eyes = len(datalist[split])
    if not eyes:
        raise RetinaError(f"the data set has no {split} eyes: give one whose datalist.json lists {split} eyes")
    if repeats * eyes < batch_size * processes:
        across = f" on each of {processes} processes" if processes > 1 else ""
        raise RetinaError(
            f"batch_size {batch_size}{across} is too large for {eyes} eyes for {split}: give a smaller --batch_size or "
            "more eyes"
        )


def check_size(network: nn.Module, size: int, key: str = "size") -> None:
    """Reject a size that a network does not support; part of every ``initialize``.

    Args:
        network: its ``levels`` is the number of times it halves the size (MONAI's networks: the number of ``strides``),
            or its ``factor`` the total downsampling.
        size: side length in pixels.
        key: name of the setting, for error messages.

    Raises:
        RetinaError: ``size`` is not a multiple of ``2 ** levels``, or is less than ``2 * factor``.
    """
    levels = getattr(network, "levels", len(getattr(network, "strides", ())))
    if not isinstance(size, int) or size < 1 or size % 2**levels:
        raise RetinaError(
            f"{key} must be a multiple of {2**levels} for a network that halves it {levels} times, got {size}: change "
            f"--{key}, or use a network with fewer levels"
        )
    factor = getattr(network, "factor", 1)
    if size < 2 * factor:
        raise RetinaError(
            f"{key} must be at least {2 * factor} for a network that downsamples by {factor}, got {size}: change "
            f"--{key}, or use a network with fewer downsamplings"
        )


def _check_tracking(parser: ConfigParser) -> None:
    """Reject an unusable MLflow store before data are read, if tracking is required."""
    if parser.get_parsed_content("mlflow") and parser.get_parsed_content("tracking_required"):
        address = os.environ.get("MLFLOW_TRACKING_URI") or parser.get_parsed_content("tracker#tracking_uri")
        is_usable(expand_home(address), parser.get_parsed_content("tracker#experiment_name"))


def _set_path(parser: ConfigParser, id: str, is_path: bool, is_address: bool) -> None:
    """Check an entry that is a path, and expand ``~`` in a path or an address."""
    if is_path:
        check_path(written(id), parser[id])
    if (is_path or is_address) and (path := expand_home(parser[id])) != parser[id]:
        parser[id] = path


def _shipped_config(in_use: ConfigInUse) -> dict[str, Any]:
    """The complete configs (those with imports) of the bundle in use on which the config in use is based."""
    parser = in_use.parser
    folders = {*in_use.folders, Path(parser.get_parsed_content("bundle_root"))} if "bundle_root" in parser else ()
    shipped: dict[str, Any] = {}
    for path in (path for folder in folders for path in sorted((folder / "configs").glob("*.json"))):
        with suppress(ValueError, OSError):  # of files that are not in use
            config = ConfigParser.load_config_file(path)
            shipped |= config if "imports" in config and config.keys() <= parser.get().keys() else {}
    return shipped


def _innermost(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
