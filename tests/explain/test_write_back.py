"""Maps as files in the patients' own geometry, as pictures, and as figures of mass."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from survimg import Cohort
from survimg.explain import mass_in_region, plot_saliency, write_saliency
from survimg.io import Image, read_image, write_image
from survimg.preprocessing import Preparation, prepare

SHAPE = (12, 16, 20)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Cohort, dict]:
    """Two patients on other grids and in other places, prepared around the tumour."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    grids = {
        "a": ((20, 30, 30), (4.0, 2.0, 2.0), (-31.0, 12.0, 100.0)),
        "b/1": ((30, 24, 26), (3.0, 3.0, 2.5), (5.0, -70.0, -40.0)),
    }
    rows, images = ["patient_id,PET,mask"], {}
    for k, (patient, (shape, spacing, origin)) in enumerate(grids.items()):
        tumour = np.zeros(shape, np.uint8)
        tumour[8:13, 9:15, 10:17] = 1
        image = Image(rng.random(shape).astype(np.float32) + tumour, spacing, origin)
        write_image(folder / f"{k}_PET.nii.gz", image.array, image)
        write_image(folder / f"{k}_mask.nii.gz", tumour, image)
        rows.append(f"{patient},{k}_PET.nii.gz,{k}_mask.nii.gz")
        images[patient] = (image, tumour)
    (folder / "manifest.csv").write_text("\n".join(rows))
    settings = Preparation(shape=SHAPE, spacing=3.0)
    cohort = prepare(folder / "manifest.csv", settings, folder / "store", progress=False)
    return cohort, images


def test_files_lie_where_the_patients_own_images_lie(prepared, tmp_path):
    cohort, images = prepared
    maps = np.stack([cohort.mask(i).astype(np.float32) * 0.5 for i in range(2)])
    paths = write_saliency(cohort, maps, tmp_path / "maps")
    assert [path.name for path in paths] == ["a_saliency.nii.gz", "b_1_saliency.nii.gz"]
    for path, (own, tumour) in zip(paths, images.values(), strict=True):
        back = read_image(path)
        assert back.shape == own.shape
        np.testing.assert_allclose(back.spacing, own.spacing, rtol=1e-5)
        np.testing.assert_allclose(back.origin, own.origin, atol=1e-3)
        inside = back.array > 0.25
        overlap = 2 * (inside & (tumour > 0)).sum() / (inside.sum() + tumour.sum())
        assert overlap > 0.8  # nearest onto 3 mm, linear back
        assert back.array.max() == pytest.approx(0.5, abs=1e-6)


def test_maps_of_channels_and_of_slices_of_the_cohort(prepared, tmp_path):
    cohort, _ = prepared
    maps = np.random.default_rng(0).random((1, 1, *SHAPE)).astype(np.float32)
    (path,) = write_saliency(cohort[[1]], maps, tmp_path, name="ig")
    assert path.name == "b_1_PET_ig.nii.gz"
    (other,) = write_saliency(cohort[[1]], maps[:, 0], tmp_path, name="ig")
    np.testing.assert_array_equal(read_image(path).array, read_image(other).array)


def test_maps_that_do_not_fit_are_refused(prepared, tmp_path):
    cohort, _ = prepared
    with pytest.raises(ValueError, match="one map per patient"):
        write_saliency(cohort, np.zeros((1, *SHAPE)), tmp_path)
    with pytest.raises(ValueError, match="for 2 patients"):
        write_saliency(cohort, np.zeros((2, *SHAPE)), tmp_path, like=[])
    bare = Cohort(np.zeros((2, 1, 4, 4, 4)), ids=["a/b", "a_b"])
    with pytest.raises(ValueError, match="same file names"):
        write_saliency(bare, np.zeros((2, 4, 4, 4)), tmp_path)
    with pytest.raises(ValueError, match="does not record where"):
        write_saliency(bare[[0]], np.zeros((1, 4, 4, 4)), tmp_path)


# ---------------------------------------------------------------- pictures


