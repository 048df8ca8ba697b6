"""A store of small slices and a study on it, for the tests of the studies."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from spider_utils.data.labels import class_pixels
from spider_utils.data.store import COUNTS, SliceStore, open_store, write_store
from spider_utils.studies.harness import run_study
from spider_utils.studies.study_file import load_study

PATIENTS, SLICES = 5, (4, 5, 6, 4, 5)  # patients differ in their number of slices
STUDY = {
    "question": "Does it work?",
    "reference": "unseen",
    "score_epochs": [1, 2],
    "folds": 2,
    "seeds": [0],
    "base": {"split": "patient_kfold", "validation_share": 0.0, "width": 2, "train_height": 64, "train_width": 64}
    | {"batch_size": 4, "epochs": 2, "schedule": "cosine", "learning_rate": 0.02, "device": "cpu"},
    "arms": {
        "unseen": {"title": "unseen patients"},
        "random": {"title": "random slices (LEAKY)", "values": {"split": "random_slice"}},
    },
}


def make_small_store(folder: Path) -> SliceStore:
    """Slices of 64 x 48 with three squares, drifting from slice to slice: patients differ, neighbours hardly."""
    rng, parts = np.random.default_rng(0), []
    for patient, count in enumerate(SLICES, start=1):
        masks = np.zeros((count, 64, 48), np.uint8)
        row, column = rng.integers(4, 20), rng.integers(2, 8)
        for number in range(count):
            for label in (1, 2, 3):
                top, left = row + number, column + 13 * (label - 1)
                masks[number, top : top + 24, left : left + 10] = label
        images = (masks * 60 + rng.integers(0, 30, masks.shape)).astype(np.uint8)
        part = folder / f"{patient}.npz"
        np.savez(part, images=images, masks=masks)
        audit = pd.DataFrame(
            {"series": f"{patient}_t2_SPACE", "patient": patient, "sequence": "T2_SPACE"}, index=range(count)
        )
        audit = audit.assign(
            subset="training", slice_index=range(50, 50 + count), pixel_mm_row=np.nan, pixel_mm_col=np.nan
        )
        audit[COUNTS] = class_pixels(masks)
        audit = audit.assign(classes_present=4, kept=True, reason="kept")
        audit.to_csv(part.with_suffix(".csv"), index=False, na_rep="nan")
        parts.append(part)
    write_store(parts, {"preprocess": {"store_height": 64}, "fingerprint": "squares"}, (64, 48), folder / "store")
    return open_store(folder / "store")


def finish_small_study(out: Path) -> SliceStore:
    """Run STUDY for one epoch in `out`, on a small store made there; return the store."""
    store, path = make_small_store(out), out / "tiny.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"score_epochs": [1]}, sort_keys=False))
    run_study(load_study(str(path), {"epochs": 1}), store, out, workers=1)
    return store
