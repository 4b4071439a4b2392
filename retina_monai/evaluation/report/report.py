"""The report on a synthetic set: ``index.html`` to read, ``report.json`` for computation, and a run of MLflow."""

from __future__ import annotations

import inspect
import json
import logging
import platform
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from retina_monai import __version__
from retina_monai.bundle import digest
from retina_monai.data.listing.layout import Item
from retina_monai.errors import RetinaError, counted
from retina_monai.evaluation.families.registry import (
    FAMILIES,
    QUESTIONS,
    NotAtHandError,
    Task,
    Tools,
    grey_section,
    sentence,
)
from retina_monai.evaluation.measuring.eye_set import (
    EyeSet,
    Place,
    list_real,
    list_synthetic,
    read_settings,
    refuse_real,
)
from retina_monai.evaluation.report.kept import as_plain, code_digest, key_of, read_section, write_section
from retina_monai.evaluation.report.mlflow_run import ReportRun
from retina_monai.evaluation.report.page import write_page
from retina_monai.evaluation.report.section import Section
from retina_monai.files import FolderLock, make_folder, write_json
from retina_monai.progress import progress
from retina_monai.settings import check_path, check_settings, expand_home
from retina_monai.synthesis import Chain

__all__ = ["describe_answers", "evaluate"]

logger = logging.getLogger("retina_monai")

MODES = ("quick", "full", "thorough")
MARK = "retina_monai evaluation"
SMALLEST = 32  # side in pixels; below it, vessels disappear
PACKAGES = ("torch", "monai", "pytorch-ignite", "numpy", "scipy", "scikit-image", "pillow", "matplotlib", "mlflow")
WORDS = {"green": "good", "amber": "with reservations", "red": "not good", "grey": "not judged"}
PHANTOM = "phantom/"


