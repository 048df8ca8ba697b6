"""The figures; no other folder knows matplotlib or ipywidgets. Each returns a Figure, `keep` shows and saves it."""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # for all
        "keep": "style",  # save a figure into the run folder and hand it on
        "spoken": "style",  # a sequence as it is written: T2 SPACE
        # data
        "series_counts": "data",
        "spacing_scatter": "data",
        "slice_grid": "data",
        "label_values": "data",
        "class_balance": "data",
        "overlay": "data",
        "pose": "data",
        "intensity_histograms": "data",
        "preprocess_steps": "data",
        "audit_strips": "data",
        # labels and filters
        "apta_stages_figure": "labels",
        # the references, and copied masks
        "reference_audit": "reference",
        "reference_examples": "reference",
        "copied_mask": "reference",
        "copying_dice": "reference",
        "dice_by_distance": "reference",
        # networks
        "network_diagram": "network",
        "compare_networks": "network",
        "nested_grid": "variants",
        "attention_overlay": "variants",
        # learning
        "feature_maps": "model",
        "activation_curves": "model",
        "init_spread": "model",
        "focal_curves": "model",
        "focal_map": "model",
        "loss_terms": "model",
        "training_curves": "model",
        "augmentation_levels": "augment",
        "augmentation_changes": "augment",
        # scores
        "class_overlap": "scores",
        "contour_distances": "scores",
        "score_points": "results",
        "aggregation_compare": "results",
        "confusion_matrix": "results",
        "scores_by_patient": "results",
        "distance_histogram": "results",
        "overlay_grid": "results",
        # studies
        "differences": "study",
        "roundtrip": "study",
        "ablation_arms": "ablation",
        "ablation_by_class": "ablation",
        "patient_pairs": "ablation",
        "sequence_gains": "by_sequence",
        # volumes
        "three_planes": "volumes",
        "surfaces": "volumes",
        "numbered_spine": "volumes",
        "measure_agreement": "volumes",
        # browsers
        "browse": "widgets",
        "browse_predictions": "widgets",
        "show_widget": "widgets",
    },
)
