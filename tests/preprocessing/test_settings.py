"""Settings: checked once, stored as JSON, hashed by value."""

from __future__ import annotations

import json

import pytest

from survimg.preprocessing import Preparation, Registration


def test_settings_survive_json_and_hash_by_value():
    settings = Preparation(
        shape=(8, 9, 10), spacing=2, crop="fixed", centre=(1, 2, 3),
        padding={"PET": 0, "CT": -1000},
        normalise={"PET": "zscore", "CT": ["window", -160, 240]}, label="GTV",
    )
    again = Preparation.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings
    assert again.key() == settings.key()
    assert settings.spacing == (2.0, 2.0, 2.0)
    assert settings.normalisation("CT") == ("window", -160.0, 240.0)
    assert settings.padding_of("CT") == -1000.0


@pytest.mark.parametrize(
    "change",
    [{"shape": (9, 8, 8)}, {"spacing": 2.0}, {"crop": "whole"}, {"normalise": "none"},
     {"padding": 0.0}, {"label": 1}],
)
def test_every_setting_changes_the_key(change):
    assert Preparation(**{"shape": (8, 8, 8), **change}).key() != Preparation(shape=(8, 8, 8)).key()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (8, 8)}, "shape must be three positive numbers"),
        ({"shape": (8, 8, 0)}, "shape must be three positive numbers"),
        ({"shape": (8, 8, 1.5)}, "shape must be three positive numbers"),
        ({"spacing": 0}, "spacing must be three positive numbers"),
        ({"spacing": (1, 2)}, "spacing must be three positive numbers"),
        ({"spacing": float("nan")}, "spacing must be three positive numbers"),
        ({"crop": "tumour"}, "crop must be one of"),
        ({"crop": "whole", "spacing": 2}, "leave spacing out"),
        ({"centre": (0, 0, 0)}, "centre belongs to crop='fixed'"),
        ({"crop": "fixed", "centre": (0, 0)}, "centre must be three numbers"),
        ({"normalise": "minmax"}, "normalise must be"),
        ({"normalise": ("window", 5, 5)}, "normalise must be"),
        ({"normalise": {"PET": "what"}}, "normalise must be"),
        ({"padding": float("inf")}, "padding must be a finite number"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Preparation(**{"shape": (8, 8, 8), **settings})


def test_settings_per_channel_name_every_channel():
    settings = Preparation(shape=(8, 8, 8), normalise={"PET": "zscore"})
    settings.check_channels(["PET"])
    with pytest.raises(ValueError, match=r"channels \['PET'\]; the cohort has \['CT', 'PET'\]"):
        settings.check_channels(["PET", "CT"])
    with pytest.raises(ValueError, match="padding names the channels"):
        Preparation(shape=(8, 8, 8), padding={"MR": 0}).check_channels(["PET"])
    with pytest.raises(ValueError, match="needs a channel called 'PET'"):
        Preparation(shape=(8, 8, 8), crop="pet_peak").check_channels(["CT"])


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match=r"unknown \['denoise'\]"):
        Preparation.from_dict({"shape": [8, 8, 8], "denoise": True})
    with pytest.raises(ValueError, match="not settings of a preparation"):
        Preparation.from_dict({})


def test_a_registration_is_part_of_the_settings_and_of_the_key():
    plain = Preparation(shape=(8, 8, 8), crop="fixed")
    assert "registration" not in plain.to_dict()  # keys of older cohorts stay what they were
    settings = [
        Preparation(shape=(8, 8, 8), crop="fixed", registration=registration)
        for registration in (
            Registration(), Registration("affine"), Registration(template="a"),
            Registration(template_seed=1), Registration(channel="PET"),
            Registration(on_failure="exclude"), Registration(limits={"overlap": 0.5}),
        )
    ]
    assert len({each.key() for each in (plain, *settings)}) == 8
    for each in settings:
        assert Preparation.from_dict(json.loads(json.dumps(each.to_dict()))) == each


def test_with_a_registration_the_crop_is_a_block_of_the_template():
    with pytest.raises(ValueError, match="crop must be 'fixed' or 'whole'; got 'mask'"):
        Preparation(shape=(8, 8, 8), registration=Registration())
    settings = Preparation(
        shape=(8, 8, 8), crop="fixed", registration=Registration(channel="MR")
    )
    with pytest.raises(ValueError, match=r"driven by channel 'MR'; the cohort has \['PET'\]"):
        settings.check_channels(["PET"])


def test_what_does_not_say_how_it_was_interpolated_is_from_before_the_choice():
    content = Preparation(shape=(8, 8, 8)).to_dict()
    for name in ("interpolation", "antialias", "mask_interpolation"):
        del content[name]
    before = Preparation.from_dict(content)
    assert (before.interpolation, before.antialias, before.mask_interpolation) == (
        "linear", False, "nearest"
    )
    assert before.key() != Preparation(shape=(8, 8, 8)).key()


@pytest.mark.parametrize(
    "change", [{"interpolation": "nearest"}, {"mask_interpolation": "cubic"}, {"antialias": "yes"}]
)
def test_other_interpolations_are_refused(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"{name} must be one of"):
        Preparation(shape=(8, 8, 8), **change)
