"""``python -m comparison DATA OUTPUT [METHOD ...]``, called by scripts/two_stage.sh: all steps before the page."""

from __future__ import annotations

from pathlib import Path

import fire

from comparison.methods import METHODS
from comparison.running import ROOT, measure, train
from comparison.showing import show
from retina_monai.errors import RetinaError

REPORTS = ROOT / "docs" / "two_stage"


def main(data: str, output: str, *methods: str, reports: str = str(REPORTS)) -> None:
    """Train and measure methods. Without names of methods, all are run, followed by timings and pictures.

    Args:
        data: folder of the data sets.
        output: folder for trainings and sets, with one folder per method.
        methods: names of methods.
        reports: folder for reports, with one folder per method; pictures go to ``images`` next to it.
    """
    if unknown := sorted(set(methods) - set(METHODS)):
        raise RetinaError(f"there is no method {unknown[0]}: give {', '.join(METHODS)}")
    sets, work, pages = Path(data).resolve(), Path(output).resolve(), Path(reports).resolve()
    for name in methods or METHODS:
        train(METHODS[name], sets, work, work / name)
        measure(METHODS[name], sets, work / name, pages / name)
    if not methods:
        show(sets, work, list(METHODS), pages, pages.parent / "images")


if __name__ == "__main__":
    try:
        fire.Fire(main)
    except RetinaError as error:
        raise SystemExit(f"error: {error}") from error