def evaluate(
    synthetic_dir: str | Path,
    real_dir: Place,
    output_dir: str | Path,
    *,
    mode: str = "quick",
    size: int = 256,
    seed: int = 0,
    families: str | Sequence[str] = "all",
    judge: str | Path | None = None,
    encoder: str | Path | None = None,
    inception_weights: str | Path | None = None,
    skip_unreadable: bool = False,
    cache_dir: str | Path | None = None,
    mlflow: bool = True,
    tracking_uri: str | None = None,
    generator: str | Path | Chain | None = None,
    trust: bool = False,
    external_dir: Place | None = None,
) -> Path:
    """Compare a synthetic set with a real one and write the report.

    Finished families are cached under the sets, settings, networks and code on which their figures depend. The same
    call therefore resumes an interrupted evaluation, and a repeated one is quick. Only one process at a time may write
    to ``output_dir``.

    Args:
        synthetic_dir: a set written by this project, a folder of a known layout, or a folder of photographs.
        real_dir: one real set or several.
        output_dir: folder for ``index.html``, ``report.json``, ``pictures``, ``cache`` and MLflow's store.
        mode: how much is trained to measure usefulness: ``quick`` (nothing, so it is not judged), ``full`` (half an
            hour on one core) or ``thorough`` (for a GPU).
        size: side in pixels to which both sets are resized.
        seed: seed of all random draws.
        families: names of :data:`FAMILIES`, or ``all``.
        judge: weights of the vessel segmentation network; ``None`` for the released ones.
        encoder: weights of the retina encoder; ``None`` for the released ones.
        inception_weights: weights of Inception-v3, which adds its FID and KID to the encoder's.
        skip_unreadable: leave out eyes with broken files; the report counts and lists them.
        cache_dir: folder for prepared eyes, finished families and trained networks; ``None`` for ``cache`` in
            ``output_dir``. Reports on the same real set that share it train the networks on real eyes only once.
        mlflow: whether to log to MLflow.
        tracking_uri: a server or database; ``None`` for SQLite in ``output_dir``. The environment variable
            ``MLFLOW_TRACKING_URI`` takes precedence.
        generator: the bundle or chain that made the synthetic set, or its path, if it is not a released one of this
            library. Faithfulness generates photographs with it.
        trust: whether a ``generator`` from elsewhere may run its code.
        external_dir: one real set or several, of another camera, on which the networks that measure usefulness are
            tested too. Patients on whom the generator was trained are left out.

    Returns:
        ``output_dir``.

    Raises:
        RetinaError: a setting is out of range; a set is unreadable or has fewer than two photographs; both sets are
            the same; given weights cannot be loaded; ``output_dir`` has other content or is in use; MLflow cannot be
            reached.
    """
    chosen = _chosen(families)
    explicit = [] if chosen == list(FAMILIES) else chosen
    options = {
        "families": ",".join(explicit) or "all",
        "judge": judge,
        "encoder": encoder,
        "inception_weights": inception_weights,
        "skip_unreadable": skip_unreadable,
        "cache_dir": cache_dir,
        "mlflow": mlflow,
        "tracking_uri": tracking_uri and re.sub("(?<=//)[^/@]+@", "", str(tracking_uri)),
        "generator": _place_of(generator),
        "trust": trust,
        "external_dir": external_dir,
    }
    _check(mode, size, seed)
    for key, value in {
        "synthetic_dir": synthetic_dir,
        "real_dir": real_dir,
        "output_dir": output_dir,
        "judge": judge,
        "encoder": encoder,
        "inception_weights": inception_weights,
        "cache_dir": cache_dir,
        "external_dir": external_dir,
    }.items():
        _check_path(key, value, optional=key not in ("synthetic_dir", "real_dir", "output_dir"))
    places = synthetic_dir, real_dir
    folder = Path(expand_home(output_dir))
    cache = folder / "cache" if cache_dir is None else Path(expand_home(cache_dir))
    synthetic_dir, real_dir = expand_home(synthetic_dir), expand_home(real_dir)
    judge, encoder, inception_weights = map(expand_home, (judge, encoder, inception_weights))
    external_place, external_dir = external_dir, expand_home(external_dir)
    _refuse_folders(folder, cache, [synthetic_dir, *_as_list(real_dir), *_as_list(external_dir or [])])
    real = list_real(real_dir)
    external = None if external_dir is None else list_real(external_dir)
    synthetic = list_synthetic(synthetic_dir, real)
    tools = Tools(judge, encoder, inception_weights, read_settings(synthetic_dir), generator, trust)
    tools.load(explicit)
    run = ReportRun(folder, tracking_uri) if mlflow else None
    with _taken(folder):
        sets = _read_sets(cache, places[0], synthetic, places[1], real, size, skip_unreadable)
        others = None
        if external is not None and external_place is not None:
            others = EyeSet(external_place, external, size, cache / "eyes", skip_unreadable)
        task = Task(*sets, tools, mode, size, seed, cache, others)
        asked = {key: None if key not in chosen else key in explicit for key in FAMILIES}
        sections = []
        with progress(title="evaluating", unit="question", total=len(FAMILIES)) as bar:
            for key in FAMILIES:
                bar.set_description_str(f"evaluating {key}")
                sections.append(_section(key, asked[key], task))
                bar.update()
        settings = {"mode": mode, "size": size, "seed": seed, "families": chosen, "skip_unreadable": skip_unreadable}
        report = _report(task, [_published(section, folder) for section in sections], settings, _not_default(options))
        write_json(folder / "report.json", report)
        write_page(report, folder)
        if run is not None:
            run.log(report)
    return folder


def describe_answers(output_dir: str | Path) -> str:
    """The four answers of a written report, one line each.

    Raises:
        RetinaError: there is no report.
    """
    report = _read_report(Path(output_dir) / "report.json")
    if report is None:
        raise RetinaError(f"{output_dir} contains no report: write one with python -m retina_monai evaluate")
    answers = {key: report["sections"][key] for key in QUESTIONS}
    return "\n".join(f"{key:<13} {WORDS[answer['light']]}: {answer['answer']}" for key, answer in answers.items())


def _chosen(families: str | Sequence[str]) -> list[str]:
    given = list(families) if isinstance(families, list | tuple) else str(families).split(",")
    names = [name for name in (str(name).strip() for name in given) if name]
    if names == ["all"]:
        return list(FAMILIES)
    if not names or (unknown := [name for name in names if name not in FAMILIES]):
        found = ", ".join(unknown) if names else "empty"
        raise RetinaError(f"families must be all, or some of {', '.join(FAMILIES)}, got {found}")
    return [key for key in FAMILIES if key in names]


def _check(mode: str, size: int, seed: int) -> None:
    if mode not in MODES:
        raise RetinaError(f"mode must be {', '.join(MODES[:-1])} or {MODES[-1]}, got {mode!r}")
    check_settings({"size": size, "seed": seed})
    if size < SMALLEST:
        raise RetinaError(f"size must be at least {SMALLEST} pixels, got {size}")


