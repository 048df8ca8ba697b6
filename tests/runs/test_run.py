"""The run folder: every stage is made once, results survive, and folders of other data or settings are refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.data.sources import SOURCES
from spider_utils.data.survey import label_lists, survey
from spider_utils.runs.begin import begin_run, default_run_dir, open_run
from spider_utils.runs.run import Run
from tests.data.test_preprocess import make_folder
from tests.helpers.locks import held

TINY = {
    "min_classes": 4,
    "store_height": 64,
    "store_width": 32,
    "train_height": 64,
    "train_width": 32,
    "width": 2,
    "epochs": 2,
    "folds": 3,
    "split": "patient_kfold",
    "bootstrap": 20,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run = open_run(folder / "out", "spider", make_folder(folder / "data", patients=5), "smoke", **TINY)
    run.scores()
    return run


def test_a_run_leaves_what_the_readme_promises(finished):
    for name in (
        "settings.json",
        "store/store.json",
        "checkpoints/best.safetensors",
        "checkpoints/best.json",
        "train_log.csv",
        "epochs.npz",
        "predictions/masks.npy",
        "slice_scores.csv",
        "metrics.csv",
        "provenance.json",
    ):
        assert (finished.path / name).is_file(), name
    metrics = pd.read_csv(finished.path / "metrics.csv")
    columns = ["split", "sequence", "class", "aggregation", "metric", "unit", "value", "ci_low", "ci_high", "n"]
    assert list(metrics.columns) == columns
    assert set(metrics["split"]) == {"validation", "test"}


def test_scores_are_of_the_test_patients_and_equal_an_independent_count(finished):
    scores, metrics = finished.scores()
    masks, table = finished.predictions()
    split = finished.split()
    assert set(scores.table.loc[scores.table["split"] == "test", "patient"]) == set(split.test)
    chosen = (table["split"] == "test").to_numpy()
    truth, found = finished.store().masks[table.loc[chosen, "row"]], masks[chosen]
    row = metrics.query(
        "split == 'test' and sequence == 'all' and aggregation == 'pooled' and `class` == 'canal' and metric == 'dice'"
    )
    expected = 2 * ((truth == 2) & (found == 2)).sum() / ((truth == 2).sum() + (found == 2).sum())
    assert row["value"].item() == pytest.approx(expected, nan_ok=True)


def test_volumes_are_the_runs_own_or_a_small_phantoms(finished, tmp_path, monkeypatch):
    assert finished.volumes() == ("spider", finished.series())
    made = []

    def make(folder, patients, seed):
        made.append((folder, patients, seed))
        make_folder(folder, patients=patients)

    monkeypatch.setitem(SOURCES, "phantom", replace(SOURCES["phantom"], make=make))
    run = open_run(tmp_path / "out", "sample", profile="smoke", phantom_seed=7)
    source, volumes = run.volumes()
    assert (source, [one.name for one in volumes]) == ("phantom", ["1_t2", "2_t2", "3_t2"])
    assert made == [(tmp_path / "out" / "phantom", 3, 7)]


def test_a_second_call_makes_nothing_again(finished):
    files = [path for path in finished.path.rglob("*") if path.is_file() and path.name != "settings.json"]
    before = {path: path.stat().st_mtime_ns for path in files}
    open_run(finished.path).scores()
    assert {path: path.stat().st_mtime_ns for path in files} == before


def test_the_folder_knows_its_source_profile_and_parameters(finished):
    again = open_run(finished.path)
    assert (again.source, again.profile, again.data_dir) == ("spider", "smoke", finished.data_dir)
    assert again.settings == finished.settings


def test_another_source_or_profile_is_refused(finished):
    with pytest.raises(SpiderError, match="made with profile = smoke, now asked for cpu"):
        open_run(finished.path, profile="cpu")
    with pytest.raises(SpiderError, match="made with source = spider"):
        open_run(finished.path, source="phantom")


@pytest.mark.parametrize(("name", "value"), [("gamma", 2.0), ("min_classes", 3), ("fold", 1)])
def test_changed_settings_are_refused_where_their_result_is_there_already(finished, name, value):
    with pytest.raises(SpiderError, match=f"with {name} = .*, now asked for {value}"):
        open_run(finished.path, **{name: value})
    assert open_run(finished.path).settings == finished.settings  # the refused value has left no trace


def test_a_command_runs_with_what_it_says_whatever_was_begun_before(tmp_path):
    """A value that failed, or was given up, is not kept; notebooks that name nothing go on with what was said last."""
    data = make_folder(tmp_path / "data", patients=3)
    first = begin_run(tmp_path / "out", "spider", data, "smoke", TINY | {"folds": 4})
    first.survey()
    with pytest.raises(SpiderError, match="4 folds need as many patients, found 3"):
        first.train()
    with pytest.raises(SpiderError, match="folds: expected 2 to 1000, found 0"):
        begin_run(tmp_path / "out", "spider", data, "smoke", TINY | {"folds": 0})
    assert open_run(tmp_path / "out").settings.split.folds == 4
    begun = begin_run(tmp_path / "out", "spider", data, "smoke", {name: TINY[name] for name in TINY if name != "folds"})
    assert begun.settings.split.folds == open_run(tmp_path / "out").settings.split.folds == 5
    with pytest.raises(SpiderError, match="made with profile = smoke, now asked for cpu"):
        begin_run(tmp_path / "out", "spider", data, "cpu", TINY)


def test_a_notebook_runs_with_what_it_says_and_not_with_what_failed_before(tmp_path):
    """`papermill -p folds 4` with three patients, and then without: the notebooks' way into a folder."""
    data, out = make_folder(tmp_path / "data", patients=3), tmp_path / "out"
    open_run(out, "spider", data, "smoke", **TINY | {"folds": 3})
    with pytest.raises(SpiderError, match="4 folds need as many patients, found 3"):
        open_run(out, more={"folds": 4}, width=4).train()
    again = open_run(out)
    assert (again.settings.split.folds, again.settings.training.width) == (
        3,
        2,
    )  # what was named before and did not fail
    again.train()
    with pytest.raises(SpiderError, match="made with folds|trained with folds = 3, now asked for 4"):
        open_run(out, more={"folds": 4})
    assert open_run(out).settings == again.settings


