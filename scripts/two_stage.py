"""Write docs/two_stage.md from the reports of the methods: ``python scripts/two_stage.py docs/two_stage``."""

from __future__ import annotations

from pathlib import Path

import fire
from comparison.page import page

from retina_monai.errors import RetinaError
from retina_monai.files import write_text

PAGE = Path(__file__).resolve().parents[1] / "docs" / "two_stage.md"


def main(reports: str, output: str = str(PAGE)) -> None:
    """Write the page.

    Args:
        reports: folder with one folder per method (``test_SET.json``, ``warped_SET.json``, ``minutes.json``,
            ``seconds.json``) and the manually written ``conclusion.md``.
        output: file of the page.
    """
    write_text(output, page(Path(reports)))
    print(f"wrote {output}")


if __name__ == "__main__":
    try:
        fire.Fire(main)
    except RetinaError as error:
        raise SystemExit(f"error: {error}") from error
