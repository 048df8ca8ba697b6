"""From the anatomy to a stored series: sampling, partial volume, coil shading, noise, and the order of the axes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.geometry import Geometry, spider_geometries
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
MOST_PIXELS = 57_600  # of a slice, where nothing else is asked for: a set is made in seconds
BELOW_MM = 38.0  # of the sacrum that a series shows at least
POINTS = 1_000_000  # rendered at a time: bounds the memory that a large series takes


@dataclass(frozen=True)
class Protocol:
    """How one series is acquired: its grid, and what a slice of it averages."""

    sequence: str
    geometry: Geometry
    samples: int  # sub-slices averaged into one slice, odd
    noise: float  # standard deviation relative to fat
    blur_pixels: float
    echo_ms: float
    repetition_ms: float

    @property
    def thickness_mm(self) -> float:
        """A tenth of the distance of two slices is a gap, as in most of SPIDER's T1 and T2 series (overview.csv)."""
        return 0.9 * self.geometry.spacing_mm[0]


def draw_protocol(anatomy: Anatomy, sequence: str, rng: np.random.Generator, most_pixels: int) -> Protocol:
    """Draw one series' protocol: the grid of one of SPIDER's series of this sequence that is tall enough for the
    patient, made coarser where its slices have more than `most_pixels` (0: never).
    """
    grids = spider_geometries()[sequence]
    needed = min(anatomy.top_mm + BELOW_MM, max(one.rows_mm for one in grids))
    fitting = [one for one in grids if one.rows_mm >= needed]
    geometry = fitting[rng.integers(len(fitting))]
    if sequence == "T2_SPACE":
        return Protocol(
            sequence, geometry.coarser(most_pixels, slices_too=True), samples=1, noise=float(rng.uniform(0.025, 0.04)),
            blur_pixels=0.25, echo_ms=130.0, repetition_ms=1500.0,
        )  # fmt: skip
    echo = float(rng.integers(8, 14)) if sequence == "T1" else float(rng.integers(90, 121))
    return Protocol(
        sequence, geometry.coarser(most_pixels, slices_too=False), samples=3, noise=float(rng.uniform(0.018, 0.032)),
        blur_pixels=0.45, echo_ms=echo, repetition_ms=600.0 if sequence == "T1" else 3200.0,
    )  # fmt: skip


@dataclass(frozen=True)
class Acquired:
    """One series in memory: image (int16) and mask (uint8) of the same geometry, and what the tables say of it."""

    image: sitk.Image
    mask: sitk.Image
    anatomy: Anatomy
    protocol: Protocol


def phantom_series(
    patient: int, sequence: str, seed: int, most_pixels: int = MOST_PIXELS
) -> tuple[sitk.Image, sitk.Image]:
    """Make one series in memory: (image int16, mask uint8 with SPIDER's labels), sharing their geometry.

    `sequence` is "T1", "T2" or "T2_SPACE"; `most_pixels` of a slice, see `Geometry.coarser`. Raises SpiderError for
    another sequence or for a negative patient, seed or number of pixels.
    """
    patient, seed = _checked(patient, sequence, seed, most_pixels)
    acquired = acquire(make_anatomy(patient, seed), sequence, seed, most_pixels=most_pixels)
    return acquired.image, acquired.mask


def _checked(patient: int, sequence: str, seed: int, most_pixels: int) -> tuple[int, int]:
    if sequence not in SEQUENCES:
        raise SpiderError(f"phantom: expected a sequence of {', '.join(SEQUENCES)}, found {sequence!r}")
    if min(patient, seed, most_pixels) < 0:
        found = f"{patient}, {seed} and {most_pixels}"
        raise SpiderError(f"phantom: expected patient, seed and pixels of 0 or more, found {found}")
    return patient, seed


