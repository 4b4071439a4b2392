"""Write docs/two_stage.md, the comparison of two-stage and direct generation with released weights.

    python scripts/two_stage.py [--data DATA]

The tables come from the reports in ``bundles/*/docs/reports``, which the release scripts write. With DATA, the folder
of CHASE_DB1, HRF and FIVES, the picture and the seconds per photograph are made again, on one core.
"""

from __future__ import annotations

from pathlib import Path

import fire
from comparison.page import page
from comparison.showing import show

from retina_monai.errors import RetinaError
from retina_monai.files import write_text

ROOT = Path(__file__).resolve().parents[1]


def main(data: str | None = None, root: str = str(ROOT)) -> None:
    """Write the page.

    Args:
        data: folder of the data sets, to make the picture and the seconds again.
        root: folder of ``bundles`` and ``docs``.
    """
    notes = Path(root) / "docs" / "two_stage"
    if data is not None:
        show(Path(data), notes, notes.parent / "images" / "two_stage.png")
    write_text(notes.with_suffix(".md"), page(Path(root)))
    print(f"wrote {notes.with_suffix('.md')}")


if __name__ == "__main__":
    try:
        fire.Fire(main)
    except RetinaError as error:
        raise SystemExit(f"error: {error}") from error