@pytest.mark.parametrize(
    "more", [{"patients": 0}, {"patients": "3"}, {"pationts": 3}, {"folds": 0}, {"width": None, "model": 3}]
)
def test_a_value_that_is_none_leaves_no_trace_in_the_folder_of_a_notebook(more, tmp_path):
    with pytest.raises(SpiderError):
        open_run(tmp_path / "out", "phantom", None, "smoke", more)
    run = open_run(tmp_path / "out", "phantom", None, "smoke")
    assert run.settings == open_run(tmp_path / "fresh", "phantom", None, "smoke").settings


def test_where_a_stage_fails_what_is_made_keeps_the_values_it_was_made_with(tmp_path):
    """A store of 64 x 32, and folds that cannot be dealt, named at once: the store's size stays, the folds go."""
    out = tmp_path / "out"
    with pytest.raises(SpiderError, match="4 folds"):
        open_run(out, "spider", make_folder(tmp_path / "data", patients=3), "smoke", **TINY | {"folds": 4}).split()
    again = open_run(out)
    assert again.settings.preprocess.size == (64, 32) and again.settings.split.folds != 4
    assert len(again.store()) == 9


@pytest.mark.parametrize("values", [{"patients": 0}, {"bootstrap": 0}, {"phantom_seed": -1}, {"store_height": 10**6}])
def test_a_value_out_of_bounds_is_refused_before_anything_is_written(values, tmp_path):
    with pytest.raises(SpiderError, match=f"{next(iter(values))}: expected "):
        begin_run(tmp_path / "out", "phantom", None, "smoke", values)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("through", ["command", "notebook"])
def test_a_folder_that_was_begun_with_the_wrong_data_and_holds_nothing_takes_the_right_ones(through, tmp_path):
    wrong, right = tmp_path / "wrong", make_folder(tmp_path / "data", patients=3)
    wrong.mkdir()
    for data in (wrong, right):
        if through == "command":
            run = begin_run(tmp_path / "out", "spider", data, "smoke", TINY)
        else:
            run = open_run(tmp_path / "out", "spider", data, "smoke", **TINY)
        if data == wrong:
            with pytest.raises(SpiderError, match="wrong"):
                run.survey()
    assert len(run.survey()) == 3
    with pytest.raises(SpiderError, match="made with data_dir = .*data, now asked for .*wrong"):
        open_run(tmp_path / "out", "spider", wrong, "smoke")


@pytest.mark.parametrize("text", ["[]", "{", '{"source": 3}', '{"source": "spider"}'])
def test_settings_of_something_else_are_refused(text, tmp_path):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(SpiderError, match="settings.json: expected "):
        open_run(tmp_path)


def test_what_a_run_lacks_of_its_results_is_made_again(finished, tmp_path):
    """Results are there when their files are, not when a note says so; the same comes out."""
    run = open_run(shutil.copytree(finished.path, tmp_path / "out"))
    made = {
        name: (run.path / name).read_bytes() for name in ("predictions/masks.npy", "slice_scores.csv", "metrics.csv")
    }
    for name in made:
        (run.path / name).unlink()
    run.scores()
    assert {name: (run.path / name).read_bytes() for name in made} == made


