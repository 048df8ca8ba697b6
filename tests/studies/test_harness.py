"""The study harness on a small store: equal steps, every slice held out once, nothing done twice, nothing lost."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

from spider_utils.commands.study import run_command
from spider_utils.common.errors import SpiderError
from spider_utils.data.sources import find_series, fingerprint
from spider_utils.data.splits import make_split
from spider_utils.evaluate.metrics import dice
from spider_utils.predict.network import ready_network
from spider_utils.predict.segment import predict_masks
from spider_utils.studies import harness
from spider_utils.studies.clock import CPU_FILE
from spider_utils.studies.compare import dice_table
from spider_utils.studies.harness import read_final_scores, run_study
from spider_utils.studies.leakage import neighbours
from spider_utils.studies.plan import made_from, plan
from spider_utils.studies.study_file import FOLDER, load_study
from tests.data.test_preprocess import make_folder
from tests.helpers.locks import held
from tests.helpers.small_study import PATIENTS, SLICES, STUDY, make_small_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_small_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "tiny.yaml"
    path.write_text(yaml.safe_dump(STUDY, sort_keys=False))
    return load_study(str(path))


@pytest.fixture(scope="module")
def done(study, store, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return out, run_study(study, store, out, workers=1)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_of_the_package_can_be_planned(path, store):
    study = load_study(path.stem, {"folds": 2})
    trainings = plan(study, store.table)
    assert len(trainings) == len(study.arms) * 2 * len(study.seeds)
    assert study.reference in [arm.name for arm in study.arms]
    assert all(one.score_epochs[-1] == one.settings.epochs for one in trainings)


def test_all_arms_train_on_the_same_number_of_slices(study, store):
    trainings = plan(study, store.table)
    sizes = {len(make_split(store.table, one.split).rows(store.table, "train")) for one in trainings}
    whole = [sum(SLICES) - len(make_split(store.table, one.split).rows(store.table, "test")) for one in trainings]
    assert sizes == {min(whole)}


def test_every_slice_is_held_out_once_in_every_arm(done):
    _, counts = done
    for _, part in counts.groupby(["arm", "epoch"]):
        held = part[part["class"] == "discs"]
        assert sorted(zip(held["patient"], held["slice_index"], strict=True)) == [
            (patient, 50 + k) for patient, count in enumerate(SLICES, start=1) for k in range(count)
        ]


def test_the_counts_are_those_of_the_network_that_was_kept(done, study, store):
    out, counts = done
    place = out / "trainings" / "unseen" / "fold1_seed0"
    held = counts.query("arm == 'unseen' and fold == 1 and epoch == 2 and `class` == 'vertebrae'")
    patients = held["patient"].unique()
    rows = np.flatnonzero(store.table["patient"].isin(patients))
    masks = predict_masks(ready_network(place / "best.safetensors", "cpu"), store.images[rows])
    assert held["tp"].sum() == ((masks == 1) & (store.masks[rows] == 1)).sum()
    assert held["fn"].sum() == ((masks != 1) & (store.masks[rows] == 1)).sum()


def test_final_scores_of_an_arm_agree_with_the_counts(done, study, store):
    out, counts = done
    scores = read_final_scores(plan(study, store.table), out, "random")
    assert len(scores.table) == 4 * sum(SLICES)
    assert scores.distances["row"].max() < len(scores.table)
    sums = scores.table[scores.table["class"] == "canal"][["tp", "fp", "fn"]].sum()
    table = dice_table(counts).query(
        "arm == 'random' and epoch == 2 and aggregation == 'pooled' and `class` == 'canal'"
    )
    assert table["value"].item() == pytest.approx(float(dice(*sums)))


def test_an_arm_of_two_sizes_begins_as_the_plain_one_and_is_scored_at_the_size_of_each_epoch(done, store, tmp_path):
    """What an epoch at the small size leaves is the plain arm's, to the byte: its network, its JSON and its counts."""
    growing = {"train_height": 128, "train_width": 128, "small_epochs": 1, "crop_width": 96}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(STUDY | {"arms": {"unseen": {"values": growing}}}))
    study = load_study(str(tmp_path / "two.yaml"))
    run_study(study, store, tmp_path, workers=1)
    for fold in (0, 1):
        place = Path("trainings/unseen") / f"fold{fold}_seed0"
        for name in ("epoch_1/best.safetensors", "epoch_1/best.json", "overlap_1.csv"):
            assert (tmp_path / place / name).read_bytes() == (done[0] / place / name).read_bytes()
        network = ready_network(tmp_path / place / "best.safetensors", "cpu")
        assert network.size == (128, 128)
        rows = make_split(store.table, plan(study, store.table)[fold].split).rows(store.table, "test")
        masks, counts = predict_masks(network, store.images[rows]), pd.read_csv(tmp_path / place / "overlap_2.csv")
        hits = counts[counts["class"] == "discs"]["tp"].sum()
        assert hits == ((masks == 3) & (store.masks[rows] == 3)).sum()


