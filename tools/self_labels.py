"""Labels of a study's own networks for slices that nobody has labelled, as an arm "self" learns from:
`python -m tools.self_labels STUDY_DIR ARM --images DIR --metadata DIR --out DIR`.

Each fold's network segments the slices `<patient>_<t1|t2>.png` of all patients that its fold does not hold out, so that
what an arm learns in a fold comes from nobody whom it is scored on. Slices are stored either way up: the way that the
network is surer of counts (`uncertainty.expected_dice`). A mask is kept where the numbers of its vertebrae and discs
are within one of those recorded in overview.csv. Written is a folder of source `pairs`, with mask_from self0, self1, ..
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from spider_utils.commands.carry import find_unlabelled, plane
from spider_utils.common.files import write_text
from spider_utils.common.progress import progress
from spider_utils.data.intensity import scale_intensity
from spider_utils.data.png import read_grey
from spider_utils.data.spider import read_overview
from spider_utils.data.store import open_store
from spider_utils.masks.counting import count_structures
from spider_utils.predict.network import ready_network
from spider_utils.predict.slices import write_mask
from spider_utils.studies.counting import STRETCHED, STRUCTURES, count_row, segment_slice
from spider_utils.studies.folds import study_folds

FARTHEST = 1  # by so much the numbers of vertebrae and of discs may differ from the recorded ones


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of a finished study")
    parser.add_argument("arm", help="arm of the study, whose networks make the labels")
    for name in ("images", "metadata", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    store = open_store(options.study / "store")
    overview = read_overview(options.metadata)
    labelled = set(store.table["patient"])  # they have better masks than these
    patients = set(pd.to_numeric(overview["new_file_name"].str.split("_").str[0])) - labelled
    files, rows = find_unlabelled(options.images, patients), []
    for fold in study_folds(options.study, options.arm, store):
        network = ready_network(fold.checkpoint)
        for path, patient, sequence in progress(files, desc=f"fold {fold.number}", unit="slice"):
            image = read_grey(path)
            ways = [image[::-1], image]
            scaled = [scale_intensity(one[None].astype(np.float32), "slice_minmax")[0] for one in ways]
            found = [segment_slice(one, STRETCHED, network) for one in scaled]
            best = int(np.argmax([sure for _, sure in found]))
            mask, sure = found[best]
            row = count_row(f"{patient}_{sequence}", {}, count_structures(mask), overview)
            passed = all(abs(row[name] - row[f"recorded_{name}"]) <= FARTHEST for name in STRUCTURES)
            pixel_mm, middle = plane(f"{patient}_{sequence}", image.shape)
            name = f"{path.stem}_self{fold.number}.png"
            rows.append(
                {
                    "file": name, "patient": patient, "sequence": sequence.upper(), "subset": "training",
                    "slice_index": middle, "row_mm": pixel_mm[0], "col_mm": pixel_mm[1],
                    "mask_from": f"self{fold.number}", "head_up": bool(best), "expected_dice": sure, "passed": passed,
                }
            )  # fmt: skip
            if passed:
                write_mask(ways[best], options.out / "images" / name)
                write_mask(mask, options.out / "masks" / name)
    table = pd.DataFrame(rows).round(4)
    write_text(options.out / "self.csv", table.to_csv(index=False))
    write_text(options.out / "slices.csv", table.loc[table["passed"], :"mask_from"].to_csv(index=False))
    print(f"{table['passed'].sum()} of {len(table)} masks are kept: {options.out}")


if __name__ == "__main__":
    main()
