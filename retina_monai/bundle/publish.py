"""Release trained weights in a bundle."""

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
    """Copy the weights of a training into a bundle, and update the bundle's description of them.

    Writes ``models/model.pt``, ``models/training.json`` (the training data) and, if the bundle has appearances,
    ``configs/appearances.json``. The version in ``configs/metadata.json`` is increased, and the figures in
    ``docs/README.md`` are marked as those of other weights (:func:`retina_monai.bundle.release_notes.note_release`).
    Parameters are stored in half precision and loaded as float32; buffers (batch-norm statistics) stay in float32.

    Args:
        run_dir: ``output_dir`` of the training.
        bundle, trust: as for :func:`find_bundle`; the weights must fit its ``network_def``.
        overwrite: whether to replace existing weights.

    Returns:
        The path of ``model.pt``.

    Raises:
        RetinaError: there is no such bundle or training, the weights do not fit the bundle's network, or the bundle
            already has weights.
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
