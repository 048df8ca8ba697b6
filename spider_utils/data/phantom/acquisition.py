"""From the anatomy to a stored series: sampling, partial volume, coil shading, noise, and the order of the axes."""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.phantom.anatomy import Anatomy, make_anatomy
from spider_utils.data.phantom.canal import make_course
from spider_utils.data.phantom.render import render
from spider_utils.data.phantom.shapes import Grid
from spider_utils.data.phantom.tissue import draw_contrast
from spider_utils.data.series import SEQUENCES

ORIENTATIONS = tuple(
    "".join(letters) for order in permutations(("LR", "AP", "SI")) for letters in product(*order)
)  # the 48 ways to store a volume, as the direction in which each axis runs
SIGNAL_OF_FAT = 900  # stored grey value of fat without shading


@dataclass(frozen=True)
class Protocol:
    """How one series is sampled: all lengths in mm."""

    sequence: str
    pixel_mm: float
    spacing_mm: float  # between slice centres
    thickness_mm: float
    slices: int
    columns_mm: float  # field of view from anterior to posterior
    samples: int  # sub-slices averaged into one slice, odd
    noise: float  # standard deviation relative to fat
    blur_pixels: float
    echo_ms: float
    repetition_ms: float


def draw_protocol(sequence: str, rng: np.random.Generator) -> Protocol:
    """Draw one series' protocol: T1 and T2 with thick slices, T2 SPACE nearly isotropic."""
    columns = float(rng.uniform(200, 235))
    if sequence == "T2_SPACE":
        return Protocol(
            sequence, pixel_mm=0.95, spacing_mm=float(rng.choice([1.25, 1.35, 1.5])), thickness_mm=1.2,
            slices=int(rng.integers(47, 53)), columns_mm=columns, samples=1, noise=float(rng.uniform(0.025, 0.04)),
            blur_pixels=0.25, echo_ms=130.0, repetition_ms=1500.0,
        )  # fmt: skip
    spacing = float(rng.choice([3.85, 4.0, 4.4]))
    echo = float(rng.integers(8, 14)) if sequence == "T1" else float(rng.integers(90, 121))
    return Protocol(
        sequence, pixel_mm=float(rng.choice([0.84, 0.9, 0.95])), spacing_mm=spacing,
        thickness_mm=round(0.9 * spacing, 2), slices=int(rng.integers(13, 18)), columns_mm=columns, samples=3,
        noise=float(rng.uniform(0.018, 0.032)), blur_pixels=0.45, echo_ms=echo,
        repetition_ms=600.0 if sequence == "T1" else 3200.0,
    )  # fmt: skip


@dataclass(frozen=True)
class Acquired:
    """One series in memory: image (int16) and mask (uint8) of the same geometry, and what the tables say of it."""

    image: sitk.Image
    mask: sitk.Image
    anatomy: Anatomy
    protocol: Protocol


def phantom_series(patient: int, sequence: str, seed: int) -> tuple[sitk.Image, sitk.Image]:
    """Make one series in memory: (image int16, mask uint8 with SPIDER's labels), sharing their geometry.

    `sequence` is "T1", "T2" or "T2_SPACE". Raises SpiderError for another one or for a negative patient or seed.
    """
    acquired = acquire(make_anatomy(*_checked(patient, sequence, seed)), sequence, seed)
    return acquired.image, acquired.mask


def _checked(patient: int, sequence: str, seed: int) -> tuple[int, int]:
    if sequence not in SEQUENCES:
        raise SpiderError(f"phantom: expected a sequence of {', '.join(SEQUENCES)}, found {sequence!r}")
    if patient < 0 or seed < 0:
        raise SpiderError(f"phantom: expected patient and seed of 0 or more, found {patient} and {seed}")
    return patient, seed