def _check_path(key: str, value: Any, optional: bool) -> None:
    if value is None and not optional:
        raise RetinaError(f"{key} is missing: give one with --{key} DIR")
    for path in value if isinstance(value, list | tuple) else [value]:
        if path is not None and (not isinstance(path, str | Path) or not str(path).strip()):
            check_path(key, path)
            raise RetinaError(f"{key} must be a path, got {path!r}")


def _refuse_folders(folder: Path, cache: Path, sets: Sequence[str | Path]) -> None:
    """Refuse to write into a folder of a set or to overwrite files of other origin."""
    places = {Path(place).resolve() for place in sets}
    for key, path in {"output_dir": folder, "cache_dir": cache}.items():
        if path.resolve() in places:
            raise RetinaError(f"{key} {path} is one of the sets: give another folder")
    found = [name for name in ("index.html", "report.json") if (folder / name).exists()]
    if found and _read_report(folder / "report.json") is None:
        raise RetinaError(f"{folder / found[0]} was not written by an evaluation: give another --output_dir")


def _as_list(place: Place) -> Sequence[str | Path]:
    return [place] if isinstance(place, str | Path) else place


def _read_report(path: Path) -> dict[str, Any] | None:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and report.get("what") == MARK else None


@contextmanager
def _taken(folder: Path) -> Iterator[None]:
    """Lock the folder. If the evaluation is refused, remove what it created."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    had_cache = (folder / "cache").exists()
    lock = FolderLock(folder)
    try:
        yield
    except RetinaError:
        if not had_cache and not _is_begun(folder):
            shutil.rmtree(folder / "cache", ignore_errors=True)
        raise
    finally:
        lock.release()
        for path in missing:
            _remove_empty(path)


def _is_begun(folder: Path) -> bool:
    """Whether a family has started or finished."""
    return any((folder / "cache").glob("*/*/section.json")) or any((folder / "cache" / "sections").glob("*"))


def _remove_empty(path: Path) -> None:
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()


def _read_sets(
    cache_dir: Path,
    synthetic_dir: str | Path,
    synthetic: list[Item],
    real_dir: Place,
    real: list[Item],
    size: int,
    skip_unreadable: bool,
) -> tuple[EyeSet, EyeSet]:
    cache = make_folder(cache_dir / "eyes")
    of_real = EyeSet(real_dir, real, size, cache, skip_unreadable)
    of_synthetic = EyeSet(synthetic_dir, synthetic, size, cache, skip_unreadable)
    refuse_real(of_synthetic, of_real)
    return of_synthetic, of_real


def _section(key: str, by_name: bool | None, task: Task) -> Section:
    """A finished section, from the cache or measured now.

    Args:
        key: the family.
        by_name: whether the user requested it by name rather than by ``all``; ``None`` if it was not requested.
        task: the evaluation.

    Raises:
        RetinaError: it was requested by name, and something it needs is missing.
    """
    if by_name is None:
        return grey_section(key, "Not requested in this evaluation.")
    family = FAMILIES[key]
    try:
        depends = {
            "family": key,
            "code": code_digest(),
            "versions": _versions(),
            "synthetic": task.synthetic.fingerprint,
            "real": task.real.fingerprint,
            "size": task.size,
            **family.depends(task),
        }
        folder = make_folder(task.cache_dir / "sections" / f"{key}-{key_of(depends)}")
        kept = read_section(folder)
        if kept is None:
            write_section(family.measure(task, folder), folder)
            kept = read_section(folder)
        assert kept is not None, f"{folder} was written but cannot be read"
        return kept
    except NotAtHandError as error:
        if by_name:
            raise
        return grey_section(key, f"{sentence(str(error))}.")


def _published(section: Section, folder: Path) -> dict[str, Any]:
    """A section as JSON data, with its pictures copied to ``pictures``."""
    pictures = []
    for picture in section.pictures:
        path = Path("pictures") / f"{section.key}_{picture.path.name}"
        make_folder(folder / "pictures")
        shutil.copyfile(picture.path, folder / path)
        pictures.append({"title": picture.title, "path": str(path), "caption": picture.caption})
    return {
        "key": section.key,
        "question": FAMILIES[section.key].question if section.light == "grey" else section.question,
        "light": section.light,
        "answer": _without_light(section.answer),
        "notes": list(section.notes),
        "figures": section.figures,
        "tables": [vars(table) for table in section.tables],
        "pictures": pictures,
    }


def _not_default(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of :func:`evaluate` with a value other than the default."""
    parameters = inspect.signature(evaluate).parameters
    return {key: value for key, value in options.items() if value != parameters[key].default}


