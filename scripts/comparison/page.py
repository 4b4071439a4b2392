"""The page of the comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill

from comparison import tables, words
from comparison.figures import Results, read_results
from comparison.methods import DATASETS, METHODS

CONCLUSION = "conclusion.md"


def page(folder: Path) -> str:
    """Text of the page, from the reports in a folder and its manually written ``conclusion.md``.

    Raises:
        RetinaError: a report is missing.
    """
    results = read_results(folder)
    sizes = [group(results, size) for size in sorted({METHODS[name].size for name in results})]
    path = folder / CONCLUSION
    conclusion = path.read_text(encoding="utf-8").strip() if path.is_file() else "Not drawn yet."
    return TEMPLATE.format(
        methods="\n".join(fill(f"- **{title}**: {about}", 118) for title, about in descriptions(results).items()),
        pictures="\n\n".join(PICTURE.format(size=size_of(found)) for found in sizes),
        training=fill(
            TRAINING.format(
                eyes=training_eyes(results),
                released=released(results),
            ),
            118,
            break_on_hyphens=False,
        ),
        judge=judge(results),
        conclusion=conclusion,
        **{part: "\n\n".join(at_size(table, found) for found in sizes) for part, table in PARTS.items()},
    )


PARTS: Mapping[str, Callable[[Mapping[str, Results]], str]] = {
    "cost": tables.cost,
    "faithfulness": tables.faithfulness,
    "sensitivity": tables.sensitivity,
    "realism": tables.realism,
    "spectra": tables.spectra,
    "likeness": tables.likeness,
    "use": tables.use,
    "outcome": words.outcome,
}


def group(results: Mapping[str, Results], size: int) -> dict[str, Results]:
    """Results of the methods of one size."""
    return {name: found for name, found in results.items() if METHODS[name].size == size}


def size_of(results: Mapping[str, Results]) -> int:
    return METHODS[next(iter(results))].size


def at_size(table: Callable[[Mapping[str, Results]], str], results: Mapping[str, Results]) -> str:
    return f"At {size_of(results)} px:\n\n{table(results)}"


def descriptions(results: Mapping[str, Results]) -> dict[str, str]:
    """Title -> description of each method; a method may occur at several sizes."""
    return {METHODS[name].title: METHODS[name].about for name in results}


def training_eyes(results: Mapping[str, Results]) -> int:
    found = tables.first(results).reports
    return sum(found[f"test_{dataset}"]["compared"]["real"]["splits"]["training"] for dataset in DATASETS)


def released(results: Mapping[str, Results]) -> str:
    """Sentences on the generators that were not trained for this page."""
    sentences = ""
    for name, found in results.items():
        if not METHODS[name].trainings:
            generator = METHODS[name].generator
            weights = found.reports[f"test_{DATASETS[0]}"]["compared"]["synthetic"]["generator"]["weights"]
            sentences += (
                f" `scripts/release_{generator}.sh` trained `{generator}`, of which released weights are used (SHA-256 "
                f"{weights[:12]})."
            )
    return sentences


def judge(results: Mapping[str, Results]) -> str:
    name: str = tables.first(results).of("test", DATASETS[0], "faithfulness")["judge"]
    return name


PICTURE = "![{size} px: vessel map, what each method makes of it, real photograph](images/two_stage_{size}.png)"

TRAINING = (
    "All networks were trained with seed 0 on 300 phantoms, on the {eyes} training eyes of CHASE_DB1, HRF and FIVES "
    "together, or on both.{released} The table gives the processor minutes of the others. The weights are those of the "
    "last epoch, or of the best of several validations on the validation eyes, selected by the judge named below and "
    "KID. No weights were selected by the figures of this page. Each method was trained once, so the intervals do not "
    "include the variation between seeds. Each method generates two sets per data set:"
)

TEMPLATE = """# Vessels first, then the rest: does it hold?

This page tests a claim: a network that paints a whole photograph around a vessel map, as plain pix2pix and diffusion
do, blurs or bends the vessels, whereas painting the vessels first and everything else around them preserves them. Two
methods trained on the same eyes are compared:

{methods}

{pictures}

*Two test eyes each of CHASE_DB1 (Fraz et al. 2012), HRF (Budai et al. 2013) and FIVES (Jin et al. 2022), CC BY 4.0,
cropped to the field of view and scaled down. The generated photographs have the appearance of the real eye and a
texture like its own.*

## How it was done

{training}

- *Test maps*: the vessel maps of the test eyes, painted with the average appearance of the set's training eyes.
- *Warped maps*: the vessel maps of the training eyes, each warped three times and painted with the appearance of a
  training eye drawn by the seed.

All photographs get colours and a random texture in the same way, as `synthesize` adds them by default. The
sensitivity test is without texture.

`python -m retina_monai evaluate` ([evaluation.md](evaluation.md)) measures each method at its own size. The judge is
{judge}, which was trained on real photographs of the same training eyes and also selected the epochs. Brackets hold
95 % intervals over patients unless stated otherwise. All methods are measured on the same eyes, so overlapping
intervals may hide a difference.

{cost}

Seconds are processor time for one photograph: the median over the test eyes, on one core, with the methods in turns
and without reading and writing. They differ on another machine, but their ratio stays about the same.

Everything on this page except the conclusion is made by

    scripts/two_stage.sh DATA

It trains the networks of the two-stage method, generates and evaluates the sets, and writes the tables from the
reports in [two_stage](two_stage). `python scripts/two_stage.py docs/two_stage` only writes the page. To compare
another method, add an entry to `scripts/comparison/methods.py`.

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

## Are they of use?

The table gives Dice on real test eyes of a network trained to segment vessels on photographs of warped maps, on the
real training eyes with as many steps, and on both (mode `full`).

{use}

## What came out

{outcome}

## Conclusion

{conclusion}
"""
