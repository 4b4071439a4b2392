"""Put trained weights into a bundle."""

from __future__ import annotations

from pathlib import Path

from monai.bundle import ConfigParser
from torch import nn

from retina_monai.bundle.find import digest, find_bundle
from retina_monai.bundle.release_notes import note_release
from retina_monai.bundle.weights import take_over
from retina_monai.data.listing.weights_origin import FILE as TRAINING
from retina_monai.data.listing.weights_origin import read_training
from retina_monai.data.sets.appearances import Appearances
from retina_monai.errors import RetinaError, parse_switch
from retina_monai.files import write_json
from retina_monai.handlers.checkpoints import load_file, save_atomically

__all__ = ["release"]


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
    take_over(network, load_file(run / "model.pt"), run / "model.pt")
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
