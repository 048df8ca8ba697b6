"""The anatomy of one synthetic patient: a chain of vertebrae and discs above a sacrum, with the findings of each disc.

Patient coordinates are LPS in mm: x to the patient's left, y to posterior, z to superior. Sizes follow the usual adult
ranges; nothing here is measured on a particular person.
"""

from dataclasses import dataclass, replace

import numpy as np

from spider_utils.data.phantom.shapes import BodyShape, Dent, Frame

# From L5 (first) to T9: half width, half depth, height, wedge in degrees; and the disc below: height, wedge.
BODIES = ((25.5, 17.5, 27.0, 8.0), (24.5, 17.3, 27.5, 3.0), (23.5, 17.0, 27.5, 1.5), (22.5, 16.6, 27.0, 0.0),
          (21.5, 16.2, 26.0, -1.5), (20.5, 15.8, 24.5, -3.0), (19.5, 15.3, 23.0, -3.0), (18.5, 14.8, 22.0, -3.0),
          (18.0, 14.3, 21.5, -3.0), (17.5, 14.0, 21.0, -3.0))  # fmt: skip
DISCS = ((10.5, 13.0), (11.5, 10.0), (11.0, 8.0), (10.0, 6.0), (9.0, 4.0),
         (7.5, 2.0), (6.0, 0.0), (5.5, -1.0), (5.0, -1.0), (5.0, -1.0))  # fmt: skip
# From S1 down: half width, half depth, height, tilt relative to the sacral slope in degrees, disc above.
SACRUM = ((23.0, 16.0, 29.0, 0.0, 0.0), (18.0, 11.5, 24.0, 3.0, 4.0), (15.0, 9.0, 20.0, -12.0, 2.5),
          (13.0, 7.0, 17.0, -30.0, 2.0), (11.0, 5.5, 15.0, -48.0, 2.0), (7.0, 4.5, 11.0, -70.0, 2.5))  # fmt: skip


@dataclass(frozen=True)
class Vertebra:
    """One vertebra; label 0 means that it is drawn but not labelled (the sacrum, or above the field of view)."""

    label: int
    frame: Frame
    shape: BodyShape
    modic: tuple[int, int]  # type of the marrow change below the (lower, upper) endplate
    marrow: float  # relative marrow signal
    spinous: float  # length of the spinous process relative to the usual one; 0 when no posterior elements are drawn


@dataclass(frozen=True)
class Findings:
    """What is graded at one disc; stenosis has no column of its own in SPIDER and always comes with bulging."""

    grade: int  # Pfirrmann 1..5
    modic: int
    up_endplate: bool  # Schmorl's node in the plate of the vertebra above
    low_endplate: bool
    slip_mm: float  # anterior displacement of the vertebra above; graded as spondylolisthesis when not 0
    herniation_mm: float
    narrowed: bool
    bulge_mm: float
    stenosis: float  # remaining share of the dural sac's depth, 1 where it is free


@dataclass(frozen=True)
class Disc:
    """The disc under vertebra `label - 200` (label 0: not labelled), between `lower` and `upper`."""

    label: int
    lower: Vertebra
    upper: Vertebra
    findings: Findings
    side: float  # where a herniation lies, in units of the half width (left positive)
    centre: np.ndarray  # (3,) mm


@dataclass(frozen=True)
class Anatomy:
    """All of one patient that does not depend on the sequence."""

    patient: int
    male: bool
    scale: float
    vertebrae: tuple[Vertebra, ...]  # from L5 upwards; those above the field of view have label 0
    discs: tuple[Disc, ...]  # from L5/S1 upwards
    sacrum: tuple[Vertebra, ...]  # from S1 downwards
    sacral_discs: tuple[Disc, ...]
    top_mm: float  # z of the upper edge of the field of view
    conus_mm: float  # z of the tip of the cord
    sac_mm: float  # half depth of a free dural sac
    fat_mm: float  # thickness of the subcutaneous fat
    belly_mm: float  # from the canal to the skin of the abdomen
    infiltration: float  # share of fat in the back muscles, 0..1
    texture_seed: int

    @property
    def labelled_discs(self) -> tuple[Disc, ...]:
        return tuple(disc for disc in self.discs if disc.label)


