"""Another site, another sequence: how much of each vertebral body does the shipped network find?

A folder holds volumes NAME_image.* and label maps NAME_bodies.* on the same grid, a number for each vertebral *body*;
posterior elements, discs and canal are not labelled. So no Dice can be told, but the share of each body's voxels that
is called vertebra (its recall), and what the rest is taken for. Each volume is segmented twice: with intensities scaled
as in training, and laid over the training slices' (see `standardise`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import progress
from spider_utils.data.labels import CLASSES
from spider_utils.data.pose import to_pose
from spider_utils.data.spider import check_geometry
from spider_utils.data.volumes import find_volumes, read_volume, volume_name
from spider_utils.predict.network import ReadyNetwork, read_volume_settings, ready_network
from spider_utils.predict.volumes import predict_classes

SOURCE = "chu"  # the two volumes for which the study was made (see style.SOURCE_NOTES)
IMAGE, BODIES = "_image", "_bodies"
AS_TRAINED, STANDARD = "as in training", "standardised"


@dataclass(frozen=True)
class Case:
    """One segmented volume in the common pose: image, bodies and classes, (D, H, W) each, and spacing in mm."""

    name: str
    intensities: str  # AS_TRAINED or STANDARD
    image: np.ndarray
    bodies: np.ndarray
    classes: np.ndarray
    spacing: tuple[float, float, float]


def find_pairs(folder: Path | str) -> list[tuple[str, Path, Path]]:
    """List the volumes of a folder that have bodies: name, image, label map. Raises SpiderError when there is none."""
    files = {volume_name(path): path for path in find_volumes(folder)}
    pairs = [
        (name.removesuffix(IMAGE), path, files[name.removesuffix(IMAGE) + BODIES])
        for name, path in files.items()
        if name.endswith(IMAGE) and name.removesuffix(IMAGE) + BODIES in files
    ]
    if not pairs:
        raise SpiderError(f"{folder}: expected volumes NAME{IMAGE}.* with label maps NAME{BODIES}.*, found none")
    return pairs


def segment_pairs(pairs: list[tuple[str, Path, Path]], network: ReadyNetwork) -> Iterator[Case]:
    """Segment every volume with both scales of intensities. Raises SpiderError when bodies are not on its grid."""
    settings = read_volume_settings(network)
    ways = {AS_TRAINED: replace(settings, landmarks=()), STANDARD: settings}
    jobs = [(pair, way) for pair in pairs for way in ways]
    for (name, image_file, bodies_file), way in progress(jobs, desc="bodies", unit="volume"):
        image, bodies = read_volume(image_file), read_volume(bodies_file)
        check_geometry(image_file, image, bodies_file, bodies)
        classes, spacing = predict_classes(image, network, ways[way])
        arrays = (sitk.GetArrayFromImage(to_pose(one)) for one in (image, bodies))
        yield Case(name, way, *arrays, classes, spacing)


def body_rows(case: Case) -> list[dict]:
    """Return a row a body, by its number in the label map: its volume in ml, and the share of it called each class."""
    rows = []
    for label in np.unique(case.bodies[case.bodies > 0]):
        found = np.bincount(case.classes[case.bodies == label], minlength=len(CLASSES))
        row = {"volume": case.name, "intensities": case.intensities, "body": int(label)}
        row["ml"] = round(float(found.sum() * np.prod(case.spacing) / 1000), 2)
        rows.append(row | {name: found[number] / found.sum() for number, name in enumerate(CLASSES)})
    return rows


def summarise_bodies(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean and the lowest share of a volume's bodies that is called vertebra, by scale of intensities."""
    groups = table.groupby(["volume", "intensities"], sort=False)["vertebrae"]
    return groups.agg(bodies="count", mean="mean", lowest="min").reset_index()


def bodies_tables(pairs: list[tuple[str, Path, Path]]) -> tuple[dict[str, pd.DataFrame], list[Case]]:
    """Segment volumes with the shipped network: tables `bodies` and `bodies_summary`, and the cases to draw."""
    cases = list(segment_pairs(pairs, ready_network()))
    table = pd.DataFrame([row for case in cases for row in body_rows(case)])
    return {"bodies": table, "bodies_summary": summarise_bodies(table)}, cases
