"""The report: what it holds, that finished families are kept, that it is logged once, what is grey, what is refused."""

from __future__ import annotations

import html
import inspect
import json
import math
import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import ANSWERS, LIGHTS, made_section, use_hand_made
from mlflow.tracking import MlflowClient

from retina_monai.bundle import REPOSITORY, digest
from retina_monai.data import write_phantoms
from retina_monai.data.listing.pseudonyms import patient_keys
from retina_monai.errors import RetinaError
from retina_monai.evaluation.families.faithfulness.painting import find_painter
from retina_monai.evaluation.families.privacy import privacy_section as privacy
from retina_monai.evaluation.families.registry import FAMILIES, Tools
from retina_monai.evaluation.families.usefulness import usefulness
from retina_monai.evaluation.measuring import extractors
from retina_monai.evaluation.measuring.eye import Eye, as_image, as_mask
from retina_monai.evaluation.measuring.eye_set import list_real
from retina_monai.evaluation.report import report
from retina_monai.evaluation.report.kept import as_plain, read_section, write_section
from retina_monai.evaluation.report.mlflow_run import ReportRun
from retina_monai.evaluation.report.report import describe_answers, evaluate
from retina_monai.evaluation.report.section import Section, Table
from retina_monai.handlers import sqlite_uri
from retina_monai.transforms import measure_appearance

SIZE = 64
Evaluate = Callable[..., Path]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("synthetic") / "made", 4, 96, seed=1)


