"""Find bundles and the config in use, and load their networks."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from torch import Tensor, nn

from retina_monai.config_keys import nested_settings, references, refuse_unused, written
from retina_monai.data.appearances import Appearances
from retina_monai.data.training_record import FILE as TRAINING
from retina_monai.data.training_record import read_training
from retina_monai.data.writing import software
from retina_monai.errors import RetinaError, join_first, parse_switch, root_error
from retina_monai.files import check_folder, write_json
from retina_monai.group import group_size
from retina_monai.handlers.checkpoints import load_file, refuse_other, save_atomically
from retina_monai.handlers.mlflow_store import is_usable
from retina_monai.networks import DiffusionGenerator, find_network_class, initialize_weights
from retina_monai.release_notes import note_release
from retina_monai.settings import ADDRESSES, CHOICES, PATHS, RULES, check_path, check_settings, expand_home

__all__ = [
    "bundle_names",
    "check_config",
    "check_eyes",
    "check_networks",
    "check_patch",
    "check_size",
    "config_in_use",
    "digest",
    "find_bundle",
    "find_bundle_root",
    "is_bare",
    "load_appearances",
    "load_network",
    "load_network_of",
    "new_run_folder",
    "release",
    "run_folder",
    "set_settings",
    "start_control",
    "start_network",
    "weights_of",
]

REPOSITORY = Path(__file__).resolve().parent.parent
NETWORKS = ("network_def", "network", "discriminator_def", "discriminator", "perceptual_def", "perceptual")
LOADERS = ("dataloader", "train::dataloader", "validate::dataloader")
LOADING = tuple(f"{loader}::{key}" for loader in LOADERS for key in ("batch_size", "num_workers"))


def bundle_names() -> list[str]:
    """Names of the bundles that come with the repository."""
    return sorted(path.parent.parent.name for path in REPOSITORY.glob("bundles/*/configs/metadata.json"))


def is_bare(name: str | Path) -> bool:
    """Whether it is a name and not a path: a text without a separator."""
    return isinstance(name, str) and name not in (".", "..") and not {"/", os.sep, os.altsep} & set(name)


def find_bundle(name: str | Path, trust: bool = False) -> Path:
    """The folder of a bundle.

    Args:
        name: of a bundle of this library; or the path of one, which has a separator (``./name``) or is a ``Path``.
        trust: whether a bundle of another origin is accepted. The expressions in its configs are code, and run.

    Raises:
        RetinaError: there is no such bundle, or it is not of this library and not trusted.
    """
    bundles = REPOSITORY / "bundles"
    path = bundles / name if is_bare(name) else Path(name).expanduser()
    if not name or not (path / "configs" / "metadata.json").is_file():
        advice = f"give the path of one, or one of {', '.join(bundle_names())}"
        if is_bare(name) and name and Path(name).is_dir():
            advice = f"the folder of that name is ./{name}"
        raise RetinaError(f"there is no bundle {name}: {advice}")
    path = path.resolve()
    if not trust and path.parent != bundles.resolve():
        raise RetinaError(
            f"{name} is not a bundle of this library, and the expressions in its configs run as code: give "
            "--trust true (trust=True in Python) if you know who wrote it"
        )
    return path


def find_bundle_root(name: str) -> str:
    """Where the bundle lies whose config is being evaluated; ``bundle_root`` of every config.

    MONAI does not give a config its own path. In order: the folder of the ``--config_file`` in use; the current
    directory if it is a copy of the bundle ``name``, by the ``name`` in its metadata; the library's bundle ``name``.
    """
    for root in _config_folders():
        if (root / "configs" / "metadata.json").is_file():
            return str(root.resolve())
    own = find_bundle(name)
    return str(Path.cwd() if _title(Path.cwd()) == _title(own) else own)


def config_in_use() -> dict[str, Any]:
    """The config that is being evaluated, overrides included, as plain data; empty outside of an evaluation.

    A setting that is given as an expression (``$2 * 0.0001``) or as a reference is there with its value.
    """
    parser = _parser_in_use()
    if parser is None:
        return {}
    values = {key: parser.get_parsed_content(key) for key in (*RULES, *CHOICES) if key in parser}
    return {**deepcopy(parser.get()), **values}


def new_run_folder(bundle_root: str | Path) -> Path:
    """``runs/<date>-<time>`` in the bundle, to the microsecond: no two runs share one."""
    return Path(bundle_root) / "runs" / datetime.now().strftime("%Y%m%d-%H%M%S-%f")


def run_folder(bundle_root: str, resume: bool = False) -> str:
    """Where a config writes without ``output_dir``: a new folder, or that of the newest training in ``runs`` to resume.

    Raises:
        RetinaError: there is no training to resume.
    """
    runs = Path(bundle_root) / "runs"
    if not resume:
        return str(new_run_folder(bundle_root))
    trainings = [path for path in runs.glob("*") if any(path.glob("checkpoints/epoch_*.pt"))]
    if not trainings:
        raise RetinaError(f"there is no training to resume in {runs}: name its --output_dir, or train without --resume")
    return str(max(trainings, key=lambda path: max(file.stat().st_mtime for file in path.glob("checkpoints/*.pt"))))


def load_network(network: nn.Module, checkpoint: str | Path, **settings: Any) -> nn.Module:
    """Load released or trained weights, in evaluation mode.

    Training writes ``network.json`` beside its weights; where it is there, the network is built from it and
    ``network`` is not used, so weights of any size load.

    Args:
        network: as the bundle's config defines it.
        checkpoint: a flat state_dict such as ``model.pt``; half precision is loaded as float32.
        settings: arguments that are not the weights' matter, by which those of ``network.json`` are replaced.

    Raises:
        RetinaError: missing, truncated or malicious file, or weights of another network, or some that are no numbers.
    """
    state = load_file(checkpoint)
    arguments = Path(checkpoint).with_name("network.json")
    if arguments.is_file():
        expected, network = type(network), _build_network(arguments, settings)
        if not isinstance(network, expected):
            raise RetinaError(
                f"{checkpoint} holds the weights of a {type(network).__name__}, not of {expected.__name__}"
            )
    _take_over(network, state, checkpoint)
    return network.eval()


def load_network_of(
    bundle: str | Path,
    checkpoint: str | Path | None = None,
    device: torch.device | str = "cpu",
    trust: bool = False,
) -> nn.Module:
    """The network of a bundle, frozen: the first stage of a training, say, or a judge.

    Args:
        bundle, trust: as for :func:`find_bundle`.
        checkpoint: its weights; ``None``: the released ones.
        device: where it works.

    Raises:
        RetinaError: no such bundle, or as :func:`load_network`.
    """
    parser = ConfigParser()
    parser.read_config(find_bundle(bundle, trust) / "configs" / "inference.json")
    network = load_network(parser.get_parsed_content("network_def"), weights_of(bundle, checkpoint, trust))
    return network.requires_grad_(False).to(device)


def weights_of(bundle: str | Path, checkpoint: str | Path | None = None, trust: bool = False) -> Path:
    """``checkpoint`` if one is given, else the released weights of a bundle.

    Raises:
        RetinaError: as :func:`find_bundle`.
    """
    return find_bundle(bundle, trust) / "models" / "model.pt" if checkpoint is None else Path(checkpoint)


def start_network(
    network: nn.Module, initial_weights: str | Path | None, initialization: str | None = "normal"
) -> nn.Module:
    """Draw the starting weights of a training, or take them over from an earlier one.

    Args:
        network: what is to be trained.
        initial_weights: a flat state_dict of the same network, such as ``model.pt``; ``None`` draws them.
        initialization: how they are drawn, as for :func:`retina_monai.networks.initialize_weights`; ``None``: as the
            network was built.

    Raises:
        RetinaError: as :func:`load_network`.
    """
    if initial_weights is None:
        return network if initialization is None else initialize_weights(network, initialization=initialization)
    _take_over(network, load_file(initial_weights), initial_weights)
    return network


def start_control(network: DiffusionGenerator, weights: str | Path) -> DiffusionGenerator:
    """Begin a training of a ControlNet: as :meth:`retina_monai.networks.ControlledUNet.take_over` says.

    Args:
        network: around a ``ControlledUNet``.
        weights: flat state_dict of a generator around a ``ConditionedUNet`` of the same settings, such as ``model.pt``.

    Raises:
        RetinaError: a missing or truncated file, or weights of another network.
    """
    refuse_other(network, _told_arguments(Path(weights)), Path(weights))
    state = load_file(weights)
    controlled: Any = network.unet
    try:
        controlled.take_over({key.removeprefix("unet."): value for key, value in state.items()})
    except RuntimeError as error:
        raise RetinaError(f"{weights} holds the weights of another U-Net than {network.arguments['unet']}") from error
    _refuse_broken(state, weights)
    return network


def check_config() -> None:
    """Refuse keys, numbers and paths of the config being evaluated that cannot be: first in every ``initialize``.

    By :func:`retina_monai.config_keys.refuse_unused`, :func:`retina_monai.settings.check_path`,
    :func:`retina_monai.settings.check_settings`, for ``output_dir`` :func:`retina_monai.files.check_folder`, and for
    MLflow's store :func:`retina_monai.handlers.mlflow_store.is_usable`; switches are read too. ``~`` in a path becomes
    the home folder.

    Raises:
        RetinaError: there are such settings.
    """
    parser = _parser_in_use()
    if parser is None:
        return
    for key in (key for key in (*PATHS, *ADDRESSES) if key in parser):
        _set_path(parser, key, key)
    shipped = _shipped_config(parser)
    refuse_unused(parser, shipped, *_given())
    if "train::trainer::amp" in parser:  # which MONAI's trainer takes, and ours do not use
        raise RetinaError("train#trainer#amp has no effect: give --precision bf16, fp16 or fp32")
    nested = nested_settings(parser, shipped)
    for id, key in nested.items():
        _set_path(parser, id, key)
        if key not in references(parser.get()) and not isinstance(parser[id], dict):  # what is logged is what is in use
            parser[key] = parser[id]
    nested |= {id: id.split("::")[-1] for id in LOADING if id in parser}
    if "switches" in parser:
        parser.get_parsed_content("switches")
    keys = {key: key for key in (*RULES, *CHOICES) if key in parser} | nested
    check_settings({written(id): parser.get_parsed_content(id) for id in keys}, {written(id): keys[id] for id in keys})
    if "output_dir" in parser:
        check_folder(parser.get_parsed_content("output_dir"))
    if "tracker" in parser:
        _check_tracking(parser)


def _check_tracking(parser: ConfigParser) -> None:
    """Refuse a store of MLflow that cannot be used, before data are read; the tracker itself does without if it may."""
    switches = parser.get_parsed_content("switches")
    if switches["mlflow"] and switches["tracking_required"]:
        address = os.environ.get("MLFLOW_TRACKING_URI") or parser.get_parsed_content("tracker#tracking_uri")
        is_usable(expand_home(address), parser.get_parsed_content("tracker#experiment_name"))


def check_networks() -> None:
    """Build the networks of the config being evaluated; ``initialize`` of every config, once the seed is set.

    Raises:
        RetinaError: what a network says to its arguments, or to its weights.
    """
    parser = _parser_in_use()
    if parser is None:
        return
    for key in (key for key in NETWORKS if key in parser):
        try:
            parser.get_parsed_content(key)
        except Exception as error:  # whatever a network raises, MONAI wraps it
            if root_error(error):
                raise
            raise RetinaError(f"{key} cannot be built: {str(_innermost(error)).strip()}") from error


def check_eyes(datalist: dict[str, Any], split: str, batch_size: int = 1, repeats: int = 1) -> None:
    """Refuse a data set with fewer eyes in a split than one batch of all processes takes.

    Args:
        datalist: lists of eyes by their split.
        split: that is needed: ``training``, ``validation`` or ``test``.
        batch_size: of one process.
        repeats: how often each eye comes in an epoch.

    Raises:
        RetinaError: there are fewer.
    """
    processes = group_size()
    eyes = len(datalist[split])
    if not eyes:
        raise RetinaError(f"no eye of the data set is for {split}: give one with a datalist.json that names some")
    if repeats * eyes < batch_size * processes:
        among = f" of each of {processes} processes" if processes > 1 else ""
        raise RetinaError(
            f"batch_size {batch_size}{among} is too large for {eyes} eyes for {split}: give a smaller --batch_size, or "
            "more eyes"
        )


def check_size(network: nn.Module, size: int) -> None:
    """Refuse a size that a network cannot take, before anything is made; ``initialize`` of every config.

    Args:
        network: halves the size ``levels`` times, or makes one pixel of ``factor``, along a side.
        size: pixels a side.

    Raises:
        RetinaError: ``size`` is not a multiple of ``2 ** levels``, or less than ``2 * factor``.
    """
    levels = getattr(network, "levels", 0)
    if not isinstance(size, int) or size < 1 or size % 2**levels:
        raise RetinaError(
            f"size {size} does not go through a network that halves it {levels} times: give a --size that is a "
            f"multiple of {2**levels}, or take a network of fewer levels"
        )
    factor = getattr(network, "factor", 1)
    if size < 2 * factor:
        raise RetinaError(
            f"size {size} is too small for a network that makes one pixel of {factor}: give a --size of at least "
            f"{2 * factor}, or take a network of fewer downsamplings"
        )


def check_patch(network: Any, patch: int) -> None:
    """Refuse patches of which a network leaves less than two pixels a side, before any is trained on.

    Args:
        network: averages up to ``factor`` pixels into one, along a side.
        patch: pixels a side.

    Raises:
        RetinaError: ``patch`` is smaller than ``2 * factor``.
    """
    if patch < 2 * network.factor:
        raise RetinaError(
            f"patch {patch} is too small for a network that makes one pixel of {network.factor}: give a --patch of "
            f"{2 * network.factor} or more, or fewer --levels"
        )


def _take_over(network: nn.Module, state: dict[str, Any], checkpoint: str | Path) -> None:
    refuse_other(network, _told_arguments(Path(checkpoint)), Path(checkpoint))
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise RetinaError(
            f"{checkpoint} holds the weights of another network than {type(network).__name__}"
            f"{getattr(network, 'arguments', '')}"
        ) from error
    _refuse_broken(state, checkpoint)


def _told_arguments(checkpoint: Path) -> dict[str, Any]:
    """Of the network whose weights these are: ``network.json`` beside them, or the bundle's for its released ones."""
    beside, config = checkpoint.with_name("network.json"), checkpoint.parent.parent / "configs" / "inference.json"
    released = checkpoint.parent.name == "models" and config.is_file()
    try:
        if beside.is_file():
            return dict(json.loads(beside.read_text(encoding="utf-8")))
        return dict(json.loads(config.read_text(encoding="utf-8"))["network_def"]) if released else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RetinaError(f"{beside if beside.is_file() else config} does not describe a network") from error


