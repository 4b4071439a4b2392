"""The page of the comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill

from comparison import tables, words
from comparison.figures import Results, read_results
from comparison.methods import DATASETS, METHODS

CONCLUSION = "conclusion.md"


def page(root: Path) -> str:
    """Text of the page, from the reports of the methods and the manually written ``conclusion.md``.

    Args:
        root: folder of ``bundles`` and ``docs``.

    Raises:
        RetinaError: a report is missing.
    """
    results = read_results(root)
    return TEMPLATE.format(
        methods="\n".join(paragraph(f"- **{found.title}**: {found.about}", "  ") for found in METHODS.values()),
        training=paragraph(TRAINING.format(weights="; ".join(weights(results)))),
        judging=paragraph(JUDGING.format(judge=tables.first(results).of("test", DATASETS[0], "faithfulness")["judge"])),
        conclusion=(root / "docs" / "two_stage" / CONCLUSION).read_text(encoding="utf-8").strip(),
        **{part: table(results) for part, table in PARTS.items()},
    )


PARTS: Mapping[str, Callable[[Mapping[str, Results]], str]] = {
    "cost": tables.cost,
    "faithfulness": tables.faithfulness,
    "sensitivity": tables.sensitivity,
    "realism": tables.realism,
    "spectra": tables.spectra,
    "likeness": tables.likeness,
    "outcome": words.outcome,
}


def paragraph(text: str, indent: str = "") -> str:
    return fill(text, 118, subsequent_indent=indent, break_on_hyphens=False)


def weights(results: Mapping[str, Results]) -> list[str]:
    """SHA-256 of the weights of each method, of a chain those of its bundles."""
    parts = []
    for name, found in results.items():
        used = found.reports[f"test_{DATASETS[0]}"]["compared"]["synthetic"]["generator"]["weights"]
        digests = used.values() if isinstance(used, dict) else [used]
        parts.append(f"{METHODS[name].title} {' and '.join(digest[:12] for digest in digests)}")
    return parts


TRAINING = (
    "Both methods use their released weights (SHA-256: {weights}), trained on the same eyes, first at 256 px and then "
    "at 512 px. Their cards describe the trainings and how the weights were chosen. Each method was trained once, so "
    "the intervals do not include the variation between seeds. Each method generates two sets per data set at 512 px, "
    "with the discs that `unet_disc` finds in the photographs:"
)

JUDGING = (
    "`python -m retina_monai evaluate` ([evaluation.md](evaluation.md)) makes the reports. The judge is {judge}, which "
    "was trained on real photographs of the same training eyes. Brackets hold 95 % intervals over patients unless "
    "stated otherwise. All methods are measured on the same eyes, so overlapping intervals may hide a difference."
)

TEMPLATE = """# Vessels first, then the rest: does it hold?

This page tests a claim: a network that paints a whole photograph around a vessel map, as plain pix2pix and diffusion
do, blurs or bends the vessels, whereas painting the vessels first and everything else around them preserves them. Two
methods trained on the same eyes are compared at 512 px:

{methods}

![Vessel map, what each method makes of it, real photograph](images/two_stage.png)

*Two test eyes each of CHASE_DB1 (Fraz et al. 2012), HRF (Budai et al. 2013) and FIVES (Jin et al. 2022), CC BY 4.0,
cropped to the field of view and scaled down. The generated photographs have the appearance of the real eye, a
texture like its own, and the disc that `disc_from_vessels` finds in the map.*

## How it was done

{training}

- *Test maps*: the vessel maps of the test eyes, painted with the average appearance of the set's training eyes.
- *Warped maps*: the vessel maps of the training eyes, each warped three times and painted with the appearance of a
  training eye drawn by the seed.

All photographs get colours and a random texture in the same way, as `synthesize` adds them by default. The
sensitivity test is without texture.

{judging}

{cost}

Seconds are processor time for one photograph: the median over the test eyes, on one core, with the methods in turns
and without reading and writing. They differ on another machine, but their ratio stays about the same.

Everything on this page except the conclusion is made by

    python scripts/two_stage.py --data DATA

from the reports that the release scripts write. Without `--data`, only the tables are made again. To compare another
method, add an entry to `scripts/comparison/methods.py`.

## Are the vessels of the map in the photograph?

The table compares what the judge finds in photographs of test maps with the map. Real photographs of these eyes show
how much of a map drawn by a person a photograph can be expected to show. Betti errors are differences in the number
of connected components (0) and of holes (1).

{faithfulness}

## Does a branch go from the photograph when it goes from the map?

Branches are removed from the input of the generator, one at a time, and the photograph is generated again.

- *Shown*: the judge detects the branch before (for real photographs: the share of all such branches).
- *Gone*: the judge detects it before and not after.
- *Nothing else*: the rest of the photograph does not change.
- *Gone alone*: all three, with an interval, and then separately for thin, medium and wide branches.

{sensitivity}

## Do the photographs look real?

KID compares photographs of warped maps with real ones of other patients, N of each, where N is half of the real set.
The rows of real photographs give the floor: one half against the other, with no patient in both. With so few
photographs the standard errors are large.

{realism}

## Do they have detail of each size?

The table summarises the mean power spectrum of the luminance inside the field of view, of photographs of test maps
(with the colours of the real ones) over real ones: the share of frequency rings within 25 %, and the lowest and
highest ratio. For comparison, other real eyes of the same set are measured against one of them.

{spectra}

## Are they like the real photographs of the same maps?

Photographs of test maps are compared inside the field of view, with the colours of the real ones and as they are. A
vessel map does not determine a photograph, so the scores of another real eye are given for comparison.

{likeness}

## What came out

{outcome}

## Conclusion

{conclusion}
"""