def make_anatomy(patient: int, seed: int) -> Anatomy:
    """Draw the anatomy of one patient; it depends on (seed, patient) only."""
    rng = np.random.default_rng([seed, patient])
    visible = int(rng.choice([5, 6, 7, 8], p=[0.12, 0.3, 0.4, 0.18]))
    scale = float(rng.uniform(0.93, 1.06) * {5: 1.04, 6: 1.02, 7: 0.98, 8: 0.92}[visible])
    disc_on_top = bool(rng.random() < 0.25)
    age = float(rng.beta(1.6, 1.6))
    labelled_discs = visible + disc_on_top
    findings = _draw_findings(rng, len(BODIES), labelled_discs, age)
    slope = float(rng.uniform(32, 45))
    sacrum, sacral_discs = _build_sacrum(scale, slope, findings[0])
    vertebrae, discs = _build_chain(rng, scale, slope, findings, sacrum[0], visible, labelled_discs)
    if disc_on_top:
        top = float(discs[visible].centre[2]) + 2.5 * scale
    else:
        top = float(vertebrae[visible - 1].frame.origin[2] + rng.uniform(-5, 4) * scale)
    return Anatomy(
        patient=patient, male=bool(rng.random() < 0.5), scale=scale, vertebrae=vertebrae, discs=discs, sacrum=sacrum,
        sacral_discs=sacral_discs, top_mm=top,
        conus_mm=float(discs[4].centre[2] + rng.uniform(-14, 14)), sac_mm=float(rng.uniform(6.6, 8.2)),
        fat_mm=float(rng.uniform(7, 34)), belly_mm=float(rng.uniform(115, 175)),
        infiltration=float(np.clip(0.15 + 0.6 * age + rng.normal(0, 0.1), 0.05, 0.9)),
        texture_seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _draw_findings(rng: np.random.Generator, levels: int, graded: int, age: float) -> list[Findings]:
    slip_level = int(rng.integers(0, 2)) if rng.random() < 0.3 else -1
    drawn = []
    for level in range(levels):
        worn = age * (1.0 if level < 2 else 0.8 if level < 4 else 0.55) + rng.normal(0, 0.16)
        grade = int(np.clip(1 + np.floor(5 * worn), 1, 5)) if level < graded else 2
        if level == slip_level:
            grade = max(grade, 4)
        herniated = grade >= 3 and level < 4 and rng.random() < 0.3
        narrowed = grade == 5 or (grade == 4 and rng.random() < 0.5)
        bulging = grade >= 3 and rng.random() < 0.55
        tight = level < graded and level == slip_level or (bulging and level < 4 and rng.random() < 0.4)
        free = float(rng.uniform(0.45, 0.65)) if tight else 1.0
        slip = float(rng.uniform(6, 11)) if level == slip_level else 0.0
        drawn.append(Findings(
            grade=grade, modic=int(rng.choice([1, 2, 2, 3])) if grade >= 4 and rng.random() < 0.4 else 0,
            up_endplate=bool(grade >= 2 and level < graded and rng.random() < 0.18),
            low_endplate=bool(grade >= 2 and level < graded and rng.random() < 0.18), slip_mm=slip,
            herniation_mm=float(rng.uniform(4, 7.5)) if herniated else 0.0, narrowed=bool(narrowed),
            bulge_mm=float(rng.uniform(2, 3.5)) if bulging or tight else 0.0, stenosis=free,
        ))  # fmt: skip
    return drawn


def _frame(origin: np.ndarray, tilt_deg: float, roll_deg: float = 0.0) -> Frame:
    """A frame whose up axis leans forwards by `tilt_deg` and to the left by `roll_deg`."""
    tilt, roll = np.radians([tilt_deg, roll_deg])
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    sideways = np.array([[np.cos(roll), 0, -np.sin(roll)], [0, 1, 0], [np.sin(roll), 0, np.cos(roll)]])
    return Frame(np.asarray(origin, float), lean @ sideways)


def _build_sacrum(scale: float, slope: float, above: Findings) -> tuple[tuple[Vertebra, ...], tuple[Disc, ...]]:
    """S1 to the coccyx; the centre of S1's upper endplate is the origin of the patient coordinates."""
    healthy = Findings(4, 0, False, False, 0.0, 0.0, False, 0.0, 1.0)
    dent = Dent(3.0, 2.0, 6.0, 4.0 * scale) if above.low_endplate else None
    point, bodies, discs = np.zeros(3), [], []
    for level, (a, b, h, tilt, gap) in enumerate(SACRUM):
        frame = _frame(np.zeros(3), slope + tilt)
        up = frame.axes[2]
        centre = point - up * scale * (gap + h / 2)
        first = level == 0
        shape = BodyShape(a * scale, b * scale, h * scale, taper=0.3, waist=0.05, hollow=1.2 * scale if first else 0.5,
                          dents=(None, dent if first else None))  # fmt: skip
        bodies.append(Vertebra(0, replace(frame, origin=centre), shape, (0, above.modic if first else 0), 1.0, 0.0))
        if level:
            discs.append(Disc(0, bodies[level], bodies[level - 1], healthy, 0.0, point - up * scale * gap / 2))
        point = centre - up * scale * h / 2
    return tuple(bodies), tuple(discs)


def _build_chain(
    rng: np.random.Generator, scale: float, slope: float, findings: list[Findings], s1: Vertebra, visible: int,
    labelled_discs: int,
) -> tuple[tuple[Vertebra, ...], tuple[Disc, ...]]:  # fmt: skip
    """Walk from the sacrum upwards: disc, body, disc, body ..., each tilted by its share of the lordosis."""
    lordosis = (slope - 2) / 36 * rng.uniform(0.85, 1.1)
    disc_size = rng.uniform(0.88, 1.15)
    curve, phase = rng.uniform(0, 5), rng.uniform(0, 2 * np.pi)  # scoliosis: amplitude in degrees
    slender = rng.uniform(0.94, 1.06)
    point, tilt, below = np.zeros(3), slope, s1
    vertebrae, discs = [], []
    for level, ((a, b, h, wedge), (gap, opening)) in enumerate(zip(BODIES, DISCS, strict=True)):
        found, above = findings[level], findings[min(level + 1, len(findings) - 1)]
        gap *= scale * disc_size * rng.uniform(0.92, 1.08) * (1 - 0.04 * (found.grade - 1))
        gap *= 0.6 if found.narrowed else 1.0
        roll = curve * np.sin(phase + 0.9 * level)
        tilt -= opening * lordosis / 2
        middle = _frame(point, tilt, roll)
        centre = point + middle.axes[2] * gap / 2
        point = point + middle.axes[2] * gap - middle.axes[1] * found.slip_mm
        body_wedge = wedge * lordosis if wedge > 0 else wedge
        tilt -= opening * lordosis / 2 + body_wedge / 2
        h *= scale * rng.uniform(0.96, 1.04)
        frame = _frame(point, tilt, roll)
        frame = replace(frame, origin=point + frame.axes[2] * h / 2)
        shape = BodyShape(
            a * scale * slender, b * scale / slender, h, np.radians(body_wedge), waist=float(rng.uniform(0.06, 0.12)),
            hollow=float(rng.uniform(0.8, 2.3)) * scale,
            lips=(0.06 if found.grade >= 4 else 0.0, 0.06 if above.grade >= 4 else 0.0),
            dents=(_dent(rng, found.up_endplate, scale), _dent(rng, above.low_endplate, scale)),
        )  # fmt: skip
        label = level + 1 if level < visible else 0
        spinous = float(rng.uniform(0.88, 1.08)) * (0.78 if level == 0 else 1.0) if label else 0.0
        vertebra = Vertebra(label, frame, shape, (found.modic, above.modic), float(rng.uniform(0.94, 1.06)), spinous)
        disc_label = 201 + level if level < labelled_discs else 0
        discs.append(Disc(disc_label, below, vertebra, found, float(rng.uniform(-0.3, 0.3)), centre))
        vertebrae.append(vertebra)
        point = point + frame.axes[2] * h
        tilt -= body_wedge / 2
        below = vertebra
    return tuple(vertebrae), tuple(discs)


def _dent(rng: np.random.Generator, present: bool, scale: float) -> Dent | None:
    place = rng.uniform(-6, 6, 2)
    return Dent(float(place[0]), float(place[1]), 6.0 * scale, 4.5 * scale) if present else None