def acquire(
    anatomy: Anatomy, sequence: str, seed: int, protocol: Protocol | None = None, most_pixels: int = MOST_PIXELS
) -> Acquired:
    """Sample one sequence of a patient, by a protocol or one that is drawn (`draw_protocol`), and store it as SPIDER
    stores such a grid, each axis running one way or the other.

    What is drawn does not depend on `most_pixels`, but for the noise.
    """
    rng = np.random.default_rng([seed, anatomy.patient, 1 + SEQUENCES.index(sequence)])
    protocol = protocol or draw_protocol(anatomy, sequence, rng, most_pixels)
    contrast = draw_contrast(sequence, rng)
    tilted = rng.random() < 0.4
    tilt = rng.uniform(-4, 4, 3) * tilted
    grid = _grid(anatomy, protocol, tilt)
    code = _draw_orientation(protocol.geometry, rng)
    coil = draw_coil(rng)
    scale = SIGNAL_OF_FAT * rng.uniform(0.6, 1.3)
    # The coarser side of a pixel is what was acquired, the finer one is interpolated: both edges have its width.
    edge_mm = 1.1 * max(protocol.geometry.spacing_mm[1:])
    pixels, labels = (np.empty(protocol.geometry.shape, kind) for kind in (np.int16, np.uint8))
    for slices, points in _slabs(grid, protocol.samples):
        painted = render(anatomy, contrast, points, edge_mm)
        signal = painted.signal * coil.gain(painted.depth - np.float32(anatomy.fat_mm), points.positions[1])
        signal = _blur(_average(signal, protocol.samples), protocol.blur_pixels)
        pixels[slices] = np.clip(_rician(signal, protocol.noise, rng) * scale, 0, 32767)
        labels[slices] = painted.labels[protocol.samples // 2 :: protocol.samples]
    image, mask = (reorient(_volume(array, grid, protocol), code) for array in (pixels, labels))
    return Acquired(image, mask, anatomy, protocol)


def _draw_orientation(geometry: Geometry, rng: np.random.Generator) -> str:
    """Draw the direction of each axis, x first: x to z are columns, rows, slices, or slices, columns, rows."""
    axes = ("AP", "SI", "LR") if geometry.slices_first else ("LR", "AP", "SI")
    return "".join(pair[rng.integers(2)] for pair in axes)


def reorient(image: sitk.Image, code: str) -> sitk.Image:
    """Store a volume with other axes, e.g. "LPS" or "AIR": same voxels at the same places, true direction cosines."""
    if code not in ORIENTATIONS:
        raise SpiderError(f"orientation: expected three letters such as LPS or AIR, found {code!r}")
    return sitk.DICOMOrient(image, code)


def _grid(anatomy: Anatomy, protocol: Protocol, tilt_deg: np.ndarray) -> Grid:
    """Lay the slices over the spine: the back's skin near the last column, the top where the anatomy says."""
    course = make_course(anatomy)
    extent = [count * step for count, step in zip(protocol.geometry.shape, protocol.geometry.spacing_mm, strict=True)]
    z = np.arange(anatomy.top_mm - extent[1], anatomy.top_mm, 2.0)
    y_last = float(np.max(course.at(course.fascia, z))) + anatomy.fat_mm * 1.2 + 10
    x_middle = float(np.mean(course.at(course.x, z)))
    middle = np.array([x_middle, y_last - extent[2] / 2, anatomy.top_mm - extent[1] / 2])
    axes = _rotation(tilt_deg) @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)
    within = (np.arange(protocol.samples) - protocol.samples // 2) * protocol.thickness_mm / protocol.samples
    slices, rows, columns = (
        (np.arange(count) - (count - 1) / 2) * step
        for count, step in zip(protocol.geometry.shape, protocol.geometry.spacing_mm, strict=True)
    )
    return Grid(middle, axes, ((slices[:, None] + within).ravel(), rows, columns))


def _slabs(grid: Grid, samples: int) -> Iterator[tuple[slice, Grid]]:
    """Cut a grid into groups of whole slices of about POINTS points: (which slices, their part of the grid)."""
    places, rows, columns = grid.positions
    count = len(places) // samples
    step = max(1, POINTS // (samples * len(rows) * len(columns)))
    for start in range(0, count, step):
        part = slice(start, min(start + step, count))
        yield part, replace(grid, positions=(places[part.start * samples : part.stop * samples], rows, columns))


def _rotation(degrees: np.ndarray) -> np.ndarray:
    """A rotation given by three small angles, used on the rows of a matrix of axes."""
    a, b, c = np.radians(degrees)
    first = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    second = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])
    third = np.array([[np.cos(c), np.sin(c), 0], [-np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return first @ second @ third


@dataclass(frozen=True)
class Coil:
    """A receive coil under the back: how its sensitivity falls off, and a saturation band over the abdomen."""

    reach_mm: float
    fall_off: float  # towards both ends
    shift: float  # of the middle, in half fields of view
    band_mm: float  # where the saturation band begins, below the fascia; infinite where there is none

    def gain(self, depth: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Sensitivity (S, R, C) by the depth below the fascia (S, R, C) and the rows' positions (R,), both in mm."""
        gain = np.float32(1.2) * np.exp(-np.clip(depth, -30, 250) * np.float32(1 / self.reach_mm)) + np.float32(0.12)
        ends = 1 - self.fall_off * np.abs(rows / np.ptp(rows) * 2 + self.shift) ** 2.5
        gain *= ends.astype(np.float32)[None, :, None]
        if np.isfinite(self.band_mm):
            gain *= np.float32(0.25) + np.float32(0.75) * np.clip(1 - (depth - np.float32(self.band_mm)) / 12, 0, 1)
        return gain


def draw_coil(rng: np.random.Generator) -> Coil:
    """Draw a series' coil; every other one comes with a saturation band."""
    reach, fall_off, shift = rng.uniform(140, 300), rng.uniform(0.1, 0.35), rng.uniform(-0.25, 0.25)
    return Coil(reach, fall_off, shift, rng.uniform(100, 130) if rng.random() < 0.5 else np.inf)


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
    image.SetSpacing(protocol.geometry.spacing_mm[::-1])
    image.SetDirection(np.ascontiguousarray(grid.axes[::-1].T).ravel().tolist())
    first = [positions[0] for positions in grid.positions]
    first[0] = grid.positions[0][protocol.samples // 2]
    image.SetOrigin((grid.origin + np.array(first) @ grid.axes).tolist())
    return image
