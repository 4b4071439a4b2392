"""The families of measurements, with their needs and dependencies. Each is imported when it runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from retina_monai.errors import RetinaError, counted, join_first
from retina_monai.evaluation.families.faithfulness.painting import Painter, find_painter
from retina_monai.evaluation.families.privacy.trained_on import read_trained_on
from retina_monai.evaluation.measuring.eye import Extractor, Judge
from retina_monai.evaluation.measuring.eye_set import EyeSet
from retina_monai.evaluation.report.section import Section
from retina_monai.synthesis import Chain

__all__ = ["FAMILIES", "QUESTIONS", "Family", "NotAtHandError", "Task", "Tools", "grey_section", "sentence"]

REPOSITORY = Path(__file__).resolve().parents[3]
LEARNED = ("vessel", "disc")  # masks for usefulness, in order of preference


class NotAtHandError(RetinaError):
    """Something a family needs is missing through no fault of the user. Other families can still be measured."""


class Tools:
    """Networks for measurements, each loaded on first access.

    Args:
        judge: a checkpoint of the vessel segmentation network; ``None`` for the released one.
        encoder: a checkpoint of the retina encoder; ``None`` for the released one.
        inception_weights: weights of Inception-v3; ``None`` if the user has none.
        settings: settings saved by the generator of the synthetic set.
        generator, trust: as for :func:`retina_monai.evaluation.families.faithfulness.painting.find_painter`.
    """

    def __init__(
        self,
        judge: str | Path | None = None,
        encoder: str | Path | None = None,
        inception_weights: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        generator: str | Path | Chain | None = None,
        trust: bool = False,
    ) -> None:
        self.paths = {"judge": judge, "encoder": encoder, "inception_weights": inception_weights}
        self.settings = dict(settings or {})
        self.generator, self.trust = generator, trust

    def load(self, families: Collection[str] = ()) -> None:
        """Load the networks that the user or ``families`` require, so that errors occur before the long work.

        Raises:
            RetinaError: a network cannot be loaded.
        """
        if self.paths["judge"] is not None or "faithfulness" in families:
            _ = self.judge
        if self.generator is not None:
            _ = self.painter
        named = self.paths["encoder"] is not None or self.paths["inception_weights"] is not None
        if named or not {"distribution", "privacy"}.isdisjoint(families):
            _ = self.extractors

    @cached_property
    def judge(self) -> tuple[Judge, str]:
        """The judge and its name.

        Raises:
            NotAtHandError: the released weights are missing.
            RetinaError: the user's checkpoint cannot be loaded.
        """
        from retina_monai.evaluation.measuring.judge import load_judge

        return self._load(lambda: load_judge(self.paths["judge"]), "judge")

    @cached_property
    def disc_judge(self) -> tuple[Judge, str]:
        """The judge of discs and its name.

        Raises:
            NotAtHandError: the released weights are missing.
        """
        from retina_monai.evaluation.measuring.judge import load_disc_judge

        return self._load(load_disc_judge)

    @cached_property
    def extractors(self) -> dict[str, Extractor]:
        """Feature extractors by name, the retina encoder first.

        Raises:
            NotAtHandError, RetinaError: as for :attr:`judge`.
        """
        from retina_monai.evaluation.measuring.extractors import load_extractors

        return self._load(
            lambda: load_extractors(self.paths["encoder"], self.paths["inception_weights"]),
            "encoder",
            "inception_weights",
        )

    @cached_property
    def painter(self) -> Painter | None:
        """The generator of the synthetic set; ``None`` if it is not available."""
        return find_painter(self.settings, self.generator, self.trust)

    def _load(self, load: Callable[[], Any], *keys: str) -> Any:
        try:
            return load()
        except RetinaError as error:
            if any(self.paths[key] is not None for key in keys):
                raise
            raise NotAtHandError(str(error)) from error


@dataclass(frozen=True)
class Task:
    """The sets, tools and settings of an evaluation. ``external`` has eyes of another camera, for usefulness."""

    synthetic: EyeSet
    real: EyeSet
    tools: Tools
    mode: str
    size: int
    seed: int
    cache_dir: Path
    external: EyeSet | None = None


@dataclass(frozen=True)
class Family:
    """A family of measurements.

    Attributes:
        question: its question in plain words.
        depends: settings and networks on which its figures depend, besides the two sets.
        measure: function that writes pictures into a folder and returns the section.
    """

    question: str
    depends: Callable[[Task], dict[str, Any]]
    measure: Callable[[Task, Path], Section]


def grey_section(key: str, reason: str) -> Section:
    """A section that was not judged."""
    return Section(key, FAMILIES[key].question, "grey", reason, {})


def sentence(message: str) -> str:
    """An error message as the beginning of a sentence, without the path of this package."""
    plain = message.replace(f"{REPOSITORY}/", "")
    return plain[:1].upper() + plain[1:]


def _image(task: Task, folder: Path) -> Section:
    from retina_monai.evaluation.families.image.images import image_section

    return image_section(task.synthetic, task.real, output_dir=folder)


def _distribution(task: Task, folder: Path) -> Section:
    from retina_monai.evaluation.families.distribution.set_comparison import distribution_section

    extractors = task.tools.extractors
    how: dict[str, Any] = {"extractors": extractors, "size": task.size, "seed": task.seed}
    how["classify"] = task.mode != "quick"
    return distribution_section(task.synthetic, task.real, **how, output_dir=folder)


def _faithfulness(task: Task, folder: Path) -> Section:
    from retina_monai.evaluation.families.faithfulness.faithfulness import faithfulness_section

    judge, name, reason = _judge(task.tools)
    disc_judge, disc_name = _disc_judge(task.tools)
    how: dict[str, Any] = {
        "judge": judge,
        "judge_name": " and ".join(filter(None, [name, disc_name])),
        "disc_judge": disc_judge,
        "paint": task.tools.painter,
        "seed": task.seed,
    }
    section = faithfulness_section(task.synthetic, task.real, **how, output_dir=folder)
    return replace(section, answer=f"{section.answer} {reason}", notes=[*section.notes, reason]) if reason else section


def _judge(tools: Tools) -> tuple[Judge | None, str, str]:
    """The judge and its name, or the reason why there is none. Biomarkers are compared without a judge, too."""
    try:
        return *tools.judge, ""
    except NotAtHandError as error:
        return None, "", f"{sentence(str(error))}."


def _disc_judge(tools: Tools) -> tuple[Judge | None, str]:
    """The judge of discs and its name, if there is one."""
    try:
        return tools.disc_judge
    except NotAtHandError:
        return None, ""


def _privacy(task: Task, folder: Path) -> Section:
    from retina_monai.evaluation.families.privacy.privacy_section import privacy_section

    name, extractor = next(iter(task.tools.extractors.items()))
    trained = read_trained_on(task.tools.settings, task.real.items)
    how: dict[str, Any] = {"extractor": extractor, "extractor_name": name, "seed": task.seed}
    training, others = task.real.where(trained.training), task.real.where([not one for one in trained.training])
    return privacy_section(task.synthetic, training, others, **how, output_dir=folder, unjudged=trained.reason)


def _usefulness(task: Task, folder: Path) -> Section:
    from retina_monai.evaluation.families.usefulness.leaks import LeakError
    from retina_monai.evaluation.families.usefulness.usefulness import usefulness_section

    training, test = task.real.of_split("training"), task.real.of_split("test")
    _refuse_trained(task)
    how: dict[str, Any] = {"mode": task.mode, "seed": task.seed, "cache_dir": task.cache_dir / "trainings"}
    key = _learned(task.synthetic, training, test)
    if task.external is not None:
        how["external"] = _unseen(task.external, task.tools.settings)
    try:
        return usefulness_section(task.synthetic, training, test, **how, output_dir=folder, key=key)
    except LeakError as error:  # other families need conditions of test eyes
        raise NotAtHandError(str(error)) from error


def _unseen(external: EyeSet, settings: Mapping[str, Any]) -> EyeSet:
    """Eyes of the external set whose patients the generator was not trained on."""
    unseen = external.where([not trained for trained in read_trained_on(settings, external.items).training])
    if not len(unseen):
        raise NotAtHandError(
            f"the generator was trained on all patients of {external.place}: give another --external_dir"
        )
    return unseen


def _refuse_trained(task: Task) -> None:
    """Refuse test patients on whom the generator was trained."""
    trained = read_trained_on(task.tools.settings, task.real.items).training
    pairs = zip(task.real.items, trained, strict=True)
    if known := sorted({str(item["patient"]) for item, one in pairs if one and item["split"] == "test"}):
        raise NotAtHandError(
            f"the generator of {task.synthetic.place} was trained on {counted(len(known), 'test patient')} of the real "
            f"set ({join_first(known, 3)}): give a real set whose test patients it has not seen"
        )


def _learned(*sets: EyeSet) -> str:
    """The first kind of mask that all sets have; vessels if there is none."""
    return next((key for key in LEARNED if all(any(key in item for item in eyes.items) for eyes in sets)), LEARNED[0])


FAMILIES = {
    "image": Family(
        "Is each photograph like the real one of the same vessel map?",
        lambda task: {},
        _image,
    ),
    "distribution": Family(
        "Does the set look like real photographs, in quality and in variety?",
        lambda task: {
            "extractors": list(task.tools.extractors),
            "seed": task.seed,
            "classify": task.mode != "quick",
        },
        _distribution,
    ),
    "faithfulness": Family(
        "Do the photographs show what their masks say?",
        lambda task: {
            "judge": (*_judge(task.tools)[1:], _disc_judge(task.tools)[1]),
            "painter": task.tools.painter and str(task.tools.painter),
            "seed": task.seed,
        },
        _faithfulness,
    ),
    "privacy": Family(
        "Does the synthetic set reveal its training patients?",
        lambda task: {
            "extractor": next(iter(task.tools.extractors)),
            "seed": task.seed,
            "training": task.tools.settings.get("training"),
        },
        _privacy,
    ),
    "usefulness": Family(
        "Does a network trained on the set work on real eyes?",
        lambda task: {
            "mode": task.mode,
            "seed": task.seed,
            "training": task.tools.settings.get("training"),
            "external": task.external and task.external.fingerprint,
        },
        _usefulness,
    ),
}
"""In order of execution, the quickest first."""

QUESTIONS = ("distribution", "faithfulness", "privacy", "usefulness")
"""The four questions at the top of the report; ``image`` adds to the first."""