@pytest.fixture
def run(synthetic: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """Evaluate the synthetic set, without MLflow unless it is asked for."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(**settings: Any) -> Path:
        places = {"synthetic_dir": synthetic, "real_dir": phantoms, "output_dir": "report"}
        return evaluate(**({"size": SIZE, "mlflow": False} | places | settings))

    return call


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "report.json").read_text(encoding="utf-8")))


def test_what_the_report_holds(run: Evaluate, monkeypatch: pytest.MonkeyPatch, synthetic: Path) -> None:
    measured = use_hand_made(monkeypatch)
    folder = run(seed=3)
    found = read(folder)
    assert measured == list(FAMILIES)
    assert {key: answer["light"] for key, answer in found["answers"].items()} == {
        key: LIGHTS[key] for key in ("distribution", "faithfulness", "privacy", "usefulness")
    }
    assert found["answers"]["privacy"]["answer"] == ANSWERS["privacy"]
    assert found["compared"]["synthetic"]["eyes"] == 4
    assert found["compared"]["synthetic"]["conditions"] == {"phantoms": 4}
    assert found["compared"]["synthetic"]["place"] == [str(synthetic)]
    assert found["compared"]["real"]["eyes"] == 8
    assert len(found["compared"]["real"]["fingerprint"]) == 64
    assert found["settings"] == {
        "mode": "quick",
        "size": SIZE,
        "seed": 3,
        "families": list(FAMILIES),
        "skip_unreadable": False,
    }
    assert {"retina_monai", "python", "torch", "numpy", "code"} <= found["versions"].keys()
    assert found["sections"]["image"]["figures"]["KID"] == {"retina_encoder 1.0": {"value": 0.012, "N": 28}}
    assert found["sections"]["image"]["figures"]["infinite"] is None
    for section in found["sections"].values():
        assert all((folder / picture["path"]).is_file() for picture in section["pictures"])
    assert sorted(path.name for path in folder.iterdir()) == ["cache", "index.html", "pictures", "report.json"]


def test_the_command_of_the_page_has_every_option(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch, synthetic: Path, phantoms: Path, tmp_path: Path
) -> None:
    use_hand_made(monkeypatch)
    bundle = REPOSITORY / "bundles" / "pix2pix_vessel"
    made = shutil.copytree(synthetic, tmp_path / "made")
    (made / "settings.json").write_text(json.dumps({"weights": digest(bundle / "models" / "model.pt")}))
    monkeypatch.setattr(ReportRun, "__init__", lambda run, folder, uri: None)  # no server at hand
    monkeypatch.setattr(ReportRun, "log", lambda run, report: None)
    weights = str(REPOSITORY / "bundles" / "iternet_vessel" / "models" / "model.pt")
    given = {
        "mode": "full",
        "size": SIZE,
        "seed": 7,
        "families": "image,privacy",
        "judge": weights,
        "encoder": weights,
        "inception_weights": weights,
        "skip_unreadable": True,
        "cache_dir": "shared cache",
        "tracking_uri": "sqlite:///it's.db",
        "generator": str(bundle),
        "trust": True,
        "external_dir": str(synthetic),
    }
    assert set(inspect.signature(evaluate).parameters) == {*given, "mlflow", "synthetic_dir", "real_dir", "output_dir"}
    expected = {"synthetic_dir": str(made), "real_dir": str(phantoms), "output_dir": "report"}
    written = run(**given, synthetic_dir=made, mlflow=True)
    assert read(written)["compared"]["external"]["eyes"] == 4
    assert 'data-of="external"' in (written / "index.html").read_text(encoding="utf-8")
    everything = command(written)
    assert everything == expected | {key: str(value).replace("True", "true") for key, value in given.items()}
    few = command(run(synthetic_dir=made, mlflow=False))
    assert few == expected | {"mode": "quick", "size": str(SIZE), "seed": "0", "mlflow": "false"}
    secret = command(run(mlflow=True, tracking_uri="http://me:secret@server:80"))
    assert secret["tracking_uri"] == "http://server:80"


def command(folder: Path) -> dict[str, str]:
    """Options of the command that the page gives."""
    text = re.findall(r"<pre>(.*?)</pre>", (folder / "index.html").read_text(encoding="utf-8"))[0]
    words = shlex.split(html.unescape(text))
    assert words[:4] == ["python", "-m", "retina_monai", "evaluate"]
    return {key.removeprefix("--"): value for key, value in zip(words[4::2], words[5::2], strict=True)}


def test_reports_share_a_cache(run: Evaluate, monkeypatch: pytest.MonkeyPatch, synthetic: Path, tmp_path: Path) -> None:
    measured = use_hand_made(monkeypatch)
    run(cache_dir="shared")
    run(cache_dir="shared", output_dir="second")
    assert measured == list(FAMILIES)
    assert not (tmp_path / "report" / "cache").exists() and (tmp_path / "second" / "index.html").is_file()
    with pytest.raises(RetinaError, match=r"cache_dir .* is one of the sets"):
        run(cache_dir=synthetic)


def test_privacy_is_tested_on_whom_the_weights_know(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch, synthetic: Path, phantoms: Path, tmp_path: Path
) -> None:
    """By ``training`` in settings.json of the synthetic set, whatever the splits of the real set are."""
    seen: dict[str, Any] = {}

    def measured(synthetic: Any, training: Any, held_out: Any, **how: Any) -> Section:
        seen.update(training=[eye.name for eye in training], others=[eye.name for eye in held_out], **how)
        return Section("privacy", "?", "grey", "!", {})

    monkeypatch.setattr(privacy, "privacy_section", measured)
    monkeypatch.setattr(Tools, "extractors", property(lambda tools: {"retina_encoder 1.0": None}))
    shutil.copytree(synthetic, tmp_path / "made")
    items = list_real(phantoms)
    run(synthetic_dir=tmp_path / "made", families="privacy")
    assert seen["training"] == [item["name"] for item in items if item["split"] == "training"]
    assert "not known" in seen["unjudged"]
    known = [key for item in items[3:5] for key in patient_keys(item)]
    record = {"datasets": ["phantom"], "patients": known, "complete": True}
    (tmp_path / "made" / "settings.json").write_text(json.dumps({"training": {"pix2pix_vessel": record}}))
    run(synthetic_dir=tmp_path / "made", families="privacy")
    assert seen["training"] == [item["name"] for item in items[3:5]] and not seen["unjudged"]
    assert len(seen["others"]) == len(items) - 2


def test_networks_are_tested_on_external_eyes_that_the_generator_has_not_seen(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch, synthetic: Path, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def measured(synthetic: Any, training: Any, test: Any, **how: Any) -> Section:
        seen.update(how)
        return Section("usefulness", "?", "grey", "!", {})

    monkeypatch.setattr(usefulness, "usefulness_section", measured)
    other = write_phantoms(tmp_path / "other", 4, 96, seed=50)
    made, items = shutil.copytree(synthetic, tmp_path / "made"), list_real(other)
    record = {"datasets": ["phantom"], "patients": patient_keys(items[0]), "complete": True}
    (made / "settings.json").write_text(json.dumps({"training": {"pix2pix_vessel": record}}))
    run(synthetic_dir=made, families="usefulness", mode="full", external_dir=other)
    assert [eye.name for eye in seen["external"]] == [item["name"] for item in items[1:]]
    record["patients"] = [key for item in items for key in patient_keys(item)]
    (made / "settings.json").write_text(json.dumps({"training": {"pix2pix_vessel": record}}))
    with pytest.raises(RetinaError, match="give another --external_dir"):
        run(synthetic_dir=made, families="usefulness", mode="full", external_dir=other)


def test_no_path_of_this_machine_but_what_was_given(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch, synthetic: Path, phantoms: Path, tmp_path: Path
) -> None:
    use_hand_made(monkeypatch)
    given = {"synthetic_dir": os.path.relpath(synthetic), "real_dir": [os.path.relpath(phantoms)]}
    folder = run(**given)
    for name in ("report.json", "index.html"):
        text = (folder / name).read_text(encoding="utf-8")
        assert str(tmp_path) not in text and str(REPOSITORY) not in text and str(Path.home()) not in text
        assert given["synthetic_dir"] in text


def test_a_repeated_evaluation_measures_nothing_and_writes_the_same(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = use_hand_made(monkeypatch)
    first = {name: (run() / name).read_bytes() for name in ("report.json", "index.html")}
    assert measured == list(FAMILIES)
    assert {name: (run() / name).read_bytes() for name in first} == first
    assert measured == list(FAMILIES)


def test_an_interrupted_evaluation_goes_on_where_it_was(run: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def interrupt(key: str) -> None:
            if key == "privacy":
                raise KeyboardInterrupt

        before = use_hand_made(patch, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert before == ["image", "distribution", "faithfulness"]
    assert not Path("report", "index.html").exists()
    after = use_hand_made(monkeypatch)
    run()
    assert after == ["privacy", "usefulness"]


@pytest.mark.parametrize("changed", ["seed", "size", "synthetic", "code"])
def test_what_figures_depend_on_is_measured_again(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch, synthetic: Path, tmp_path: Path, changed: str
) -> None:
    measured = use_hand_made(monkeypatch)
    shutil.copytree(synthetic, tmp_path / "made")
    run(synthetic_dir=tmp_path / "made")
    settings: dict[str, Any] = {"synthetic_dir": tmp_path / "made"}
    if changed == "synthetic":
        shutil.copy(
            tmp_path / "made" / "images" / "phantom_00000.png", tmp_path / "made" / "images" / "phantom_00001.png"
        )
    elif changed == "code":
        monkeypatch.setattr(report, "code_digest", lambda: "other")
    else:
        settings |= {"seed": 5} if changed == "seed" else {"size": 48}
    run(**settings)
    assert measured == 2 * list(FAMILIES)


def test_families_that_were_not_asked_for_are_grey(run: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = use_hand_made(monkeypatch)
    sections = read(run(families=("privacy", "image")))["sections"]
    assert measured == ["image", "privacy"]
    assert [key for key, section in sections.items() if section["light"] == "grey"] == [
        "distribution",
        "faithfulness",
        "usefulness",
    ]
    assert sections["distribution"]["answer"] == "Not requested in this evaluation."


def test_without_weights_a_family_is_grey_and_says_why(run: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    """But refused where it was asked for by its name, or other weights were named."""
    original, loaded = FAMILIES["distribution"], vars(Tools)["extractors"]
    measured = use_hand_made(monkeypatch)
    monkeypatch.setitem(FAMILIES, "distribution", original)
    monkeypatch.setattr(Tools, "extractors", loaded)

    def load(encoder: Any = None, inception_weights: Any = None) -> Any:
        raise RetinaError(f"{REPOSITORY}/bundles/retina_encoder/models/model.pt is not there: get the weights")

    monkeypatch.setattr(extractors, "load_extractors", load)
    found = read(run())
    assert found["answers"]["distribution"]["light"] == "grey"
    reason = "Bundles/retina_encoder/models/model.pt is not there: get the weights."
    assert found["answers"]["distribution"]["answer"] == reason
    assert measured == ["image", "faithfulness", "privacy", "usefulness"]
    for settings in ({"families": "distribution"}, {"encoder": "mine.pt"}):
        with pytest.raises(RetinaError, match=r"model.pt is not there: get the weights"):
            run(output_dir="other", **settings)
        assert not Path("other").exists()


def test_without_a_judge_biomarkers_are_compared(run: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    original = FAMILIES["faithfulness"]
    use_hand_made(monkeypatch)
    monkeypatch.setitem(FAMILIES, "faithfulness", original)

    def no_judge(tools: Tools) -> Any:
        return tools._load(lambda: (_ for _ in ()).throw(RetinaError("there is no checkpoint: get it")), "judge")

    monkeypatch.setattr(Tools, "judge", property(no_judge))
    section = read(run())["sections"]["faithfulness"]
    assert section["light"] == "grey"
    assert section["answer"].endswith("There is no checkpoint: get it.")
    assert section["tables"]


def test_a_set_that_knows_test_eyes_is_grey_for_usefulness(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch, phantoms: Path, tmp_path: Path
) -> None:
    """The other families are measured; asked for by its name, it is refused."""
    original = FAMILIES["usefulness"]
    use_hand_made(monkeypatch)
    monkeypatch.setitem(FAMILIES, "usefulness", original)
    shutil.copytree(phantoms, tmp_path / "real")
    datalist = json.loads((tmp_path / "real" / "datalist.json").read_text())
    everyone = [item for split in ("training", "validation", "test") for item in datalist.get(split, [])]
    lists = {"training": everyone[:5], "validation": everyone[5:6], "test": everyone[6:]}
    (tmp_path / "real" / "datalist.json").write_text(json.dumps({"name": "real", **lists}))
    shutil.copytree(tmp_path / "real", tmp_path / "made")
    (tmp_path / "made" / "datalist.json").write_text(json.dumps({"name": "made", "training": lists["test"]}))
    for item in lists["test"]:  # other photographs around the maps of test eyes
        shutil.copy(phantoms / everyone[0]["image"], tmp_path / "made" / item["image"])
    shutil.copy(phantoms / everyone[1]["image"], tmp_path / "real" / everyone[0]["image"])
    found = read(run(synthetic_dir=tmp_path / "made", real_dir=tmp_path / "real"))
    assert found["answers"]["usefulness"]["light"] == "grey"
    assert "were made from masks of test patients" in found["answers"]["usefulness"]["answer"]
    assert found["compared"]["synthetic"]["conditions"] == {"phantoms": 2}
    assert found["answers"]["privacy"]["light"] == LIGHTS["privacy"]
    with pytest.raises(RetinaError, match="were made from masks of test patients"):
        run(synthetic_dir=tmp_path / "made", real_dir=tmp_path / "real", families="usefulness")


def test_of_a_set_without_vessel_maps_the_discs_are_learned(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch, synthetic: Path, tmp_path: Path
) -> None:
    monkeypatch.setitem(usefulness.MODES, "full", usefulness.Plan(("U-Net",), steps=2, seeds=1, most=4))
    shutil.copytree(synthetic, tmp_path / "discs")
    datalist = json.loads((tmp_path / "discs" / "datalist.json").read_text())
    for split in ("training", "validation", "test"):
        datalist[split] = [{key: item[key] for key in item if key != "vessel"} for item in datalist[split]]
    (tmp_path / "discs" / "datalist.json").write_text(json.dumps(datalist))
    learned = {
        folder.name: read(
            run(synthetic_dir=folder, mode="full", families="usefulness", output_dir=tmp_path / f"r_{folder.name}")
        )
        for folder in (synthetic, tmp_path / "discs")
    }
    keys = {name: report["sections"]["usefulness"]["figures"]["key"] for name, report in learned.items()}
    assert keys == {synthetic.name: "vessel", "discs": "disc"}


def test_sizes_and_eyes_left_out_are_told(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch, synthetic: Path, tmp_path: Path
) -> None:
    use_hand_made(monkeypatch)
    shutil.copytree(synthetic / "images", tmp_path / "made")
    (tmp_path / "made" / "phantom_00003.png").write_bytes(b"no picture")
    shutil.copy(
        write_phantoms(tmp_path / "small", 3, 48, seed=2) / "images" / "phantom_00000.png", tmp_path / "made" / "a.png"
    )
    found = read(run(synthetic_dir=tmp_path / "made", skip_unreadable=True))
    assert found["compared"]["synthetic"]["sizes"] == {"96 x 96": 3, "48 x 48": 1}
    assert found["compared"]["synthetic"]["left_out"] == ["phantom_00003"]
    notes = " ".join(found["notes"])
    assert "Some synthetic photographs (96 x 96, 48 x 48) are smaller than the 64 x 64 pixels" in notes
    assert "have 2 sizes" in notes
    assert "1 synthetic eye could not be read and was left out: phantom_00003." in notes


def test_the_four_answers_a_line_each(run: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    use_hand_made(monkeypatch)
    lines = describe_answers(run()).splitlines()
    assert [line.split()[0] for line in lines] == ["distribution", "faithfulness", "privacy", "usefulness"]
    assert lines[0].endswith(f"good: {ANSWERS['distribution']}")
    assert lines[2].endswith(f"not good: {ANSWERS['privacy']}")
    assert lines[3].endswith("not judged: The vessel map of a test patient (CHASE_DB1/11) was a condition.")
    with pytest.raises(RetinaError, match="contains no report"):
        describe_answers("nowhere")


def test_one_run_in_mlflow_with_all_of_it(run: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated evaluation is not logged again; another one is, beside the first."""
    use_hand_made(monkeypatch)
    client = MlflowClient(tracking_uri=sqlite_uri(run(mlflow=True)))
    run(mlflow=True)
    experiment = client.get_experiment_by_name("evaluation")
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["privacy/KID/retina_encoder 1.0/value"] == 0.012
    assert {key: logged.data.metrics[f"{key}/light"] for key in ("privacy", "image", "distribution")} == {
        "privacy": 0,
        "image": 1,
        "distribution": 2,
    }
    assert "usefulness/light" not in logged.data.metrics
    spectrum = client.get_metric_history(logged.info.run_id, "image/spectrum")
    assert [(entry.step, entry.value) for entry in sorted(spectrum, key=lambda entry: entry.step)] == [
        (0, 1.0),
        (1, 0.5),
        (2, 0.25),
    ]
    assert logged.data.params["settings/mode"] == "quick"
    assert logged.data.params["light/privacy"] == "red"
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert logged.data.tags["mlflow.source.name"] == "retina_monai evaluate"
    assert f"| privacy | not good | {ANSWERS['privacy']} |" in logged.data.tags["mlflow.note.content"]
    given = {tag.value: entry.dataset.name for entry in logged.inputs.dataset_inputs for tag in entry.tags}
    assert given == {"synthetic": "synthetic phantom", "real": "real phantom"}
    names = {entry.path for entry in client.list_artifacts(logged.info.run_id)}
    assert {"index.html", "report.json", "pictures", "tables"} <= names
    tables = client.list_artifacts(logged.info.run_id, "tables")
    assert len(tables) == 2 * len(FAMILIES)
    path = client.download_artifacts(logged.info.run_id, tables[0].path)
    table = json.loads(Path(path).read_text(encoding="utf-8"))
    assert table["columns"][:3] == ["data set", "N", "KID"] and len(table["data"]) == 4
    run(mlflow=True, seed=5)
    assert len(client.search_runs([experiment.experiment_id])) == 2


def test_a_deleted_experiment_is_refused_before_anything_is_written(run: Evaluate, tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri=sqlite_uri(tmp_path))
    client.delete_experiment(client.create_experiment("evaluation"))
    with pytest.raises(RetinaError, match=r"experiment evaluation in .* was deleted"):
        run(mlflow=True, tracking_uri=sqlite_uri(tmp_path))
    assert not (tmp_path / "report").exists()


def test_a_report_half_logged_is_logged_anew(run: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    use_hand_made(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_table", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(mlflow=True)
    client = MlflowClient(tracking_uri=sqlite_uri(run(mlflow=True)))
    experiment = client.get_experiment_by_name("evaluation")
    assert experiment is not None
    assert [found.info.status for found in client.search_runs([experiment.experiment_id])] == ["FINISHED"]


def test_a_section_is_kept_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "section").mkdir()
    section = made_section("privacy", tmp_path / "section")
    assert read_section(tmp_path / "section") is None
    write_section(section, tmp_path / "section")
    kept = read_section(tmp_path / "section")
    assert kept is not None
    assert as_plain(asdict(kept)) == as_plain(asdict(section))
    (tmp_path / "section" / "grid.png").unlink()
    assert read_section(tmp_path / "section") is None
    (tmp_path / "section" / "section.json").write_text('{"key": "pri')
    assert read_section(tmp_path / "section") is None


def test_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    figures = {"a": np.float32(0.5), "b": np.array([[1, 2]]), "c": math.inf, "d": np.bool_(True), 5: (math.nan,)}
    section = Section("image", "?", "green", "!", figures, [Table("t", ["n"], [[np.int64(3)]])])
    write_section(section, tmp_path)
    kept = read_section(tmp_path)
    assert kept is not None
    assert kept.figures == {"a": 0.5, "b": [[1, 2]], "c": None, "d": True, "5": [None]}
    assert kept.tables[0].rows == [[3]]


def test_the_generator_of_a_set_is_found_by_its_weights() -> None:
    weights = digest(REPOSITORY / "bundles" / "pix2pix_vessel" / "models" / "model.pt")
    settings = {"bundle": "pix2pix_vessel", "weights": weights}
    assert find_painter({}) is None
    assert find_painter(settings | {"weights": "0" * 64}) is None
    assert find_painter(settings | {"bundle": "nowhere"}) is None
    painter = find_painter(settings)
    assert painter is not None and str(painter) == f"pix2pix_vessel {weights[:12]}"
    fov = np.hypot(*(np.indices((128, 128)) - 63.5)) < 64
    like = Eye("eye", "", "", np.full((3, 128, 128), 9, np.uint8), fov, {})
    like.image[:, 20:90] = np.arange(70, dtype=np.uint8)[None, :, None] + np.uint8([[[150]], [[80]], [[10]]])
    vessel = np.zeros((128, 128), np.float32)
    vessel[60:64] = 1
    painted = painter(vessel, fov, like)
    assert painted.shape == (3, 128, 128) and painted.dtype == np.uint8
    assert not np.array_equal(painted, painter(np.zeros_like(vessel), fov, like))
    inside = as_mask(fov)[0]
    found = measure_appearance(as_image(Eye("", "", "", painted, fov, {}))[0], inside)
    np.testing.assert_allclose(found.mean, measure_appearance(as_image(like)[0], inside).mean, atol=0.1)