def acquire(anatomy: Anatomy, sequence: str, seed: int, protocol: Protocol | None = None) -> Acquired:
    """Sample one sequence of a patient, by a protocol or one that is drawn, and store it in an orientation that is
    drawn.
    """
    rng = np.random.default_rng([seed, anatomy.patient, 1 + SEQUENCES.index(sequence)])
    protocol = protocol or draw_protocol(sequence, rng)
    contrast = draw_contrast(sequence, rng)
    tilted = rng.random() < 0.4
    tilt = rng.uniform(-4, 4, 3) * tilted
    grid = _grid(anatomy, protocol, tilt)
    code = ORIENTATIONS[rng.integers(len(ORIENTATIONS))]
    painted = render(anatomy, contrast, grid, 1.1 * protocol.pixel_mm)
    signal = painted.signal * _shading(painted.depth - np.float32(anatomy.fat_mm), grid, rng)
    signal = _average(signal, protocol.samples)
    signal = _blur(signal, protocol.blur_pixels)
    scale = SIGNAL_OF_FAT * rng.uniform(0.6, 1.3)
    pixels = np.clip(_rician(signal, protocol.noise, rng) * scale, 0, 32767).astype(np.int16)
    labels = np.ascontiguousarray(painted.labels[protocol.samples // 2 :: protocol.samples])
    image, mask = (reorient(_volume(array, grid, protocol), code) for array in (pixels, labels))
    return Acquired(image, mask, anatomy, protocol)


def reorient(image: sitk.Image, code: str) -> sitk.Image:
    """Store a volume with other axes, e.g. "LPS" or "AIR": same voxels at the same places, true direction cosines."""
    if code not in ORIENTATIONS:
        raise SpiderError(f"orientation: expected three letters such as LPS or AIR, found {code!r}")
    return sitk.DICOMOrient(image, code)


def _grid(anatomy: Anatomy, protocol: Protocol, tilt_deg: np.ndarray) -> Grid:
    """Lay the slices over the spine: the canal at two thirds of the columns, the top where the anatomy says."""
    course = make_course(anatomy)
    z = np.arange(anatomy.top_mm - anatomy.height_mm, anatomy.top_mm, 2.0)
    y_last = float(np.max(course.at(course.fascia, z))) + anatomy.fat_mm * 1.2 + 10
    x_middle = float(np.mean(course.at(course.x, z)))
    middle = np.array([x_middle, y_last - protocol.columns_mm / 2, anatomy.top_mm - anatomy.height_mm / 2])
    axes = _rotation(tilt_deg) @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)
    within = (np.arange(protocol.samples) - protocol.samples // 2) * protocol.thickness_mm / protocol.samples
    slices = (np.arange(protocol.slices) - (protocol.slices - 1) / 2) * protocol.spacing_mm
    rows = np.arange(round(anatomy.height_mm / protocol.pixel_mm)) * protocol.pixel_mm
    columns = np.arange(round(protocol.columns_mm / protocol.pixel_mm)) * protocol.pixel_mm
    positions = (slices[:, None] + within).ravel(), rows - rows.mean(), columns - columns.mean()
    return Grid(middle, axes, positions)


def _rotation(degrees: np.ndarray) -> np.ndarray:
    """A rotation given by three small angles, used on the rows of a matrix of axes."""
    a, b, c = np.radians(degrees)
    first = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    second = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])
    third = np.array([[np.cos(c), np.sin(c), 0], [-np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return first @ second @ third


def _shading(depth: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Sensitivity of a coil under the back, (S, R, C): falls off with depth below the fascia (mm) and to both ends."""
    reach = rng.uniform(140, 300)
    gain = np.float32(1.2) * np.exp(-np.clip(depth, -30, 250) * np.float32(1 / reach)) + np.float32(0.12)
    rows = grid.positions[1]
    place = rows / np.ptp(rows) * 2
    ends = 1 - rng.uniform(0.1, 0.35) * np.abs(place + rng.uniform(-0.25, 0.25)) ** 2.5
    gain *= ends.astype(np.float32)[None, :, None]
    if rng.random() < 0.5:  # a saturation band over the abdomen
        start = np.float32(rng.uniform(100, 130))
        gain *= np.float32(0.25) + np.float32(0.75) * np.clip(1 - (depth - start) / 12, 0, 1)
    return gain


def _average(signal: np.ndarray, samples: int) -> np.ndarray:
    """Average the sub-slices of every slice: (slices * samples, R, C) to (slices, R, C)."""
    return signal.reshape(-1, samples, *signal.shape[1:]).mean(axis=1)


def _blur(signal: np.ndarray, sigma: float) -> np.ndarray:
    """Blur within the slices, sigma in pixels (three taps)."""
    tap = np.float32(np.exp(-0.5 / sigma**2))
    for axis in (1, 2):
        padded = np.pad(signal, [(1, 1) if axis == other else (0, 0) for other in range(3)], mode="edge")
        count = signal.shape[axis]
        before, after = (padded.take(range(start, start + count), axis) for start in (0, 2))
        signal = (signal + tap * (before + after)) / (1 + 2 * tap)
    return signal


def _rician(signal: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Magnitude of the signal with normal noise of `sigma` in both channels."""
    real, imaginary = (rng.standard_normal(signal.shape, dtype=np.float32) * np.float32(sigma) for _ in range(2))
    return np.hypot(signal + real, imaginary)


def _volume(array: np.ndarray, grid: Grid, protocol: Protocol) -> sitk.Image:
    """Wrap an array (slices, rows, columns) with its place in the patient."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((protocol.pixel_mm, protocol.pixel_mm, protocol.spacing_mm))
    image.SetDirection(np.ascontiguousarray(grid.axes[::-1].T).ravel().tolist())
    first = [positions[0] for positions in grid.positions]
    first[0] = grid.positions[0][protocol.samples // 2]
    image.SetOrigin((grid.origin + np.array(first) @ grid.axes).tolist())
    return image
