"""Synthetic lumbar spines in the format of the SPIDER data set: the embedded data that anyone can make."""

from spider_utils.data.phantom.acquisition import ORIENTATIONS, phantom_series, reorient
from spider_utils.data.phantom.dataset import make_phantom, phantom_subset

__all__ = ["ORIENTATIONS", "make_phantom", "phantom_series", "phantom_subset", "reorient"]
