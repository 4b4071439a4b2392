"""The document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill

from comparison import tables, words
from comparison.figures import Results, read_results
from comparison.methods import DATASETS, METHODS

CONCLUSION = "conclusion.md"


def page(folder: Path) -> str:
    """Made of the reports in a folder, and of ``conclusion.md`` in it, which is written by hand.

    Raises:
        RetinaError: a report is missing.
    """
    results = read_results(folder)
    sizes = [group(results, size) for size in sorted({METHODS[name].size for name in results})]
    path = folder / CONCLUSION
    conclusion = path.read_text(encoding="utf-8").strip() if path.is_file() else "Not drawn yet."
    return TEMPLATE.format(
        methods="\n".join(fill(f"- **{title}**: {about}", 118) for title, about in told(results).items()),
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
    """Of the methods of one size."""
    return {name: found for name, found in results.items() if METHODS[name].size == size}


def size_of(results: Mapping[str, Results]) -> int:
    return METHODS[next(iter(results))].size


def at_size(table: Callable[[Mapping[str, Results]], str], results: Mapping[str, Results]) -> str:
    return f"At {size_of(results)} px:\n\n{table(results)}"


def told(results: Mapping[str, Results]) -> dict[str, str]:
    """Of each method, which there may be at several sizes, the sentence about it."""
    return {METHODS[name].title: METHODS[name].about for name in results}


def training_eyes(results: Mapping[str, Results]) -> int:
    found = tables.first(results).reports
    return sum(found[f"test_{dataset}"]["compared"]["real"]["splits"]["training"] for dataset in DATASETS)


def released(results: Mapping[str, Results]) -> str:
    """Which methods were not trained for this page."""
    generators = [METHODS[name].generator for name in results if not METHODS[name].trainings]
    scripts = (f"`scripts/release_{name}.sh` trained `{name}`, whose released weights are used." for name in generators)
    return "".join(f" {script}" for script in scripts)


def judge(results: Mapping[str, Results]) -> str:
    name: str = tables.first(results).of("test", DATASETS[0], "faithfulness")["judge"]
    return name


PICTURE = "![{size} px: vessel map, what each method makes of it, real photograph](images/two_stage_{size}.png)"

TRAINING = (
    "All networks learned from 300 phantoms, or from the {eyes} training eyes of CHASE_DB1, HRF and FIVES together, "
    "or from both, with seed 0.{released} The table gives the processor minutes of the others. The weights are those "
    "of the last epoch, or of the best of several validations on the eyes of the validation split, by the judge named "
    "below and KID. No weights were chosen by the figures of this page. Each method was trained once, so the "
    "intervals do not include the variation between seeds. For each method and data set:"
)

TEMPLATE = """# Vessels first, then the rest: does it hold?

The claim: a network that paints a whole photograph around a vessel map, as plain pix2pix and diffusion do, blurs or
bends the vessels that it is conditioned on; painting the vessels first, and then everything around them, keeps them.
Two methods that were trained on the same eyes are compared here:

{methods}

All of this page but its conclusion is made by

    scripts/two_stage.sh DATA

which trains the networks of the two-stage method, paints, evaluates, and writes the tables from the reports in
[two_stage](two_stage) (`python scripts/two_stage.py docs/two_stage` alone). Another method is another entry of
`scripts/comparison/methods.py`.

{pictures}

*Two test eyes of CHASE_DB1 (Fraz et al. 2012), HRF (Budai et al. 2013) and FIVES (Jin et al. 2022) each, CC BY 4.0,
cropped to the field of view and scaled down, beside what the methods make of their vessel maps with the real eye's
appearance and a texture like its own.*

## How it was done

{training}

- *Test maps*: the vessel maps of the test eyes, painted with the average appearance of the set's training eyes.
- *Warped maps*: those of the training eyes, each warped three times, painted with the appearance of one of them,
  drawn by the seed.

All photographs get colours and a random texture in the same way, as `synthesize` adds them by default. The sensitivity
test is without texture.

`python -m retina_monai evaluate` ([evaluation.md](evaluation.md)) measures both at their size. The judge is {judge},
trained on real photographs of the same training eyes; it also selected the epochs. Brackets hold 95 % intervals over
patients unless stated otherwise. All methods are measured on the same eyes, so overlapping intervals may hide a
difference.

{cost}

Seconds of processor time too: median over the test eyes of one photograph at a time, on one core, the methods in turns,
reading and writing left out; on another machine they are others, and their ratio about the same.

## Are the vessels of the map in the photograph?

What the judge finds in photographs of test maps, against the map; and in the real photographs of these eyes, which is
as much as a photograph can be expected to show of a map that a person drew. Betti errors: difference in the number of
connected parts (0) and of holes (1).

{faithfulness}

## Does a branch go from the photograph when it goes from the map?

Branches are removed from what the generator is given, one at a time, and the photograph is painted again. *Shown*: the
judge sees the branch before (in real photographs: of all such branches). *Gone*: and not after. *Nothing else*: the
rest of the photograph stayed. *Gone alone*: all three, with its interval; then of thin, medium and wide branches.

{sensitivity}

## Do the photographs look real?

KID of photographs around warped maps against real ones of other patients, N of each, which is half of the real set;
below, the floor: one half against the other, of other patients. Few photographs, hence large standard errors.

{realism}

## Do they have detail of each size?

Mean power spectrum of the luminance inside the field of view, photographs of test maps (with the real ones' colours)
over real, ring by ring of frequencies: share of rings within 25 %, lowest and highest ratio; below, what other real
eyes of the same set get, each held against one of them.

{spectra}

## Are they like the real photographs of the same maps?

Of test maps, inside the field of view, after each was given the real one's colours, and as it is. A vessel map does
not determine a photograph: below, what another real eye gets.

{likeness}

## Are they of use?

Dice on real test eyes of a network that learned vessels from photographs around warped maps, from the real training
eyes with as many steps, and from both (mode `full`).

{use}

## What came out

{outcome}

## Conclusion

{conclusion}
"""
