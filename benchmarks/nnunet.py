"""A volume by nnU-Net's predictor: python -m benchmarks.nnunet VOLUME OUTPUT.

It reads, resamples, predicts slice by slice in tiles of its own and writes as it always does, with the shipped
network's architecture (without neighbours) and, as ours, one look at each slice: mirroring is off. The plans are made
so that a slice comes to the size that our network sees.
"""

import sys

import torch
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from spider_utils.data.labels import CLASSES
from spider_utils.models.build import build_model
from spider_utils.predict.network import ready_network

RESAMPLE = "resample_data_or_seg_to_shape"
CONFIGURATION = "2d"


def plans(size: tuple[int, int], spacing: tuple[float, float]) -> dict:
    """Return nnU-Net's plans for slices of `size` (height, width) pixels of `spacing` mm, in its planner's words."""
    data, labels = ({"is_seg": seg, "order": 1 if seg else 3, "order_z": 0, "force_separate_z": None} for seg in (0, 1))
    configuration = {
        "data_identifier": "nnUNetPlans_2d", "preprocessor_name": "DefaultPreprocessor", "batch_size": 1,
        "patch_size": list(size), "median_image_size_in_voxels": list(size), "spacing": list(spacing),
        "normalization_schemes": ["ZScoreNormalization"], "use_mask_for_norm": [False],
        "resampling_fn_data": RESAMPLE, "resampling_fn_data_kwargs": data,
        "resampling_fn_seg": RESAMPLE, "resampling_fn_seg_kwargs": labels,
        "resampling_fn_probabilities": RESAMPLE, "resampling_fn_probabilities_kwargs": data | {"order": 1},
        "architecture": {"network_class_name": "", "arch_kwargs": {}, "_kw_requires_import": []}, "batch_dice": True,
    }  # fmt: skip
    channel = dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)
    return {
        "dataset_name": "Dataset001_slices", "plans_name": "nnUNetPlans", "image_reader_writer": "SimpleITKIO",
        "original_median_spacing_after_transp": [1.0, *spacing], "original_median_shape_after_transp": [1, *size],
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2], "label_manager": "LabelManager",
        "experiment_planner_used": "ExperimentPlanner", "foreground_intensity_properties_per_channel": {"0": channel},
        "configurations": {CONFIGURATION: configuration},
    }  # fmt: skip


def main(volume: str, output: str) -> None:
    """Segment a volume whose slices lie along its slowest axis."""
    ours = ready_network(device="cpu")
    image, about = SimpleITKIO().read_images([volume])
    (row_mm, column_mm), (rows, columns), (height, width) = about["spacing"][1:], image.shape[2:], ours.size
    manager = PlansManager(plans(ours.size, (row_mm * rows / height, column_mm * columns / width)))
    told = ours.description["training"]
    network = build_model(told["model"], width=told["width"], activation=told["activation"]).eval()
    dataset = {
        "channel_names": {"0": "MRI"},
        "labels": {name: n for n, name in enumerate(CLASSES)},
        "file_ending": ".mha",
    }
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    weights = [network.state_dict()]
    configuration = manager.get_configuration(CONFIGURATION)
    predictor.manual_initialization(network, manager, configuration, weights, dataset, "nnUNetTrainer", None)
    predictor.predict_single_npy_array(image, about, None, output, False)


if __name__ == "__main__":
    main(*sys.argv[1:])