def _refuse_broken(state: dict[str, Any], checkpoint: str | Path) -> None:
    broken = [key for key, value in state.items() if isinstance(value, Tensor) and not value.isfinite().all()]
    if broken:
        raise RetinaError(f"{checkpoint} holds weights that are no numbers (NaN or infinite): {join_first(broken, 3)}")


def _build_network(path: Path, settings: dict[str, Any]) -> nn.Module:
    try:
        arguments = json.loads(path.read_text(encoding="utf-8"))
        arguments |= {key: value for key, value in settings.items() if key in arguments}
        str(arguments["_target_"])
    except (ValueError, KeyError, TypeError) as error:
        raise RetinaError(f"{path} does not describe a network: it needs a JSON object with _target_") from error
    network: nn.Module = ConfigParser(_with_classes(arguments, path)).get_parsed_content()
    return network


def _with_classes(value: Any, path: Path, key: str = "") -> Any:
    """A description of networks with each class name as MONAI resolves it; nothing in it is code any more.

    Raises:
        RetinaError: the name of something else than a network, another order to MONAI's parser (``_mode_``), or an
            expression or reference.
    """
    if isinstance(value, dict):
        return {inner: _with_classes(item, path, inner) for inner, item in value.items()}
    if isinstance(value, list):
        return [_with_classes(item, path, key) for item in value]
    if key == "_target_":
        found = find_network_class(str(value))
        if found is None:
            raise RetinaError(f"{path} is refused: {value} is not a network of retina_monai or MONAI")
        return f"{found.__module__}.{found.__qualname__}"
    if key.startswith("_") or str(value).startswith(("$", "@", "%")):
        raise RetinaError(f"{path} is refused: {key} holds {value}, which could run code")
    return value