def test_processor_time_counts_every_epoch_once_over_all_sessions(done, study, store, tmp_path, monkeypatch):
    out, original = done[0], harness.predict_rows

    def end(network, *rest):
        if (tmp_path / "trainings/unseen/fold0_seed0/overlap_1.csv").is_file():  # in the second epoch
            raise KeyboardInterrupt
        return original(network, *rest)

    training = plan(study, store.table)[0]
    with monkeypatch.context() as patched:
        patched.setattr(harness, "predict_rows", end)
        with pytest.raises(KeyboardInterrupt):
            harness.run_training(training, store.path, tmp_path)
    spent = tmp_path / "trainings" / training.place / CPU_FILE
    spent.write_text(json.dumps({"1": 1200.0, "2": 6000.0}))  # of which the second was not finished
    harness.run_training(training, store.path, tmp_path)
    counted = json.loads(spent.with_name("training.json").read_text())["cpu_minutes"]
    assert counted["1"] == 20 and 20 < counted["2"] < 40
    assert (pd.read_csv(out / "trainings.csv")["cpu_minutes"] >= 0).all()


def test_what_is_done_is_not_done_again_and_what_is_lost_alone_is(done, study, store, tmp_path, monkeypatch):
    out, counts = done
    ran = []
    original = harness.run_training
    monkeypatch.setattr(harness, "run_training", lambda one, *rest: ran.append(one.place) or original(one, *rest))
    pd.testing.assert_frame_equal(run_study(study, store, out, workers=1), counts)
    assert ran == []
    lost = out / "trainings" / "random" / "fold0_seed0"
    shutil.rmtree(lost)
    pd.testing.assert_frame_equal(run_study(study, store, out, workers=1), counts)  # the same numbers again
    assert ran == [Path("random/fold0_seed0")]


