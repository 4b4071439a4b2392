"""The command line: ``python -m retina_monai VERB``. What a verb needs is imported when it is called."""

from __future__ import annotations

from typing import Any

import fire

from retina_monai.console import install_excepthook
from retina_monai.errors import parse_switch

__all__ = ["main"]


def prepare(*directories: str, output: str = "datalist.json", overwrite: Any = False) -> str:
    """Print what data sets hold, per set and split, and write datalist.json.

    Args:
        directories: where the sets lie, as they were downloaded.
        output: the file to write.
        overwrite: true replaces a file that is there.
    """
    from retina_monai.data.prepare import prepare as run

    return run([str(directory) for directory in directories], str(output), parse_switch(overwrite, "overwrite"))


def list_layouts() -> str:
    """Print the layouts that are recognised, and how to get each data set."""
    from retina_monai.data.prepare import list_layouts as run

    return run()


def phantom(directory: str, count: int = 40, size: int = 512, seed: int = 0) -> str:
    """Write a set of phantoms: procedural fundus photographs with exact vessel maps, discs and cups.

    Args:
        directory: where to write; made if need be, never overwritten.
        count: how many eyes.
        size: pixels a side.
        seed: of the set.
    """
    from retina_monai.data.phantom import write_phantoms

    return f"{count} phantoms of {size} x {size} pixels in {write_phantoms(directory, count, size, seed)}"


def release(run_dir: str, bundle: str = "pix2pix_vessel") -> str:
    """Put the weights of a training into a bundle, in half precision, with the appearances of its training eyes.

    Args:
        run_dir: the training's output_dir.
        bundle: name or path.
    """
    from retina_monai.bundle import release as run

    return f"wrote {run(run_dir, bundle)}"


VERBS = {"prepare": prepare, "list": list_layouts, "phantom": phantom, "release": release}


def main() -> None:
    """Run the verb on the command line; a mistake ends with one sentence and exit status 1."""
    install_excepthook()
    fire.Fire(VERBS, name="retina_monai")


if __name__ == "__main__":
    main()
