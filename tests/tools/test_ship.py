"""Networks of all patients, on a small study: a taught arm's teachers are trained on all patients, too."""

import json
from dataclasses import asdict

import pytest
import yaml
from safetensors.torch import load_file

from spider_utils.common.errors import SpiderError
from spider_utils.studies.study_file import load_study
from spider_utils.train.checkpoints import NETWORK_FILE, STATE
from tests.helpers.small_study import STUDY, make_small_store
from tools.ship import train_on_all

ARMS = {"unseen": {}, "student": {"teachers": "unseen", "values": {"teacher_share": 0.5}}}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a study of one epoch and two seeds, none of whose folds is trained."""
    folder = tmp_path_factory.mktemp("study")
    make_small_store(folder)  # in folder / "store"
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"arms": ARMS, "seeds": [0, 1]}, sort_keys=False))
    made = asdict(load_study(str(path), {"epochs": 1, "score_epochs": 1}))
    (folder / "study.json").write_text(json.dumps({"study": made}))
    return folder


def weights(folder):
    return load_file(folder / NETWORK_FILE)["head.weight"]


def test_a_taught_network_learns_from_its_teachers_of_all_seeds(study):
    taught = train_on_all(study, "student")
    assert sorted(path.name for path in (study / "shipped").iterdir()) == [
        "student_seed0",
        "unseen_seed0",
        "unseen_seed1",
    ]
    about = json.loads((taught / "best.json").read_text(encoding="utf-8"))
    assert about["teachers"] == ["unseen_seed0", "unseen_seed1"]
    assert about["trained_on"]["slices"] == len((study / "store" / "slices.csv").read_text().splitlines()) - 1
    alone = train_on_all(study, "unseen")  # as the teacher of seed 0, which is there
    assert alone.name == "unseen_seed0" and not weights(taught).equal(weights(alone))
    assert "teachers" not in json.loads((alone / "best.json").read_text(encoding="utf-8"))


def test_the_seed_decides_the_network(study):
    assert not weights(train_on_all(study, "unseen", 1)).equal(weights(train_on_all(study, "unseen", 0)))


def test_what_is_finished_is_not_trained_again_and_another_training_is_refused(study):
    folder = train_on_all(study, "unseen")
    (folder / STATE).unlink()  # as where the network alone was brought from another machine
    before = (folder / NETWORK_FILE).stat().st_mtime_ns
    assert train_on_all(study, "unseen") == folder and (folder / NETWORK_FILE).stat().st_mtime_ns == before
    store = study / "store" / "store.json"
    before = store.read_text(encoding="utf-8")
    store.write_text(json.dumps(json.loads(before) | {"fingerprint": "other"}), encoding="utf-8")
    with pytest.raises(SpiderError, match="trained with data = .*, now asked for .*other"):
        train_on_all(study, "unseen")
    store.write_text(before, encoding="utf-8")
    made = json.loads((study / "study.json").read_text(encoding="utf-8"))
    made["study"]["base"]["learning_rate"] = 0.5
    (study / "study.json").write_text(json.dumps(made))
    with pytest.raises(SpiderError, match="trained with learning_rate = .*, now asked for 0.5"):
        train_on_all(study, "unseen")
