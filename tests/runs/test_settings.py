"""Profiles and parameters: known names, right types, every profile usable."""

import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.runs.settings import PROFILES, load_profile, make_settings


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_every_profile_makes_settings_and_sets_what_it_says(name):
    values = load_profile(name)
    flat = make_settings(values).flat()
    assert all(flat[key] == value for key, value in values.items())


def test_the_paper_profile_is_the_papers_setting():
    settings = make_settings(load_profile("paper"))
    assert settings.training.size == settings.preprocess.size == (640, 512)
    training = settings.training
    assert (training.width, training.batch_size, training.epochs) == (16, 8, 100)
    assert (training.focal_share, training.gamma) == (0.6, 4.0)
    assert (settings.preprocess.intensity, settings.preprocess.geometry) == ("slice_minmax", "stretch")


def test_no_parameter_stands_in_two_groups():
    settings = make_settings({})
    from dataclasses import asdict

    assert len(settings.flat()) == sum(len(group) for group in asdict(settings).values())


def test_a_whole_number_serves_as_a_float_and_nothing_else_does():
    assert make_settings({"gamma": 2}).training.gamma == 2
    with pytest.raises(SpiderError, match="epochs: expected int, found 'ten'"):
        make_settings({"epochs": "ten"})
    with pytest.raises(SpiderError, match="epochs: expected int, found 1.5"):
        make_settings({"epochs": 1.5})
    with pytest.raises(SpiderError, match="epochs: expected int, found True"):
        make_settings({"epochs": True})


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(SpiderError, match="parameter 'epoch': not known.*epochs"):
        make_settings({"epoch": 3})
    with pytest.raises(SpiderError, match="profile 'gpu'.*cpu, paper, smoke"):
        load_profile("gpu")
