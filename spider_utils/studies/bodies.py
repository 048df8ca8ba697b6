"""Another site, another sequence: how much of each vertebral body do the shipped networks find, and what else?

A folder holds volumes NAME_image.* and label maps NAME_bodies.* on the same grid, a number for each vertebral *body*;
posterior elements, discs and canal are not labelled. So no Dice can be told, but the share of each body's voxels that
is called vertebra (its recall), and what the rest is taken for. Each volume is segmented twice: with intensities scaled
as in training, and laid over the training slices' (see `standardise`).

And beside the spine: slices without a labelled body show none of it but tips of processes at most. What is called
vertebra there, in pieces and ml, is counted; and the same on T2 series of the PHANTOM, in slices without any vertebra.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import progress
from spider_utils.data.labels import CANAL_LABEL, CLASSES
from spider_utils.data.phantom import phantom_series
from spider_utils.data.pose import to_pose
from spider_utils.data.spider import check_geometry
from spider_utils.data.volumes import find_volumes, read_volume, volume_name
from spider_utils.masks.pieces import label_pieces
from spider_utils.predict.network import ALL_SEQUENCES, SPECIALIST, ReadyNetwork, read_volume_settings, ready_network
from spider_utils.predict.volumes import predict_classes

SOURCE = "chu"  # the two volumes for which the study was made (see style.SOURCE_NOTES)
IMAGE, BODIES = "_image", "_bodies"
AS_TRAINED, STANDARD = WAYS = "as in training", "standardised"
NETWORKS = (ALL_SEQUENCES, SPECIALIST)
PHANTOM_PATIENTS = (1, 2, 3)


@dataclass(frozen=True)
class Case:
    """One segmented volume in the common pose: image, bodies and classes, (D, H, W) each, and spacing in mm."""

    name: str
    network: str
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


def segment_pairs(pairs: list[tuple[str, Path, Path]], networks: list[ReadyNetwork]) -> Iterator[Case]:
    """Segment every volume with both scales of intensities. Raises SpiderError when bodies are not on its grid."""
    jobs = [(pair, network, way) for pair in pairs for network in networks for way in WAYS]
    for (name, image_file, bodies_file), network, way in progress(jobs, desc="bodies", unit="volume"):
        image, bodies = read_volume(image_file), read_volume(bodies_file)
        check_geometry(image_file, image, bodies_file, bodies)
        yield segment(name, image, bodies, network, way)


def phantom_cases(networks: list[ReadyNetwork]) -> Iterator[Case]:
    """Segment the T2 series of PHANTOM patients; their vertebrae stand for bodies."""
    jobs = [(patient, network) for patient in PHANTOM_PATIENTS for network in networks]
    for patient, network in progress(jobs, desc="phantom", unit="volume"):
        image, mask = phantom_series(patient, "T2", seed=0)
        vertebrae = sitk.Cast((mask > 0) & (mask < CANAL_LABEL), sitk.sitkUInt8)
        yield segment(f"PHANTOM {patient}_t2", image, vertebrae, network, STANDARD)


def segment(name: str, image: sitk.Image, bodies: sitk.Image, network: ReadyNetwork, way: str) -> Case:
    """Segment one volume with one scale of intensities."""
    settings = read_volume_settings(network)
    settings = replace(settings, body_landmarks=()) if way == AS_TRAINED else settings
    classes, spacing = predict_classes(image, network, settings)
    shown, truth = (sitk.GetArrayFromImage(to_pose(one)) for one in (image, bodies))
    return Case(name, network.weights.stem, way, shown, truth, classes, spacing)


def body_rows(case: Case) -> list[dict]:
    """Return a row a body, by its number in the label map: its volume in ml, and the share of it called each class."""
    rows = []
    for label in np.unique(case.bodies[case.bodies > 0]):
        found = np.bincount(case.classes[case.bodies == label], minlength=len(CLASSES))
        row = place(case) | {"body": int(label)}
        row["ml"] = round(float(found.sum() * np.prod(case.spacing) / 1000), 2)
        rows.append(row | {name: found[number] / found.sum() for number, name in enumerate(CLASSES)})
    return rows


def place(case: Case) -> dict:
    """Return the columns that say which case a row is of."""
    return {"volume": case.name, "network": case.network, "intensities": case.intensities}


def island_row(case: Case) -> dict:
    """Return how much is called vertebra in slices that show none: slices (how many these are), pieces (connected in a
    slice, corners count) and ml.
    """
    beside = ~(case.bodies > 0).any(axis=(1, 2))
    false = case.classes[beside] == CLASSES.index("vertebrae")
    pieces = sum(len(label_pieces(one)[1]) - 1 for one in false)
    ml = round(float(false.sum() * np.prod(case.spacing) / 1000), 2)
    return place(case) | {"slices": int(beside.sum()), "pieces": pieces, "ml": ml}


def summarise_bodies(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean and the lowest share of a volume's bodies that is called vertebra, by network and scale of
    intensities.
    """
    groups = table.groupby(["volume", "network", "intensities"], sort=False)["vertebrae"]
    return groups.agg(bodies="count", mean="mean", lowest="min").reset_index()


def bodies_tables(pairs: list[tuple[str, Path, Path]]) -> tuple[dict[str, pd.DataFrame], list[Case]]:
    """Segment volumes with the shipped networks: tables `bodies`, `bodies_summary` and `islands`; and the cases to
    draw, of the network for all sequences.
    """
    networks = [ready_network(name) for name in NETWORKS]
    cases = list(segment_pairs(pairs, networks))
    table = pd.DataFrame([row for case in cases for row in body_rows(case)])
    islands = pd.DataFrame([island_row(case) for case in [*cases, *phantom_cases(networks)]])
    shown = [case for case in cases if case.network == NETWORKS[0]]
    return {"bodies": table, "bodies_summary": summarise_bodies(table), "islands": islands}, shown
