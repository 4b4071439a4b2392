"""Find bundles, check their configs, and load and release their weights."""

from functools import partial

from retina_monai.bundle.checks import check_config, check_eyes, check_networks, check_size
from retina_monai.bundle.find import (
    REPOSITORY,
    bundle_names,
    digest,
    find_bundle,
    find_bundle_root,
    is_bare,
    new_run_folder,
    run_folder,
    weights_of,
)
from retina_monai.bundle.formats import bundle_kinds, network_input, network_output
from retina_monai.bundle.in_use import ConfigInUse, config_in_use
from retina_monai.bundle.provenance import set_settings
from retina_monai.bundle.publish import release
from retina_monai.bundle.weights import load_network, load_network_of, start_network
from retina_monai.data.sets.appearances import load_appearances

# Names used by earlier configs, kept for copies of bundles.
check_patch = partial(check_size, key="patch")
start_control = start_network

__all__ = [
    "REPOSITORY",
    "ConfigInUse",
    "bundle_kinds",
    "bundle_names",
    "check_config",
    "check_eyes",
    "check_networks",
    "check_size",
    "config_in_use",
    "digest",
    "find_bundle",
    "find_bundle_root",
    "is_bare",
    "load_appearances",
    "load_network",
    "load_network_of",
    "network_input",
    "network_output",
    "new_run_folder",
    "release",
    "run_folder",
    "set_settings",
    "start_network",
    "weights_of",
]
