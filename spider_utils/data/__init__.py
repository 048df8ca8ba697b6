"""From files to slices: series, label maps, slice filters, the slice store and the splits.

`sources` lists where data come from, `volumes` and `dicom` read them, `preprocess` makes slices of them; `check/` finds
every problem of a data set at once, `phantom/` makes synthetic spines.
"""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # series and volumes
        "read_stack": "sources",  # a series as slices in the common pose, with its labels
        "sample_stack": "sources",  # the same, of the embedded sample by its name
        "read_volume": "volumes",  # any volume as a SimpleITK image, checked
        "write_labels": "volumes",  # a label map as a file
        "from_pose": "pose",  # a label map of the common pose on its volume's own grid
        "read_gradings": "spider",  # SPIDER's radiological gradings
        "GRADINGS": "spider",  # the file that holds them
        "label_lists": "survey",  # each series' label values
        "spider_geometries": "geometry",  # how SPIDER's own volumes are sampled
        # labels
        "CLASSES": "labels",  # names of the classes 0..3
        "FOREGROUND": "labels",  # those without background
        "apta_greys": "preprocess",  # masks as the paper's route leaves them, in grey
        "apta_stages": "apta",  # pass by pass, what the authors' repair makes of them
        # slices
        "INTENSITIES": "settings",  # ways to scale intensities
        "scale_intensity": "intensity",  # one of them
        "resize_stack": "preprocess",  # slices at the stored size
        "stored_masks": "preprocess",  # masks at the stored size
        "COUNTS": "store",  # the store's columns of pixels a class
        "neighbour_rows": "store",  # the rows of a slice and its neighbours
        # filters and splits
        "audit": "preprocess",  # why each slice is kept or dropped
        "filter_table": "filters",  # what each named slice filter keeps
        "SplitSettings": "splits",  # who trains, who is tested
    },
)