def _place_of(generator: str | Path | Chain | None) -> str | None:
    """The value of ``--generator`` that finds it again."""
    if isinstance(generator, Chain):
        return str(generator.root if len(generator.bundles) == 1 else generator.root.parent / generator.name)
    return None if generator is None else str(generator)


def _report(
    task: Task, sections: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    by_key = {section["key"]: {key: section[key] for key in section if key != "key"} for section in sections}
    answers = {key: {name: by_key[key][name] for name in ("question", "light", "answer")} for key in QUESTIONS}
    report = {
        "what": MARK,
        "answers": answers,
        "compared": {
            "synthetic": task.synthetic.about() | {"conditions": _conditions(task), "generator": _generator(task)},
            "real": task.real.about(),
            **({} if task.external is None else {"external": task.external.about()}),
        },
        "notes": _notes(task),
        "settings": settings,
        "options": options,
        "networks": _networks(task, by_key),
        "versions": _versions() | {"code": code_digest()},
        "sections": by_key,
    }
    return dict(as_plain(report))


def _generator(task: Task) -> dict[str, Any]:
    """The settings saved by the generator, without the list of its training patients."""
    settings = dict(task.tools.settings)
    for bundle, record in settings.get("training", {}).items():
        about = {key: value for key, value in (record or {}).items() if key != "patients"}
        settings["training"] = settings["training"] | {bundle: about or None}
    return settings


def _conditions(task: Task) -> dict[str, int]:
    """Numbers of synthetic eyes by the split of the real eyes from which they were made."""
    splits = {item["patient"]: item["split"] for item in task.real.items}
    return dict(Counter(_origin(item, splits) for item in task.synthetic.items).most_common())


def _origin(item: Item, splits: Mapping[str, str]) -> str:
    condition = item.get("condition")
    if condition is None:
        return "unknown"
    if condition["patient"].startswith(PHANTOM):
        return "phantoms"
    split = splits.get(condition["patient"], "")
    return f"{split} eyes{', warped' * condition['augmented']}" if split else "eyes of other sets"


def _notes(task: Task) -> list[str]:
    """Notes on the sets."""
    return [
        note for eyes, name in ((task.synthetic, "synthetic"), (task.real, "real")) for note in _set_notes(eyes, name)
    ]


def _set_notes(eyes: EyeSet, name: str) -> list[str]:
    sides = [tuple(map(int, text.split(" x "))) for text in eyes.sizes]
    first = ", ".join(list(eyes.sizes)[:3])
    square = f"{eyes.size} x {eyes.size}"
    notes = []
    if any(min(side) < eyes.size for side in sides):
        notes.append(
            f"Some {name} photographs ({first}) are smaller than the {square} pixels at which "
            "the sets are compared. They were enlarged and look softer than they are."
        )
    elif name == "synthetic" and sides != [(eyes.size, eyes.size)]:
        notes.append(
            f"The {name} photographs have {first} pixels and were reduced to {square}. Finer detail was not judged."
        )
    if len(sides) > 1:
        notes.append(f"The {name} photographs have {len(sides)} sizes. Each was resized to {square} pixels by area.")
    if eyes.left_out:
        names = ", ".join(eyes.left_out[:10]) + ", ..." * (len(eyes.left_out) > 10)
        verbs = "could not be read and was", "could not be read and were"
        eyes_left = counted(len(eyes.left_out), f"{name} eye", *verbs)
        notes.append(f"{eyes_left} left out: {names}.")
    return notes


def _networks(task: Task, sections: Mapping[str, Any]) -> dict[str, Any]:
    """Names, with version or digest, of the networks that were used; ``None`` for those that were not."""
    given = {key: {"path": str(path), "sha256": digest(path)} for key, path in task.tools.paths.items() if path}
    return {
        "judge": _at_hand(lambda: task.tools.judge[1], sections["faithfulness"]),
        "extractors": _at_hand(lambda: list(task.tools.extractors), sections["distribution"], sections["privacy"]),
        "generator": _at_hand(lambda: str(task.tools.painter or "") or None, sections["faithfulness"]),
        "given": given,
    }


def _at_hand(name: Callable[[], Any], *sections: Mapping[str, Any]) -> Any:
    try:
        return name() if any(section["figures"] for section in sections) else None
    except NotAtHandError:
        return None


def _versions() -> dict[str, str]:
    return {"retina_monai": __version__, "python": platform.python_version()} | {
        package: found for package in PACKAGES if (found := _version(package))
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _without_light(answer: str) -> str:
    """An answer without the words that repeat its light."""
    return sentence(answer.removeprefix("Not judged:").strip())
