"""Segmentation objects: those of another implementation to the voxel, and their way to a cohort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from survimg.io import Image, read_image, read_mask
from survimg.io.images.masks import read_mask_image

pytest.importorskip("pydicom")
HERE = Path(__file__).parent / "references"  # made by make_segmentations.py
KINDS = ("binary", "fractional", "labelmap")


@pytest.fixture(scope="module")
def masks():
    with np.load(HERE / "segmentations.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def like():
    cosine, sine = float(np.cos(0.2)), float(np.sin(0.2))
    direction = (cosine, -sine, 0.0, sine, cosine, 0.0, 0.0, 0.0, 1.0)
    image = np.zeros((7, 10, 12), np.float32)
    return Image(image, (3.0, 2.0, 1.5), (-10.0, -20.0, 50.0), direction)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("label", "name"), [("tumour", "tumour"), (2, "node"), ("2", "node")])
def test_another_implementations_objects_are_read_to_the_voxel(masks, like, kind, label, name):
    mask = read_mask(HERE / f"{kind}.dcm", like, label)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, masks[name])


@pytest.mark.parametrize("kind", KINDS)
def test_the_segments_are_listed_where_none_is_chosen(like, kind):
    with pytest.raises(ValueError, match=r"Say which segment.* 1 \(tumour\), 2 \(node\)"):
        read_mask(HERE / f"{kind}.dcm", like)


def test_a_finer_image_takes_the_segment_by_world_coordinates(masks, like):
    shape = (21, 20, 24)
    fine = Image(np.zeros(shape, np.float32), (1.0, 1.0, 0.75), (0.0, 0.0, 0.0), like.direction)
    corner = like.world(np.array([-0.5, -0.5, -0.5]) + 0.5 / np.array([3.0, 2.0, 2.0]))
    fine = Image(fine.array, fine.spacing, tuple(corner.tolist()), like.direction)
    mask = read_mask(HERE / "binary.dcm", fine, "tumour")
    expected = masks["tumour"].repeat(3, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(mask, expected)


def test_only_the_planes_with_frames_are_kept(masks, like):
    found = read_mask_image(HERE / "binary.dcm", like, "node")
    assert found.shape == (int(masks["node"].any(axis=(1, 2)).sum()), 10, 12)
    np.testing.assert_array_equal(found.array, masks["node"][masks["node"].any(axis=(1, 2))])


def test_an_object_is_a_mask_and_no_image():
    with pytest.raises(ValueError, match=r"binary\.dcm is one DICOM file"):
        read_image(HERE / "binary.dcm")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", [["tumour", "node"], [1, 2], ["2", "tumour"]])
def test_several_segments_are_merged_on_request(masks, like, kind, label):
    mask = read_mask(HERE / f"{kind}.dcm", like, label)
    np.testing.assert_array_equal(mask, masks["tumour"] | masks["node"])
    with pytest.raises(ValueError, match="not exactly one segment 'lung'"):
        read_mask(HERE / f"{kind}.dcm", like, ["tumour", "lung"])


def test_frames_whose_distance_nobody_states_are_refused_where_planes_may_lack(like, tmp_path):
    import pydicom

    dataset = pydicom.dcmread(HERE / "binary.dcm")
    shared = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    del shared.SpacingBetweenSlices
    shared.SliceThickness = 3.0
    dataset.save_as(tmp_path / "a.dcm")
    assert read_mask_image(tmp_path / "a.dcm", like, "tumour").spacing[0] == pytest.approx(3.0)
    shared.SliceThickness = 1.0  # three planes may lie between any two frames
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(ValueError, match="does not tell the distance between its planes"):
        read_mask_image(tmp_path / "a.dcm", like, "tumour")
