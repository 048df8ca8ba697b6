"""Make the sample that the package holds: real slices of the three sequences, made smaller.

    python -m tools.sample --released DIR --pairs DIR --out spider_utils/data/sample

--released is what `download --source released` fetches, --pairs a folder of T1 and T2 pairs (`spider_utils.data.pairs`)
whose table has the column image_from. Taken are all pairs, and the RUN neighbouring T2 SPACE slices in the middle of
PATIENTS patients: those who have pairs too, and then by number. Of SPIDER's training subset only.

Written are images/, masks/ and slices.csv as in a folder of pairs, and manifest.csv: file, image_origin and mask_origin
(repository@commit, and the path in it where it is known), and the SHA-256 of image and mask, here and before. The same
files and the same Pillow give the same bytes. The folder's README.md is written by hand.
"""

import argparse
import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path
from spider_utils.data.download import RELEASED_COMMIT, RELEASED_FOLDER, RELEASED_URL, git_blob_id, read_manifest
from spider_utils.data.pairs import TABLE, read_table
from spider_utils.data.png import read_grey, slice_key
from spider_utils.data.series import CODINGS, Series
from spider_utils.data.sources import find_series

PATIENTS, RUN = 14, 12
ROWS = 320  # of a slice at most, pixels
MANIFEST = "manifest.csv"
KINDS = ("image", "mask")


def choose_runs(released: tuple[Series, ...], pairs: tuple[Series, ...]) -> list[Series]:
    """Return the middle slices of the patients chosen. Raises SpiderError where they have a gap or are too few."""
    paired = {one.patient for one in pairs}
    training = [one for one in released if one.subset == "training"]
    chosen = sorted(training, key=lambda one: (one.patient not in paired, one.patient))[:PATIENTS]
    if len(chosen) < PATIENTS:
        raise SpiderError(f"released: expected {PATIENTS} training patients or more, found {len(chosen)}")
    return [_middle(one) for one in chosen]


def _middle(series: Series) -> Series:
    first = (len(series.image_files) - RUN) // 2
    kept = slice(max(first, 0), max(first, 0) + RUN)
    index = tuple(slice_key(path)[1] for path in series.image_files[kept])
    if len(index) < RUN or index[-1] - index[0] != RUN - 1:
        raise SpiderError(f"{series.name}: expected {RUN} slices without a gap in the middle, found numbers {index}")
    return replace(
        series, image_files=series.image_files[kept], mask_files=series.mask_files[kept], index=index, pixel_mm=None
    )


def new_size(shape: tuple[int, int], pixel_mm: tuple[float, float] | None) -> tuple[int, int]:
    """Return the (rows, columns) that a slice gets: ROWS rows at most, its field of view, and no axis enlarged.

    Where the pixel's size is known its pixels become square; otherwise rows and columns shrink by the same factor.
    """
    row_mm, col_mm = pixel_mm or (1.0, 1.0)
    rows = min(shape[0], ROWS)
    columns = round(shape[1] * col_mm / (shape[0] * row_mm / rows))
    return rows, min(shape[1], columns)


def shrink(pixels: np.ndarray, size: tuple[int, int], nearest: bool) -> np.ndarray:
    """Make (H, W) uint8 smaller, to `size`: nearest neighbour, or Pillow's Hamming filter, whose weights cover what a
    new pixel does, so that nothing is left out, and are never negative, so that no grey is beyond those around it.
    """
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.HAMMING
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), how))


def write_series(series: Series, out: Path) -> list[dict]:
    """Write the slices of a series and their masks; return a row a slice, of slices.csv and manifest.csv together."""
    rows = []
    for image_file, mask_file, number in zip(series.image_files, series.mask_files, series.index, strict=True):
        image, mask = _grey_bytes(image_file), CODINGS[series.coding](_grey_bytes(mask_file))
        size = new_size(image.shape, series.pixel_mm)
        row = {"file": image_file.name, "patient": series.patient, "sequence": series.sequence}
        row |= {"subset": series.subset, "slice_index": number, "slice_distance_mm": series.slice_mm}
        if series.pixel_mm:
            extent = [count * mm for count, mm in zip(image.shape, series.pixel_mm, strict=True)]
            row |= {"row_mm": round(extent[0] / size[0], 4), "col_mm": round(extent[1] / size[1], 4)}
        for kind, pixels, source in zip(KINDS, (image, mask), (image_file, mask_file), strict=True):
            target = out / f"{kind}s" / image_file.name
            with atomic_path(target) as path:
                Image.fromarray(shrink(pixels, size, nearest=kind == "mask")).save(path, "PNG", optimize=True)
            row |= {
                f"{kind}_sha256": sha256(target),
                f"source_{kind}_sha256": sha256(source),
            }
        rows.append(row)
    return rows


