"""The round-trip bench: what the detour over 2D slices costs a volume, without any error of a network.

A phantom's volume goes through `predict.volumes` as a user's does, but the network is a perfect one: it answers with
the reference's own slices. What comes back, laid onto the volume's grid, is compared with the reference voxel by voxel.
Two things are told apart:

- the way through the volume's orientation and back, with the slices at their own size: must cost nothing;
- the network's size: a perfect network can at best tell each class's share of its own, larger pixels ("shares"), or
  the class in the middle of each ("nearest"), as a network that is sure of every pixel.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spider_utils.common.progress import progress
from spider_utils.data.geometry import Geometry
from spider_utils.data.labels import CLASSES, FOREGROUND, four_classes
from spider_utils.data.phantom.acquisition import ORIENTATIONS, Protocol, acquire, reorient
from spider_utils.data.phantom.anatomy import make_anatomy
from spider_utils.data.pose import from_pose, to_pose
from spider_utils.evaluate.metrics import dice, overlap_counts
from spider_utils.models.batches import network_masks
from spider_utils.predict.network import ReadyNetwork, VolumeSettings
from spider_utils.predict.volumes import predict_classes, slice_field

PATIENT, SEED = 3, 0
OBLIQUE = 20.0  # degrees, about each of the patient's axes in turn
SIZES = ((0, 0), (640, 512), (320, 256))  # of the network's input, (height, width); 0: the slices' own
ANSWERS = ("shares", "nearest")
# As SPIDER's series are sampled (overview.csv): pixel and slice distance in mm.
SAMPLED = {"T2 SPACE": (0.46875, 1.0), "T2, thin slices": (0.47, 1.0), "T1 / T2": (0.63, 4.4)}


@dataclass(frozen=True)
class Extent:
    """How much of the spine the bench looks at, in mm: across, and the slices' height and width. By default the middle
    third of what SPIDER's T2 SPACE series show, in which the canal lies, and the whole of their slices.
    """

    across_mm: float = 40.0
    rows_mm: float = 300.0
    columns_mm: float = 240.0


class PerfectNetwork(nn.Module):
    """Answers slice after slice with the reference instead of looking: logits (N, classes, h, w).

    `slices` (D, H, W) uint8 are the reference's, in the field that the network's input spans.
    """

    def __init__(self, slices: np.ndarray, size: tuple[int, int], answer: str):
        super().__init__()
        self.slices, self.size, self.answer, self.next = slices, size, answer, 0

    def forward(self, images: Tensor) -> Tensor:
        """Return the answer for as many slices as there are `images` (N, C, h, w), the next ones in order."""
        part = self.slices[self.next : self.next + len(images)]
        self.next += len(images)
        masks = torch.from_numpy(part)[:, None] if self.answer == "shares" else network_masks(part, self.size)[:, None]
        shares = torch.cat([masks == label for label in range(len(CLASSES))], dim=1).float()
        if self.answer == "shares":
            shares = F.interpolate(shares, size=self.size, mode="area")
        return shares


def roundtrip(image: sitk.Image, mask: sitk.Image, size: tuple[int, int], answer: str) -> tuple[dict[str, float], bool]:
    """Send a volume through a perfect network; return the Dice of each class in 3D and whether the grid is the same.

    `mask` holds SPIDER's labels on the grid of `image`; `size` is the network's (height, width); (0, 0): the slices'.
    """
    reference = four_classes(sitk.GetArrayFromImage(to_pose(mask)))
    shape = reference.shape[1:]
    size = size if min(size) else shape
    network = ReadyNetwork(nn.Identity(), torch.device("cpu"), size)
    field = slice_field(shape, to_pose(mask).GetSpacing()[1::-1], network, VolumeSettings())
    assert field == shape, "a network without volume settings sees the slice as it is"
    network = replace(network, model=PerfectNetwork(reference, size, answer))
    classes, _ = predict_classes(image, network)
    back = from_pose(classes, image)
    truth, found = (four_classes(sitk.GetArrayFromImage(one)) if one is mask else sitk.GetArrayFromImage(one)
                    for one in (mask, back))  # fmt: skip
    scores = {name: overlap_counts(truth == CLASSES.index(name), found == CLASSES.index(name)) for name in FOREGROUND}
    return {name: float(dice(*counts)) for name, counts in scores.items()}, same_grid(back, image)


def same_grid(first: sitk.Image, second: sitk.Image) -> bool:
    """Return whether size, spacing, origin and direction of two volumes are equal, bit for bit."""
    return all(
        getattr(first, name)() == getattr(second, name)()
        for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection")
    )


def tilted(volume: sitk.Image, axis: int, degrees: float) -> sitk.Image:
    """Turn a volume in the patient about one of the patient's axes (0 to the left, 1 to the back, 2 to the head)."""
    a, (i, j) = math.radians(degrees), [other for other in range(3) if other != axis]
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = math.cos(a)
    turn[i, j], turn[j, i] = -math.sin(a), math.sin(a)
    turned = sitk.Image(volume)
    turned.SetDirection((turn @ np.reshape(volume.GetDirection(), (3, 3))).ravel().tolist())
    turned.SetOrigin((turn @ volume.GetOrigin()).tolist())
    return turned


