"""Load the weights of networks, and start trainings from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from retina_monai.bundle.find import find_bundle, weights_of
from retina_monai.errors import RetinaError, join_first
from retina_monai.handlers.checkpoints import load_file, refuse_other
from retina_monai.networks import find_network_class, initialize_weights

__all__ = ["load_network", "load_network_of", "start_network", "take_over"]


def load_network(network: nn.Module, checkpoint: str | Path, **settings: Any) -> nn.Module:
    """Load released or trained weights, in evaluation mode.

    Training writes ``network.json`` beside its weights; where it is there, the network is built from it and
    ``network`` is not used, so weights of any size load.

    Args:
        network: as the bundle's config defines it.
        checkpoint: a flat state_dict such as ``model.pt``; half precision is loaded as float32.
        settings: arguments that are not the weights' matter, by which those of ``network.json`` are replaced.

    Raises:
        RetinaError: missing, truncated or malicious file, weights of another network, or NaN or infinite weights.
    """
    state = load_file(checkpoint)
    arguments = Path(checkpoint).with_name("network.json")
    if arguments.is_file():
        expected, network = type(network), _build_network(arguments, settings)
        if not isinstance(network, expected):
            raise RetinaError(
                f"{checkpoint} holds the weights of a {type(network).__name__}, not of {expected.__name__}"
            )
    take_over(network, state, checkpoint)
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


def start_network(
    network: nn.Module, initial_weights: str | Path | None, initialization: str | None = "normal"
) -> nn.Module:
    """Draw the starting weights of a training, or load those of an earlier one.

    Args:
        network: what is to be trained. Its ``start_from(state)``, if it has one, decides what it does with the weights
            of another network.
        initial_weights: a flat state_dict, such as ``model.pt``; ``None`` draws them.
        initialization: how they are drawn, as for :func:`retina_monai.networks.initialize_weights`; ``None``: as the
            network was built.

    Raises:
        RetinaError: as :func:`load_network`.
    """
    if initial_weights is None:
        return network if initialization is None else initialize_weights(network, initialization=initialization)
    take_over(network, load_file(initial_weights), initial_weights, getattr(network, "start_from", None))
    return network


def take_over(
    network: nn.Module,
    state: dict[str, Any],
    checkpoint: str | Path,
    load: Callable[[dict[str, Any]], Any] | None = None,
) -> None:
    """Load a state into a network.

    Args:
        network: whose weights are replaced.
        state: flat state_dict.
        checkpoint: the file that it was read from, for errors.
        load: what loads it; ``None``: the network's ``load_state_dict``.

    Raises:
        RetinaError: the state is another network's, or has NaN or infinite weights.
    """
    refuse_other(network, _told_arguments(Path(checkpoint)), Path(checkpoint))
    try:
        (load or network.load_state_dict)(state)
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
        raise RetinaError(f"{checkpoint} holds NaN or infinite weights: {join_first(broken, 3)}")


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