def test_a_taught_arm_learns_from_all_seeds_of_its_teacher_that_hold_out_the_same_patients(store, tmp_path):
    student = {"teachers": "unseen", "values": {"teacher_share": 0.5}}
    content = STUDY | {"seeds": [0, 1], "score_epochs": [1], "arms": {"student": student, "unseen": {}}}
    path = tmp_path / "taught.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    study = load_study(str(path), {"epochs": 1})
    trainings = plan(study, store.table)
    for one in trainings:
        teachers = [f"unseen/fold{one.fold}_seed{seed}" for seed in (0, 1)] if one.arm == "student" else []
        assert list(one.teachers) == teachers
        assert made_from(one, store.info).get("teachers", []) == teachers
    run_study(study, store, tmp_path / "run", workers=1)  # the student stands first, and waits
    alone = load_study(str(path), {"epochs": 1, "arms": "unseen"})
    assert {one.arm for one in plan(alone, store.table)} == {"unseen"}


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (
            {"teachers": "unseen"},
            {},
            "expected teachers and a teacher_share above 0, or neither; found teachers 'unseen'",
        ),
        ({"values": {"teacher_share": 0.5}}, {}, "or neither; found teachers ''"),
        ({"teachers": "nobody", "values": {"teacher_share": 0.5}}, {}, "learns from arm 'nobody', which is not among"),
        ({"teachers": "student", "values": {"teacher_share": 0.5}}, {}, "without teachers of their own"),
        (
            {"teachers": "unseen", "values": {"teacher_share": 0.5}},
            {"values": {"split": "random_slice"}},  # has met the student's held-out patients
            "on the same split, size and neighbours, found arm 'unseen'",
        ),
        ({"teachers": "unseen", "values": {"teacher_share": 0.5, "neighbours": 1}}, {}, "size and neighbours"),
    ],
)
def test_an_arm_that_cannot_be_taught_so_is_named(student, teacher, message, store, tmp_path):
    path = tmp_path / "taught.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"arms": {"unseen": teacher, "student": student}}, sort_keys=False))
    with pytest.raises(SpiderError, match=re.escape(message)):
        plan(load_study(str(path)), store.table)


def test_trainings_of_another_study_are_taken_where_they_are_the_same(done, study, store, tmp_path, monkeypatch):
    out, counts = done
    other = tmp_path / "other"
    shutil.copytree(out / "trainings" / "unseen", other / "trainings" / "elsewhere")
    shutil.rmtree(other / "trainings" / "elsewhere" / "fold1_seed0")
    changed = other / "trainings" / "changed" / "fold1_seed0"
    shutil.copytree(out / "trainings" / "unseen" / "fold1_seed0", changed)
    note = json.loads((changed / harness.NOTE).read_text())
    (changed / harness.NOTE).write_text(json.dumps(note | {"made_from": note["made_from"] | {"width": 5}}))
    ran, original = [], harness.run_training
    monkeypatch.setattr(harness, "run_training", lambda one, *rest: ran.append(one.place) or original(one, *rest))
    found = run_study(study, store, tmp_path / "new", workers=1, finished=[other])
    pd.testing.assert_frame_equal(found, counts)
    assert {str(place) for place in ran} == {"unseen/fold1_seed0", "random/fold0_seed0", "random/fold1_seed0"}
    with pytest.raises(SpiderError, match="nowhere: expected the folder of a study, found none there"):
        run_study(study, store, tmp_path / "new", workers=1, finished=[tmp_path / "nowhere"])


@pytest.mark.slow
def test_parallel_workers_give_what_one_gives(done, study, store, tmp_path):
    pd.testing.assert_frame_equal(run_study(study, store, tmp_path, workers=2), done[1])


@pytest.mark.slow
def test_the_workers_of_a_dask_cluster_give_what_one_gives(done, study, store, tmp_path):
    distributed = pytest.importorskip("distributed", reason="Dask's distributed is not installed (extra 'cluster')")
    with patch.dict(os.environ):  # Dask leaves OMP_NUM_THREADS=1 behind, which would slow down all that comes after
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            counts = run_study(study, store, tmp_path, scheduler=cluster.scheduler_address)
    pd.testing.assert_frame_equal(counts, done[1])


def test_a_scheduler_that_is_not_there_is_named(study, store, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="Dask's distributed is not installed (extra 'cluster')")
    monkeypatch.setattr("spider_utils.studies.engine.WAIT", 1)
    with pytest.raises(SpiderError, match="scheduler tcp://127.0.0.1:9: expected the address of a Dask scheduler"):
        run_study(study, store, tmp_path, scheduler="tcp://127.0.0.1:9")