def _parser_in_use() -> ConfigParser | None:
    parsers = (names.get("self") for names in _callers())
    return next((parser for parser in parsers if isinstance(parser, ConfigParser)), None)


def _innermost(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _callers() -> Iterator[dict[str, Any]]:
    """Local names of the functions on the stack, innermost first."""
    frame: FrameType | None = sys._getframe(1).f_back
    while frame is not None:
        yield frame.f_locals
        frame = frame.f_back


def _title(bundle: Path) -> str | None:
    """The name that a bundle's metadata gives it; ``None`` where there is no such bundle."""
    try:
        return str(json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _config_folders() -> Iterator[Path]:
    """Bundle folders of the config files in use: of a MONAI workflow, or of a verb such as ``ckpt_export``."""
    for names in _callers():
        if isinstance(workflow := names.get("self"), ConfigWorkflow):
            yield Path(workflow.config_root_path).resolve().parent
        if files := names.get("config_file_"):
            first = files if isinstance(files, (str, Path)) else files[0]
            yield Path(first).resolve().parent.parent


def _set_path(parser: ConfigParser, id: str, key: str) -> None:
    """Check an entry that is a path by its key, and put the home folder for ``~`` in it."""
    if key in PATHS:
        check_path(written(id), parser[id])
    if key in (*PATHS, *ADDRESSES) and (path := expand_home(parser[id])) != parser[id]:
        parser[id] = path


def _shipped_config(parser: ConfigParser) -> dict[str, Any]:
    """The complete configs (those with imports) of the bundle in use of which the config being evaluated is made."""
    folders = {*_config_folders(), Path(parser.get_parsed_content("bundle_root"))} if "bundle_root" in parser else ()
    shipped: dict[str, Any] = {}
    for path in (path for folder in folders for path in sorted((folder / "configs").glob("*.json"))):
        with suppress(ValueError, OSError):  # of a file that is not in use
            config = ConfigParser.load_config_file(path)
            shipped |= config if "imports" in config and config.keys() <= parser.get().keys() else {}
    return shipped


def _given() -> tuple[list[Any], list[str]]:
    """What ``monai.bundle`` was given, as far as it is known: config files and overrides, and the ids to run."""
    sources: list[Any] = []
    runs: list[str] = []
    for names in _callers():
        if isinstance(workflow := names.get("self"), ConfigWorkflow):
            runs += [workflow.init_id, workflow.run_id, workflow.final_id]
        if "workflow_class" in names:
            sources += [ConfigParser.load_config_files(names["config_file"]), names["_args"]]
    return sources, runs


def load_appearances(checkpoint: str | Path, bundle_root: str | Path) -> Appearances:
    """The appearances of the eyes that a checkpoint was trained on: beside it, or the bundle's ``configs``."""
    beside = Path(checkpoint).with_name("appearances.json")
    return Appearances.load(beside if beside.is_file() else Path(bundle_root) / "configs" / "appearances.json")


def release(run_dir: str | Path, bundle: str | Path, overwrite: bool | str = False, trust: bool = False) -> Path:
    """Put the weights of a training into a bundle, and let the bundle describe them.

    Written are ``models/model.pt``, ``models/training.json`` (what they were trained on), ``configs/appearances.json``
    if the bundle has appearances, and, as :func:`retina_monai.release_notes.note_release` says, the next version into
    ``configs/metadata.json`` and a mark at the figures of ``docs/README.md``, which are those of other weights.
    Parameters are stored in half precision and loaded as float32; buffers (batch-norm statistics) stay in float32.

    Args:
        run_dir: the training's ``output_dir``.
        bundle, trust: as for :func:`find_bundle`; its ``network_def`` must take the weights.
        overwrite: a switch: replace weights that are there.

    Returns:
        The path of ``model.pt``.

    Raises:
        RetinaError: no such bundle or training, weights of another network than the bundle's, or weights that are
            there already.
    """
    run, root = Path(run_dir).expanduser(), find_bundle(bundle, trust)
    parser = ConfigParser()
    parser.read_config(root / "configs" / "inference.json")
    network: nn.Module = parser.get_parsed_content("network_def")
    _take_over(network, load_file(run / "model.pt"), run / "model.pt")
    target = root / "models" / "model.pt"
    if target.is_file() and not parse_switch(overwrite, "overwrite"):
        raise RetinaError(f"{target} holds weights: give --overwrite true to replace them, or a copy of the bundle")
    record = read_training(run / "model.pt")
    earlier = read_training(target)
    parameters = dict(network.named_parameters())
    state = {name: tensor.half() if name in parameters else tensor for name, tensor in network.state_dict().items()}
    table = root / "configs" / "appearances.json"
    if table.is_file() or (run / "appearances.json").is_file():
        Appearances.load(run / "appearances.json").save(table)
    save_atomically(state, target)
    if record is None:
        target.with_name(TRAINING).unlink(missing_ok=True)
    else:
        write_json(target.with_name(TRAINING), record)
    note_release(root, digest(target), record, earlier)
    return target


def set_settings(
    name: str,
    root: str | Path | Mapping[str, str | Path],
    checkpoint: str | Path | Mapping[str, str | Path],
    conditions: Any,
    **more: Any,
) -> dict[str, Any]:
    """What the samples of a set depend on, as its ``settings.json`` holds it: an interrupted set is completed by these.

    Args:
        name: of the bundle, or of the chain.
        root: folder of the bundle; of a chain of several bundles, by their names.
        checkpoint: its weights; likewise.
        conditions: what samples are made from, whose ``settings`` hold a fingerprint of all inputs.
        more: whatever else they depend on.

    Returns:
        ``bundle``, ``weights`` (SHA-256, of a chain by bundle), ``training`` (by bundle, what its weights were trained
        on; ``None`` where that is unknown), those of ``conditions``, and ``more``; and ``about``, on which samples do
        not depend: date, versions, and the bundles' own versions, licences and credits.

    Raises:
        RetinaError: weights that cannot be read.
    """
    files = checkpoint if isinstance(checkpoint, Mapping) else {name: checkpoint}
    roots = root if isinstance(root, Mapping) else {name: root}
    weights = {bundle: digest(path) for bundle, path in files.items()}
    return {
        "bundle": name,
        "weights": weights if isinstance(checkpoint, Mapping) else weights[name],
        "training": {bundle: read_training(path) for bundle, path in files.items()},
        **conditions.settings,
        **more,
        "about": {
            "date": date.today().isoformat(),
            "package": software(),
            "monai": version("monai"),
            "torch": version("torch"),
            "bundles": {bundle: _credits(Path(roots[bundle]), Path(path)) for bundle, path in files.items()},
        },
    }


def _credits(root: Path, checkpoint: Path) -> dict[str, str]:
    """What a bundle says of itself, as far as it is true of weights."""
    about = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))
    licence = root / "LICENSE"
    lines = licence.read_text(encoding="utf-8").split("\n") if licence.is_file() else []
    title = ", ".join([line.strip() for line in lines if line.strip()][:2])
    own = (root / "models" / "model.pt").resolve() == checkpoint.resolve()
    ours = root.resolve().parent == (REPOSITORY / "bundles").resolve()
    return {
        "version": str(about.get("version", "")),
        "weights": "released" if own and ours else "other",
        "licence": title or "not stated",
        "data_source": str(about.get("data_source", "")) if own else "whoever trained the weights knows its terms",
        "intended_use": str(about.get("intended_use", "")),
    }


def digest(path: str | Path) -> str:
    """SHA-256 of a file, as manifests and reports name the weights.

    Raises:
        RetinaError: it cannot be read.
    """
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise RetinaError(f"{path} cannot be read: {error.strerror}") from error
