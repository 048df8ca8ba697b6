"""Lumbar spine MRI: from volumes to slices, networks, masks and scores. Each folder is a station and has a face."""

from spider_utils.common.errors import SpiderError

__all__ = ["SpiderError"]
__version__ = "0.1.0"
