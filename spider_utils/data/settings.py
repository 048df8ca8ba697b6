"""The settings of the slice store: every default in one place. Those of the splits stand in `data.splits`."""

from dataclasses import dataclass

from spider_utils.common.parameters import check_bounds, check_choices
from spider_utils.data.filters import FILTERS
from spider_utils.data.labels import CLASSES

INTENSITIES = ("slice_minmax", "volume_percentile")
CHOICES = {
    "intensity": INTENSITIES,
    "geometry": ("stretch", "pad"),
    "labels": ("direct", "apta"),
    "slice_filter": FILTERS,
}


@dataclass(frozen=True)
class PreprocessSettings:
    """What is done to every series before it is stored."""

    intensity: str = (
        "slice_minmax"  # the paper: min-max of each slice; or "volume_percentile": 0.5 to 99.5 % of the volume
    )
    geometry: str = (
        "stretch"  # the paper: plain resize; or "pad": one scale for both axes, the rest filled with background
    )
    store_height: int = 640  # of a stored slice, pixels
    store_width: int = 512
    labels: str = "direct"  # by label value, nearest neighbour; or "apta": the authors' route over grey values
    min_classes: int = 4  # a slice with fewer classes (background counts) is dropped
    slice_filter: str = "none"  # one of filters.FILTERS, on what then is left

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        sides = {"store_height": (32, 4096), "store_width": (32, 4096)}  # pixels
        check_bounds(vars(self), sides | {"min_classes": (1, len(CLASSES))})

    @property
    def size(self) -> tuple[int, int]:
        """The size of a stored slice, (height, width) in pixels."""
        return self.store_height, self.store_width