def drawn(**changes) -> tuple[Cohort, np.ndarray]:
    rng = np.random.default_rng(0)
    masks = np.zeros((1, *SHAPE), np.uint8)
    masks[0, 4:9, 5:12, 6:14] = 1
    cohort = Cohort(
        rng.random((1, 2, *SHAPE)),
        **{"masks": masks, "spacing": (3.0, 1.0, 1.0), "channel_names": ("PET", "CT"), **changes},
    )
    values = rng.normal(scale=0.1, size=SHAPE)
    values[7, 6, 12] = -2.0
    return cohort, values


def test_planes_pass_through_the_strongest_voxel():
    cohort, values = drawn()
    figure = plot_saliency(cohort, 0, values)
    assert "risk" not in figure.axes[-1].get_ylabel()  # a map alone does not say of what it is
    axes = figure.axes[:6]
    titles = [ax.get_title() for ax in axes]
    assert titles == ["axial, z = 7", "coronal, y = 6", "sagittal, x = 12", "", "", ""]
    assert [axes[0].get_ylabel(), axes[3].get_ylabel()] == ["PET", "CT"]
    for ax, plane in zip(axes, (values[7], values[:, 6], values[:, :, 12]) * 2, strict=True):
        overlay = ax.images[1]
        np.testing.assert_array_equal(overlay.get_array(), plane)
        assert overlay.get_clim()[0] == -overlay.get_clim()[1]  # white is no contribution
        assert len(ax.collections) == 1  # the contour of the tumour
    assert axes[1].get_aspect() == pytest.approx(3.0)  # voxels are 3 mm high and 1 mm wide
    np.testing.assert_array_equal(axes[3].images[0].get_array(), cohort.volume(0)[1, 7])
    written = io.BytesIO()
    figure.savefig(written, format="png")
    written.seek(0)
    assert np.ptp(imread(written)[..., :3]) > 0.5


def test_channel_plane_and_scale_can_be_chosen_and_masks_may_be_missing():
    cohort, values = drawn(masks=None, spacing=None)
    figure = plot_saliency(cohort, 0, values, channels=["CT"], at=(1, 2, 3), strongest=4.0)
    assert [ax.get_title() for ax in figure.axes[:3]] == [
        "axial, z = 1", "coronal, y = 2", "sagittal, x = 3"
    ]  # fmt: skip
    assert figure.axes[0].images[1].get_clim() == (-4.0, 4.0)
    assert not figure.axes[0].collections


def test_absent_modalities_are_not_drawn():
    cohort, values = drawn(present=[[False, True]])
    assert plot_saliency(cohort, 0, values).axes[0].get_ylabel() == "CT"


def test_maps_without_a_picture_are_refused():
    cohort, values = drawn()
    with pytest.raises(ValueError, match="zero throughout"):
        plot_saliency(cohort, 0, np.zeros(SHAPE))
    with pytest.raises(ValueError, match="has shape"):
        plot_saliency(cohort, 0, values[1:])
    with pytest.raises(ValueError, match=r"must name at least one of \['PET', 'CT'\]"):
        plot_saliency(cohort, 0, values, channels=["MR"])


# ---------------------------------------------------------------- mass


def test_mass_is_compared_with_volume():
    region = np.zeros((2, 4, 4, 4), bool)
    region[:, :2, :2, :2] = True
    maps = np.ones((2, 4, 4, 4))
    maps[1][region[1]] = -9.0
    found = mass_in_region(maps, region)
    np.testing.assert_allclose(found["volume"], 1 / 8)
    np.testing.assert_allclose(found["mass"], [1 / 8, 72 / 128])
    np.testing.assert_allclose(found["ratio"], [1.0, 4.5])


def test_mass_without_a_map_or_a_region_is_refused():
    maps, region = np.ones((2, 4, 4, 4)), np.ones((2, 4, 4, 4))
    with pytest.raises(ValueError, match="same shape"):
        mass_in_region(maps, region[:1])
    with pytest.raises(ValueError, match=r"\[1\]"):
        mass_in_region(np.stack([maps[0], 0 * maps[0]]), region)
    with pytest.raises(ValueError, match=r"\[0\]"):
        mass_in_region(maps, np.stack([0 * region[0], region[1]]))