def _grey_bytes(path: Path) -> np.ndarray:
    pixels = read_grey(path)
    if pixels.dtype != np.uint8:
        raise SpiderError(f"{path}: expected an 8-bit grey PNG, found one of 16 bits; store it as 8-bit grey")
    return pixels


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_released(series: list[Series]) -> None:
    """Raise SpiderError on a file that is not the published one, by its git blob id."""
    blobs = {one.path: one.blob for one in read_manifest()}
    for path in (path for one in series for path in one.image_files + one.mask_files):
        if git_blob_id(path.read_bytes()) != blobs.get(f"{path.parent.name}/{path.name}"):
            raise SpiderError(f"{path}: expected the file as released, found another; fetch it again")


def origins(released: list[Series], pairs: pd.DataFrame) -> pd.DataFrame:
    """Return where image and mask of each file come from: file, image_origin, mask_origin."""
    repository = "/".join(RELEASED_URL.split("/")[3:5])
    names = [path.name for one in released for path in one.image_files]
    below = f"{repository}@{RELEASED_COMMIT}:{RELEASED_FOLDER}"
    rows = [{"file": name} | {f"{kind}_origin": f"{below}/{kind}s/{name}" for kind in KINDS} for name in names]
    for file, told in zip(pairs["file"], pairs["image_from"], strict=True):
        parts = dict.fromkeys(KINDS, told)  # "REPOSITORY (image), REPOSITORY (mask)" where they are two
        for part in told.split(", "):
            for kind in KINDS:
                if part.endswith(f" ({kind})"):
                    parts[kind] = part.removesuffix(f" ({kind})")
        rows.append({"file": file} | {f"{kind}_origin": parts[kind] for kind in KINDS})
    return pd.DataFrame(rows)


def make_sample(released_dir: Path, pairs_dir: Path, out: Path) -> None:
    """Make the sample in `out`. Raises SpiderError where slices are there already, and on what is refused above."""
    if (out / "images").exists() or (out / "masks").exists():
        raise SpiderError(f"{out}: expected no images/ and masks/ yet, found some; remove them or name another folder")
    pairs = find_series("pairs", pairs_dir)
    for one in pairs:
        if one.subset != "training":
            raise SpiderError(
                f"{one.name}: expected a patient of the training subset, found '{one.subset}'; leave it out"
            )
    runs = choose_runs(find_series("released", released_dir), pairs)
    check_released(runs)
    rows = pd.DataFrame([row for one in (*runs, *pairs) for row in write_series(one, out)])
    rows = rows.merge(origins(runs, read_table(pairs_dir / TABLE)), on="file", validate="one_to_one")
    rows = rows.sort_values(["patient", "sequence", "slice_index"])
    told = ["file", "patient", "sequence", "subset", "slice_index", "row_mm", "col_mm", "slice_distance_mm"]
    made = [f"{kind}_{what}" for what in ("origin", "sha256") for kind in KINDS]
    for name, columns in ((TABLE, told), (MANIFEST, ["file", *made, *(f"source_{kind}_sha256" for kind in KINDS)])):
        with atomic_path(out / name) as path:
            rows[columns].to_csv(path, index=False, lineterminator="\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, what in (("released", "the released slices"), ("pairs", "the pairs"), ("out", "the sample's folder")):
        parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    options = parser.parse_args()
    make_sample(options.released, options.pairs, options.out)
    files = [path for path in options.out.rglob("*") if path.is_file()]
    print(f"{options.out}: {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