@pytest.mark.parametrize("stage", ["train", "predict", "score"])
def test_a_session_that_ends_beside_the_provenance_of_a_stage_does_not_lose_it(stage, tmp_path, monkeypatch):
    """A session that ends as it is to note how a stage was made: the next one notes it."""
    data = make_folder(tmp_path / "data", patients=4)
    run = open_run(tmp_path / "out", "spider", data, "smoke", **TINY)

    note = Run._note

    def end(self, name):
        if name == stage:
            raise KeyboardInterrupt
        note(self, name)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_note", end)
        with pytest.raises(KeyboardInterrupt):
            run.scores()
    run.scores()
    stages = json.loads((run.path / "provenance.json").read_text())
    assert set(stages) == {"train", "predict", "score"}


def test_two_processes_do_not_train_in_one_folder(tmp_path, monkeypatch):
    run = open_run(tmp_path / "out", "spider", make_folder(tmp_path / "data", patients=4), "smoke", **TINY)
    run.store()
    monkeypatch.setattr("spider_utils.common.locks.WAIT", 0.1)
    with held(run.path / "checkpoints"):
        with pytest.raises(SpiderError, match="checkpoints: another process is at work there .a training.; wait until"):
            run.train()
    assert len(run.train()) == 2  # the system took the lock back


def test_more_epochs_go_on_and_provenance_says_so(finished, tmp_path):
    longer = open_run(shutil.copytree(finished.path, tmp_path / "out"), epochs=3)
    _, metrics = longer.scores()
    stages = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert stages["train"]["settings"]["epochs"] == 3
    assert len(pd.read_csv(tmp_path / "out" / "train_log.csv")) == 3
    assert len(metrics)


def test_a_run_folder_of_other_data_is_refused(tmp_path):
    data = make_folder(tmp_path / "data", patients=3)
    open_run(tmp_path / "out", "spider", data, "smoke", **TINY).store()
    (data / "images" / "3_t2.mha").unlink()
    with pytest.raises(SpiderError, match="other data"):
        open_run(tmp_path / "out").store()


def test_a_file_mended_after_a_failure_is_no_other_data_and_what_was_made_is_kept(tmp_path):
    data = make_folder(tmp_path / "data", patients=3)
    broken = data / "images" / "3_t2.mha"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    run = open_run(tmp_path / "out", "spider", data, "smoke", **TINY)
    with pytest.raises(SpiderError, match="3_t2.mha"):
        run.store()
    first = (run.path / "store" / "parts" / "1_t2.npz").stat().st_mtime_ns
    with pytest.raises(SpiderError, match="3_t2.mha"):
        run.store()
    assert (run.path / "store" / "parts" / "1_t2.npz").stat().st_mtime_ns == first
    broken.write_bytes(whole)
    assert len(run.store()) == 9


def test_a_real_source_needs_a_folder(tmp_path):
    with pytest.raises(SpiderError, match="expected the folder of its data"):
        open_run(tmp_path, "released", profile="smoke")


def test_provenance_says_what_was_run_on_what(finished):
    stages = json.loads((finished.path / "provenance.json").read_text())
    assert set(stages) == {"train", "predict", "score"}
    assert stages["train"]["settings"]["epochs"] == 2
    assert stages["train"]["settings"]["source"] == "spider"
    assert stages["train"]["device"]["type"] == "cpu"
    assert stages["train"]["data_fingerprint"] == finished.store().info["fingerprint"]


def test_no_training_or_scored_patient_is_on_two_sides(finished):
    store, split = finished.store(), finished.split()
    assert sorted(split.train + split.validation + split.test) == sorted(store.table["patient"].unique())


def test_default_run_folders_lie_under_spider_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("SPIDER_RUNS", str(tmp_path))
    assert default_run_dir("released", "cpu") == tmp_path / "released_cpu"
    assert open_run().path == tmp_path / "sample_smoke"


def test_survey_counts_what_the_volumes_hold(finished):
    table = survey(finished.series())
    first = table.iloc[0]
    assert (first["slices"], first["height"], first["width"]) == (8, 40, 30)
    assert (first["pixel_mm_row"], first["pixel_mm_col"], first["slice_mm"]) == (1.5, 1.0, 4.0)
    # 10 x 10 x (5 + 6) pixels of vertebrae, 23 x 4 x 3 of canal, 3 x 10 x 4 of disc
    assert first[["n_vertebrae", "n_canal", "n_discs"]].tolist() == [10 * 10 * 11, 23 * 4 * 3, 3 * 10 * 4]
    assert first[["n_background", "n_vertebrae", "n_canal", "n_discs"]].sum() == 8 * 40 * 30
    assert label_lists(table)["1_t2"] == [0, 1, 2, 100, 201]
    pd.testing.assert_frame_equal(finished.survey(), table)
    assert np.isfinite(table["slice_mm"]).all()