@pytest.mark.slow
def test_a_study_that_is_killed_repeats_no_finished_training_and_loses_none(done, store, tmp_path):
    """The command in a process of its own, killed with all its workers as soon as one training is finished."""
    study_file, out = tmp_path / "tiny.yaml", tmp_path / "out"
    study_file.write_text(yaml.safe_dump(STUDY, sort_keys=False))
    out.mkdir()
    (out / "store").symlink_to(store.path)
    command = [sys.executable, "-m", "spider_utils", "study", str(study_file), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    notes = out / "trainings"
    deadline = time.monotonic() + 600
    while not list(notes.glob("*/*/training.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in notes.glob("*/*/training.json")}
    assert 1 <= len(kept) < 4
    counts = run_study(load_study(str(study_file)), store, out, workers=1)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    pd.testing.assert_frame_equal(counts, done[1])


@pytest.mark.slow
def test_the_workers_of_a_study_that_is_killed_end_with_it(tmp_path):
    """The parent alone is killed, while both workers are at work that would go on for ten minutes."""
    code = (
        "import sys, time; from pathlib import Path; from spider_utils.studies.engine import run_parallel\n"
        "def work(path): Path(path).touch(); time.sleep(600)\n"
        "list(run_parallel(work, [(f'{sys.argv[1]}/{n}',) for n in range(2)], 2))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 300
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=120)
    for worker in alive:
        worker.kill()
    assert not alive


def run_file(path: Path, code: str) -> subprocess.CompletedProcess:
    """Write code to a file, which processes that are spawned can read again, and run it with this package."""
    path.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, timeout=300)


def test_a_training_in_a_process_of_its_own_may_start_processes_too(tmp_path):
    """As nnU-Net does to prepare its slices: by a pool of processes that are spawned."""
    code = (
        "import multiprocessing; from spider_utils.studies.engine import run_parallel\n"
        "def work(name):\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool: return pool.apply(len, (name,))\n"
        "if __name__ == '__main__': print(sorted(run_parallel(work, [('ab',), ('abc',)], 2)))"
    )
    done = run_file(tmp_path / "spawns.py", code)
    assert done.stdout.split("\n")[0] == "[2, 3]", done.stderr


@pytest.mark.slow
def test_a_worker_that_keeps_much_memory_is_replaced_without_a_word(tmp_path):
    code = (
        "import time; from spider_utils.studies.engine import run_parallel\n"
        "def work(n): time.kept = getattr(time, 'kept', b'') + b'1' * 200_000_000; time.sleep(1.2); return n\n"
        "if __name__ == '__main__': print(sorted(run_parallel(work, [(n,) for n in range(10)], 2)))"
    )
    done = run_file(tmp_path / "keeps.py", code)
    assert (done.stdout.strip(), done.stderr) == (str(list(range(10))), "")


def test_two_studies_in_one_folder_do_not_work_at_once(study, store, tmp_path, monkeypatch):
    monkeypatch.setattr("spider_utils.common.locks.WAIT", 0.1)
    with held(tmp_path):
        with pytest.raises(SpiderError, match="another process is at work there .a study.; wait until it has ended"):
            run_study(study, store, tmp_path, workers=1)
    assert not (tmp_path / "study.json").exists()


def test_other_settings_in_the_same_folder_are_refused(done, study, store, tmp_path):
    other = tmp_path / "tiny.yaml"
    other.write_text(yaml.safe_dump(STUDY | {"base": STUDY["base"] | {"gamma": 2.0}}))
    with pytest.raises(SpiderError, match="gamma = 4.0, now asked for 2.0; take another --out"):
        run_study(load_study(str(other)), store, done[0], workers=1)


def test_neighbours_count_every_slice_once_in_each_arm(done, study, store):
    table = neighbours(study, store, done[1].query("epoch == 2"))
    chosen = table.query("aggregation == 'pooled' and `class` == 'foreground'")
    alone = 0  # slices whose patient has no training slice in the fold that holds them out
    for one in plan(study, store.table):
        if one.arm == "random":
            split = make_split(store.table, one.split)
            trained = set(store.table["patient"].iloc[split.rows(store.table, "train")])
            alone += (~store.table["patient"].iloc[split.rows(store.table, "test")].isin(trained)).sum()
    counted = sum(SLICES) - alone
    assert chosen.groupby("arm")["slices"].sum().to_dict() == {"unseen": counted, "random": counted}
    assert chosen["distance"].between(1, 3).all()


def test_overrides_reach_the_base_and_the_study():
    study = load_study("leakage", {"epochs": 3, "folds": 4, "seeds": 7, "arms": ["unseen_patients"]})
    assert (study.base["epochs"], study.folds, study.seeds) == (3, 4, (7,))
    assert [arm.name for arm in study.arms] == ["unseen_patients"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": {}}, "arm 'unseen': not known"),
        ({"base": {"epoch": 3}}, "parameter 'epoch': not known"),
        ({"base": {"epochs": "many"}}, "epochs: expected int, found 'many'"),
        ({"base": {"schedule": "plateau"}}, "expected schedule cosine, found plateau"),
        ({"folds": 0}, "found no training"),
        ({"seeds": ["a"]}, "seeds: expected whole numbers"),
        ({"seeds": [0, 0]}, "seeds: expected each number once"),
        ({"score_epochs": [0, 2]}, "score_epochs: expected epochs from 1"),
        ({"epochs": 3}, "expected some of question, .*, found 'epochs'"),
        ({"ways": 3}, "ways: expected .*, found 3"),
        (
            {"arms": {"unseen": {"values": {"seed": 3}}}},
            "arm 'unseen': seed: a study sets it for each of its trainings",
        ),
        ({"arms": {"unseen": {"values": {"folds": 3}}}}, "arm 'unseen': folds: a study sets it"),
        ({"base": STUDY["base"] | {"seed": 3}}, "base: seed: a study sets it"),
        ({"base": STUDY["base"] | {"train_slices": 3}}, "base: train_slices: a study sets it"),
        ({"arms": {"unseen": {"value": {}}}}, "expected some of title, values, kind, teachers, found 'value'"),
        ({"arms": {"unseen": 3}}, "arm 'unseen': expected title, values, kind, teachers, found 3"),
        ({"arms": {"unseen": {"values": {"epochs": float("nan")}}}}, "epochs: expected int, found nan"),
        *(
            ({"arms": {"unseen": None, name: None}}, f"arm {re.escape(repr(name))}: expected a name of letters")
            for name in ("../x", "/abs", "..", "a/b", "a\\b", ".hidden", "", "two words", 3)
        ),
    ],
)
def test_a_bad_study_file_is_named(change, message, store, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(STUDY | change))
    with pytest.raises(SpiderError, match=message):
        plan(load_study(str(path)), store.table)
    path.write_text(yaml.safe_dump({name: value for name, value in STUDY.items() if name != "folds"}))
    with pytest.raises(SpiderError, match="expected the key 'folds' with a int, found None"):
        load_study(str(path))
    path.write_text("arms: [")
    with pytest.raises(SpiderError, match="expected YAML"):
        load_study(str(path))
    path.write_text(yaml.safe_dump(STUDY) + "seeds: [7]\n")
    with pytest.raises(SpiderError, match="expected YAML, found the key 'seeds' twice"):
        load_study(str(path))


@pytest.mark.parametrize("name", ["split", "fold", "seed"])
def test_what_a_study_sets_itself_cannot_be_overridden(name):
    with pytest.raises(SpiderError, match=f"{name}: a study sets it"):
        load_study("leakage", {name: 1})


def test_several_values_come_as_a_text_with_commas_and_a_leaky_arm_is_named():
    study = load_study("leakage", {"seeds": "0, 1", "arms": "unseen_patients,random_slices", "folds": 2})
    assert study.seeds == (0, 1) and [arm.name for arm in study.arms] == ["unseen_patients", "random_slices"]
    for one in FOLDER.glob("*.yaml"):
        for arm in load_study(one.stem).arms:
            assert ("LEAKY" in arm.title) == (arm.values.get("split") == "random_slice")


def test_a_store_of_other_settings_or_another_source_is_refused(store, tmp_path):
    (tmp_path / "store").symlink_to(store.path)
    with pytest.raises(SpiderError, match="store_height = 64, now asked for 128"):
        run_command("filters", tmp_path, overrides={"store_height": 128})
    (tmp_path / "source.json").write_text('{"source": "phantom"}')
    with pytest.raises(SpiderError, match="made with source phantom, now asked for released"):
        run_command("filters", tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("filters", {"overrides": {"epochs": 3}}, "study 'filters': takes no parameter 'epochs'"),
        ("filters", {"overrides": {"epoch": 3}}, "parameter 'epoch': not known"),
        ("labels", {}, "study 'labels': needs SPIDER's label values"),
    ],
)
def test_what_a_study_cannot_do_is_said_before_anything_is_fetched(name, options, message, tmp_path):
    with pytest.raises(SpiderError, match=message):
        run_command(name, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_study_of_labels_compares_every_slice_and_says_of_what(tmp_path):
    """One hand-made patient, labelled directly and by APTA."""
    data = make_folder(tmp_path / "data", patients=1)
    tables = run_command("labels", tmp_path / "out", source="spider", data_dir=data)
    found = pd.read_csv(tmp_path / "out" / "labels.csv")
    assert len(found) == len(tables["labels"]) and set(found["series"]) == {"1_t2"}
    assert (tmp_path / "out" / "labels_summary.csv").is_file()
    made = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert made["data_fingerprint"] == fingerprint(find_series("spider", data))
    assert made["settings"] == {"study": "labels", "source": "spider"}


def test_studies_without_training_leave_the_validation_patients_out(store):
    table = store.table.assign(subset=np.where(store.table["patient"] == 2, "validation", "training"))
    audit = store.audit.assign(subset=np.where(store.audit["patient"] == 2, "validation", "training"))
    left = replace(store, table=table, audit=audit).subset(table["subset"] != "validation")
    assert set(left.table["patient"]) == set(left.audit["patient"]) == {1, 3, 4, 5}
    assert len(left.masks) == len(left.images) == len(left.table) == sum(SLICES) - SLICES[1]
    assert (left.masks[SLICES[0]] == store.masks[SLICES[0] + SLICES[1]]).all()


def test_an_unknown_study_is_named_before_anything_is_fetched(tmp_path):
    with pytest.raises(SpiderError, match="study 'leak': no such study; expected one of .*leakage"):
        run_command("leak", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
def test_the_command_writes_tables_figures_and_where_they_come_from(done, study, store, tmp_path):
    path = tmp_path / "leakage.yaml"  # the name decides that the leakage tables are made
    path.write_text(yaml.safe_dump(STUDY | {"folds": 5, "score_epochs": [2]}))
    out = tmp_path / "out"
    out.mkdir()
    (out / "store").symlink_to(store.path)
    tables = run_command(str(path), out, "phantom", workers=1, overrides={"epochs": 2})
    for name in (
        "dice",
        "differences",
        "boundaries",
        "copying",
        "neighbours",
        "patients",
        "gains",
        "ceiling",
        "trainings",
    ):
        assert len(pd.read_csv(out / f"{name}.csv")) == len(tables[name]) > 0
    assert (out / "figures" / "leakage.png").stat().st_size > 20_000
    assert json.loads((out / "provenance.json").read_text())["data_fingerprint"] == "squares"
    pd.testing.assert_frame_equal(tables["gains"], tables["differences"])  # of the only pair of arms
    assert set(tables["patients"]["patient"]) == set(range(1, PATIENTS + 1))
    # a copied neighbour of a spine that hardly moves beats a network of two epochs, and another patient's mask
    copied = tables["copying"].query("`class` == 'foreground' and aggregation == 'pooled' and metric == 'dice'")
    assert copied["value"].max() > 0.85 > copied["value"].min()
