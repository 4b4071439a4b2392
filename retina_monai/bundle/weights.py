"""Load weights of networks, for inference or as the start of a training."""

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
    """Load released or trained weights into a network in evaluation mode.

    Training writes ``network.json`` next to its weights. If that file exists, the network is built from it instead of
    ``network``, so that weights of any network size can be loaded.

    Args:
        network: network defined by the bundle's config.
        checkpoint: a flat state_dict such as ``model.pt``; half precision is loaded as float32.
        settings: arguments that do not affect the weights; they replace those in ``network.json``.

    Raises:
        RetinaError: the file is missing, truncated or malicious, belongs to another network, or has NaN or infinite
            weights.
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
    """Load the frozen network of a bundle, for example the first stage of a training or a judge.

    Args:
        bundle, trust: as for :func:`find_bundle`.
        checkpoint: its weights; ``None`` loads the released ones.
        device: device of the network.

    Raises:
        RetinaError: there is no such bundle, or as :func:`load_network`.
    """
    parser = ConfigParser()
    parser.read_config(find_bundle(bundle, trust) / "configs" / "inference.json")
    network = load_network(parser.get_parsed_content("network_def"), weights_of(bundle, checkpoint, trust))
    return network.requires_grad_(False).to(device)


def start_network(
    network: nn.Module, initial_weights: str | Path | None, initialization: str | None = "normal"
) -> nn.Module:
    """Initialise the weights of a training at random or from a file.

    Args:
        network: network to train. If it has ``start_from(state)``, that method loads ``initial_weights``.
        initial_weights: a flat state_dict such as ``model.pt``; ``None`` draws random weights.
        initialization: distribution of random weights, as for :func:`retina_monai.networks.initialize_weights`;
            ``None`` keeps the weights with which the network was built.

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
        network: network whose weights are replaced.
        state: flat state_dict.
        checkpoint: file of the state, for its recorded arguments and for error messages.
        load: loads the state; defaults to the network's ``load_state_dict``.

    Raises:
        RetinaError: the state belongs to another network, or has NaN or infinite weights.
    """
    refuse_other(network, _recorded_arguments(Path(checkpoint)), Path(checkpoint))
    try:
        (load or network.load_state_dict)(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise RetinaError(
            f"{checkpoint} holds the weights of another network than {type(network).__name__}"
            f"{getattr(network, 'arguments', '')}"
        ) from error
    _refuse_broken(state, checkpoint)


def _recorded_arguments(checkpoint: Path) -> dict[str, Any]:
    """Network arguments recorded with weights: ``network.json``, or the bundle's config for its released weights."""
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
    """Resolve the class names in a description of networks, and reject anything that could run code.

    Raises:
        RetinaError: a name is not that of a network, or the description holds another directive of MONAI's parser
            (``_mode_``), an expression or a reference.
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
