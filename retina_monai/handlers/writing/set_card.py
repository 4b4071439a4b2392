"""``README.txt`` of a generated set: contents, provenance, terms and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

__all__ = ["set_card"]

WIDTH = 100


def set_card(
    title: str, facts: Sequence[str], settings: Mapping[str, Any], count: int, conditions: Sequence[str]
) -> str:
    """The text of ``README.txt``.

    Args:
        title: title of the set.
        facts: paragraphs about the pictures, the labels and the names in the set.
        settings: result of :func:`retina_monai.bundle.set_settings`; missing entries are omitted.
        count: number of samples.
        conditions: names of the data sets from which the samples were made, if known.
    """
    about = settings.get("about", {})
    made = f"{count} samples" + (f", made from {', '.join(conditions)}" if conditions else "")
    if about:
        made += f", written by {about['package']} (MONAI {about['monai']}, PyTorch {about['torch']}) on {about['date']}"
    bundles = [_bundle(name, bundle, settings) for name, bundle in about.get("bundles", {}).items()]
    uses = {str(bundle["intended_use"]) for bundle in about.get("bundles", {}).values() if bundle.get("intended_use")}
    terms = "The terms of the data that the samples were made from apply to what is taken from them as well."
    files = "settings.json holds all settings, manifest.jsonl a line for each sample, datalist.json what to train on."
    paragraphs = [*facts, f"{made}.", *bundles, *sorted(uses), terms, files]
    return "\n\n".join([f"{title}\n{'=' * len(title)}", *(fill(text, WIDTH) for text in paragraphs)]) + "\n"


def _bundle(name: str, about: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    weights = settings["weights"]
    digest = weights[name] if isinstance(weights, Mapping) else weights
    record = (settings.get("training") or {}).get(name)
    trained = "trained on unknown data"
    if record:
        sets = ", ".join(record["datasets"])
        trained = f"trained on {sets} ({record['eyes']} eyes, fingerprint {record['fingerprint']})"
    return (
        f"Bundle {name} {about['version']}, {about['weights']} weights (SHA-256 {digest}), {trained}. "
        f"Licence of code and weights: {about['licence']}. Data: {about['data_source']}."
    )