def sampled_phantom(name: str, extent: Extent) -> tuple[sitk.Image, sitk.Image]:
    """Make the phantom's patient as a series of SAMPLED: image int16 and mask uint8 with SPIDER's labels."""
    pixel, distance = SAMPLED[name]
    sequence = "T2_SPACE" if name == "T2 SPACE" else "T2"
    spacing = distance, pixel, pixel
    shape = round(extent.across_mm / distance), round(extent.rows_mm / pixel), round(extent.columns_mm / pixel)
    protocol = Protocol(
        sequence, Geometry("", shape, spacing, slices_first=True), samples=1, noise=0.03, blur_pixels=0.25,
        echo_ms=100.0, repetition_ms=1500.0,
    )  # fmt: skip
    acquired = acquire(make_anatomy(PATIENT, SEED), sequence, SEED, protocol)
    return acquired.image, acquired.mask


def roundtrip_table(extent: Extent = Extent()) -> pd.DataFrame:
    """Send every series of SAMPLED through perfect networks, and T2 SPACE in all orientations and oblique ones.

    A row a series, orientation, network's size and answer: Dice of each class, and whether the grid is the same.
    """
    jobs = [(name, "as made", size, answer) for name in SAMPLED for size in SIZES for answer in ANSWERS]
    poses = [*ORIENTATIONS, *(f"{OBLIQUE:.0f} degrees about {axis}" for axis in ("x", "y", "z"))]
    jobs += [("T2 SPACE", pose, size, "shares") for pose in poses for size in (SIZES[0], SIZES[-1])]
    made: dict[str, tuple[sitk.Image, sitk.Image]] = {}
    rows = []
    for name, pose, size, answer in progress(jobs, desc="roundtrip", unit="volume"):
        if answer == "nearest" and not min(size):
            continue  # at the slices' own size both answers are the same
        if name not in made:
            made = {name: sampled_phantom(name, extent)}
        image, mask = (posed(volume, pose) for volume in made[name])
        scores, same = roundtrip(image, mask, size, answer)
        shown = f"{size[1]} x {size[0]}" if min(size) else "own"
        row = {"series": name, "spacing_mm": " x ".join(f"{step:g}" for step in SAMPLED[name]), "pose": pose}
        rows.append(row | {"network_size": shown, "answer": answer} | scores | {"same_grid": same})
    return pd.DataFrame(rows)


def posed(volume: sitk.Image, pose: str) -> sitk.Image:
    """Return a volume in one of the 48 orientations, turned by OBLIQUE degrees about an axis, or as it was made."""
    if pose in ORIENTATIONS:
        return reorient(volume, pose)
    return volume if pose == "as made" else tilted(volume, "xyz".index(pose[-1]), OBLIQUE)


def summarise_roundtrip(table: pd.DataFrame) -> pd.DataFrame:
    """Return the lowest Dice of each class over the poses of a series, network's size and answer."""
    keys = ["series", "spacing_mm", "network_size", "answer"]
    groups = table.groupby(keys, sort=False)
    lowest = groups[list(FOREGROUND)].min()
    return lowest.assign(poses=groups["pose"].nunique(), same_grid=groups["same_grid"].all()).reset_index()
