"""Cohorts of the data that people have, and what other libraries get of a cohort."""

from __future__ import annotations

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from torch.utils.data import DataLoader

from survimg import Cohort
from survimg.cohort import concatenate_cohorts
from survimg.estimators import ClinicalVolumeCox
from survimg.features import ClinicalFeatures
from survimg.io import read_image
from survimg.preprocessing import Preparation, prepare

N = 8
#: Voxels of 4 x 2 x 3 mm (x, y, z), turned as a scanner does; LPS in none of the axes.
AFFINE = np.array([[4.0, 0, 0, -20], [0, 2.0, 0, 10], [0, 0, 3.0, 5], [0, 0, 0, 1]])


def voxels(i: int) -> tuple[np.ndarray, np.ndarray]:
    """One patient's image and mask, axes (x, y, z)."""
    rng = np.random.default_rng(i)
    mask = np.zeros((8, 9, 10), np.uint8)
    mask[2 : 5 + i % 3, 3:6, 4:8] = 1
    return rng.normal(size=(8, 9, 10)).astype(np.float32) + 3 * mask, mask


@pytest.fixture
def table(tmp_path):
    """A frame of NIfTI paths with an outcome and two clinical columns."""
    for i in range(N):
        for name, array in zip(("ct", "mask"), voxels(i), strict=True):
            nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / f"{i}_{name}.nii.gz")
    return pd.DataFrame(
        {
            "patient": [f"P{i}" for i in range(N)],
            "CT": [str(tmp_path / f"{i}_ct.nii.gz") for i in range(N)],
            "seg": [tmp_path / f"{i}_mask.nii.gz" for i in range(N)],
            "months": np.arange(1.0, N + 1),
            "relapse": ["yes", "no"] * (N // 2),
            "age": np.arange(50, 50 + N),
            "stage": ["I", "II"] * (N // 2),
        }
    )


def column(values: list) -> pd.Series:
    """A column of arrays, which pandas would else stack."""
    series = pd.Series([None] * len(values), dtype=object)
    for i, value in enumerate(values):
        series.iloc[i] = value
    return series


NAMES = {"time": "months", "event": "relapse", "patient_id": "patient"}


class Pictured:
    """What TorchIO's images and MONAI's tensors have in common."""

    def __init__(self, array: np.ndarray, kind: str) -> None:
        self.data = torch.from_numpy(array[np.newaxis])
        self.spatial_shape, self.affine, self.type = array.shape, AFFINE, kind


def forms_of_images(table):
    """The same patients, as each library holds them."""
    pairs = [voxels(i) for i in range(N)]
    yield "paths", table
    yield "nibabel", table.assign(
        CT=[nib.Nifti1Image(a, AFFINE) for a, _ in pairs],
        seg=[nib.Nifti1Image(m, AFFINE) for _, m in pairs],
    )
    yield "SimpleITK", table.assign(
        CT=pd.Series([sitk.ReadImage(str(p)) for p in table["CT"]], dtype=object),
        seg=pd.Series([sitk.ReadImage(str(p)) for p in table["seg"]], dtype=object),
    )
    yield "survimg", table.assign(
        CT=[read_image(p) for p in table["CT"]],
        seg=[read_image(p, pet_units="stored") for p in table["seg"]],
    )
    yield "TorchIO", table.assign(
        CT=[Pictured(a, "intensity") for a, _ in pairs],
        seg=[Pictured(m, "label") for _, m in pairs],
    )


def test_every_form_of_image_gives_the_same_voxels_in_the_same_place(table):
    expected = None
    for form, frame in forms_of_images(table):
        cohort = Cohort.from_frame(frame, images=["CT"], mask="seg", **NAMES)
        expected = cohort if expected is None else expected
        assert cohort.ids.tolist() == [f"P{i}" for i in range(N)]
        assert cohort.outcome["event"].tolist() == [True, False] * (N // 2)
        assert list(cohort.clinical) == ["age", "stage"]
        np.testing.assert_allclose(cohort.spacing, [[3, 2, 4]] * N, err_msg=form)
        for i in range(N):
            np.testing.assert_allclose(cohort.volume(i), expected.volume(i), err_msg=form)
            np.testing.assert_array_equal(cohort.mask(i), expected.mask(i), err_msg=form)
        assert len({cohort.case_key(i) for i in range(N)}) == N


def test_images_may_be_given_beside_the_table(table):
    frame = table.drop(columns=["CT", "seg"])
    images = [nib.Nifti1Image(voxels(i)[0], AFFINE) for i in range(N)]
    masks = [nib.Nifti1Image(voxels(i)[1], AFFINE) for i in range(N)]
    cohort = Cohort.from_frame(frame, images={"CT": images}, mask=masks, **NAMES)
    reference = Cohort.from_frame(table, "CT", mask="seg", **NAMES)
    np.testing.assert_allclose(cohort.volume(3), reference.volume(3))
    again = pickle.loads(pickle.dumps(cohort))
    assert again.case_key(0) == cohort.case_key(0)
    assert cohort.__sizeof__() > 2 * 8 * 9 * 10 * 4


def test_lists_of_dicts_are_cohorts(table):
    monai = [
        {
            "image": [row.CT, row.CT], "label": str(row.seg), "time": row.months,
            "event": row.relapse == "yes", "subject_id": row.patient, "age": row.age,
            "image_meta_dict": {"original": 1},
        }
        for row in table.itertuples()
    ]
    cohort = Cohort.from_dicts(monai)
    assert cohort.channel_names == ("image0", "image1")
    assert list(cohort.clinical) == ["age"]
    assert cohort.ids.tolist() == table["patient"].tolist()
    torchio = [
        {"ct": Pictured(a, "intensity"), "tumour": Pictured(m, "label"), "months": i + 1.0, "e": 1}
        for i, (a, m) in enumerate(map(voxels, range(N)))
    ]
    subjects = Cohort.from_dicts(torchio, time="months", event="e")
    assert subjects.channel_names == ("ct",)
    np.testing.assert_allclose(subjects.volume(2)[0], cohort.volume(2)[0])
    np.testing.assert_array_equal(subjects.mask(2), cohort.mask(2))


def test_arrays_in_a_frame_need_their_voxel_size_told():
    arrays = [voxels(i)[0].T for i in range(4)]
    frame = pd.DataFrame({"PET": column(arrays), "CT": column([*arrays[:3], None])})
    cohort = Cohort.from_frame(frame, ["PET", "CT"], spacing=(3, 2, 4))
    assert cohort.shape == (4, 2, 10, 9, 8)
    assert cohort.present.tolist() == [[True, True]] * 3 + [[True, False]]
    assert Cohort.from_frame(frame, "PET").spacing is None
    channels = pd.DataFrame({"x": column([np.stack([a, a]) for a in arrays])})
    assert Cohort.from_frame(channels, "x").channel_names == ("x0", "x1")


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        ({}, {"images": "MR"}, ValueError, "no column 'MR'"),
        ({}, {"images": []}, ValueError, "names no column"),
        ({}, {"images": "CT", "time": "months"}, ValueError, "needs both columns"),
        ({}, {"images": "CT", "mask": "seg", "spacing": 1.0}, ValueError, "plain arrays"),
        ({"CT": 7}, {"images": "CT"}, TypeError, "Patient 'P0', column 'CT': int.*is no image"),
        ({"CT": "no.nii"}, {"images": "CT"}, FileNotFoundError, "Patient 'P0': there is no file"),
        ({"CT": None}, {"images": "CT"}, ValueError, "Patient 'P0' has no image"),
        ({"death": 1}, {"images": "CT"}, ValueError, "'death': by their names an outcom"),
        ({}, {"images": "CT", "clinical": ["weight"]}, ValueError, r"\['weight'\] are absent"),
    ],
)
def test_what_makes_no_cohort_is_refused(table, change, arguments, error, message):
    frame = table.drop(columns=["relapse"]).assign(**change)
    frame = frame if "mask" in arguments else frame.drop(columns="seg")
    with pytest.raises(error, match=message):
        Cohort.from_frame(frame, patient_id="patient", **arguments)


def test_a_sheared_affine_and_other_keys_are_refused():
    sheared = AFFINE.copy()
    sheared[0, 1] = 1.5
    with pytest.raises(ValueError, match="axes.*not perpendicular"):
        Cohort.from_dicts([{"image": nib.Nifti1Image(voxels(0)[0], sheared)}])
    with pytest.raises(ValueError, match="position 1 has other keys.*'age'"):
        Cohort.from_dicts([{"image": "a.nii"}, {"image": "b.nii", "age": 1}])
    with pytest.raises(ValueError, match="No entry 'image'"):
        Cohort.from_dicts([{"picture": "a.nii"}])


def test_a_raw_cohort_of_one_size_is_saved_fitted_and_an_array(table, tmp_path):
    cohort = Cohort.from_frame(table, "CT", mask="seg", **NAMES)
    assert cohort.shape == (N, 1, None, None, None)
    assert cohort[2:].to_numpy().shape == (N - 2, 1, 10, 9, 8)
    stored = cohort.save(tmp_path / "store")
    assert stored.shape == (N, 1, 10, 9, 8)
    np.testing.assert_array_equal(stored.mask("P3"), cohort.mask("P3"))


@pytest.mark.filterwarnings("ignore:.*hardly SUV")  # noise
def test_from_paths_to_a_fitted_model(table):
    X = Cohort.from_frame(table, images=["CT"], mask="seg", **NAMES)
    X = prepare(X, Preparation(shape=(8, 8, 8), spacing=4), progress=False)
    risk = ClinicalVolumeCox(clinical_columns=["age"]).fit(X, X.outcome).predict(X)
    assert np.isfinite(risk).all()


# ------------------------------------------------------------------ names, columns, joining


@pytest.fixture
def cohort(table):
    frame = table.assign(CT=column([voxels(i)[0] for i in range(N)]))
    return Cohort.from_frame(frame.drop(columns="seg"), "CT", **NAMES)


def test_patients_are_chosen_by_name(cohort):
    assert cohort["P3"].ids.tolist() == ["P3"]
    assert cohort[["P5", "P1"]].ids.tolist() == ["P5", "P1"]
    assert cohort[np.array(["P5", "P1"])].outcome["time"].tolist() == [6.0, 2.0]
    np.testing.assert_array_equal(cohort.volume("P4"), cohort.volume(4))
    assert cohort[2:]["P3"].clinical["age"].tolist() == [53]
    for wrong in ("P9", ["P1", "P9"]):
        with pytest.raises(IndexError, match="There is no patient 'P9' among 'P0'"):
            cohort[wrong]


def test_clinical_columns_are_added_in_the_order_of_their_names(cohort):
    part = cohort[[5, 2, 0]]
    more = pd.DataFrame({"grade": [1, 2, 3]}, index=["P0", "P2", "P5"])
    added = part.with_clinical(more, kinds={"grade": "categorical"})
    assert added.clinical["grade"].tolist() == ["3", "2", "1"]
    assert list(added.clinical) == ["age", "stage", "grade"]
    assert list(ClinicalFeatures(clinical_columns=["grade"]).fit_transform(added)) == [
        "grade_2", "grade_3"
    ]
    replaced = cohort.with_clinical({"age": np.zeros(N, int)})
    assert replaced.clinical["age"].tolist() == [0] * N
    assert replaced.clinical["age"].dtype == cohort.clinical["age"].dtype
    assert cohort.clinical["age"][1] == 51
    with pytest.raises(ValueError, match="index of clinical"):
        part.with_clinical(more.set_axis(["P0", "P2", "P4"], axis=0))


def test_a_frame_holds_outcome_groups_and_columns(cohort):
    frame = cohort[[3, 1]].to_frame()
    assert frame.index.tolist() == ["P3", "P1"]
    assert frame.columns.tolist() == ["time", "event", "age", "stage"]
    again = Cohort.from_frame(frame, {"CT": [cohort.volume(3), cohort.volume(1)]})
    pd.testing.assert_frame_equal(again.to_frame(), frame)
    with pytest.raises(ValueError, match="named like outcome"):
        cohort.with_clinical({"time": [1] * N}).to_frame()


def test_cohorts_are_put_together(cohort, tmp_path):
    first, second = cohort[:3], cohort[3:].save(tmp_path / "s")
    both = concatenate_cohorts([first, second])
    assert both.ids.tolist() == cohort.ids.tolist()
    np.testing.assert_array_equal(both.to_numpy(), cohort.to_numpy())
    pd.testing.assert_frame_equal(both.to_frame(), cohort.to_frame())
    assert concatenate_cohorts([both[:1], both[1:2], both[2:]]).ids.tolist() == both.ids.tolist()
    with pytest.raises(ValueError, match="in several cohorts by their identifiers: 'P0'"):
        concatenate_cohorts([cohort[:2], cohort[:1]])
    with pytest.raises(ValueError, match="different clinical columns"):
        concatenate_cohorts([cohort[:2], cohort[2:].with_clinical({"x": range(N - 2)})])
    with pytest.raises(ValueError, match="no cohorts"):
        concatenate_cohorts([])


def test_a_dataset_of_torch_holds_volume_mask_columns_and_outcome(table):
    X = Cohort.from_frame(table.drop(index=0), "CT", mask="seg", **NAMES)
    encoded = ClinicalFeatures().fit(X).transform(X)
    dataset = X.to_torch_dataset(clinical=encoded)
    assert len(list(dataset)) == N - 1
    batch = next(iter(DataLoader(dataset, batch_size=4)))
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "volume": (4, 1, 10, 9, 8), "mask": (4, 1, 10, 9, 8), "has_mask": (4,),
        "clinical": (4, 2), "time": (4,), "event": (4,),
    }
    np.testing.assert_array_equal(batch["volume"][1].numpy(), X.volume(1))
    np.testing.assert_array_equal(batch["mask"][1, 0].numpy(), X.mask(1))
    with pytest.raises(ValueError, match=r"\['stage'\] are no numbers"):
        X.to_torch_dataset()
    plain = Cohort(np.zeros((2, 1, 4, 4, 4), np.float32)).to_torch_dataset()
    assert set(plain[0]) == {"volume"}


def test_channels_last_are_told():
    last = np.zeros((3, 16, 16, 16, 2), np.float32)
    with pytest.raises(ValueError, match=r"z, y, x, channels.*np.moveaxis\(volumes, -1, 1\)"):
        Cohort(last, channel_names=("PET", "CT"))
    with pytest.raises(ValueError, match="np.moveaxis"):
        Cohort(last, masks=np.zeros((3, 16, 16, 16)))


def _labelled():
    """Masks whose labels float32 does not tell apart, in every form."""
    labels = np.zeros((9, 10, 11), np.int32)
    labels[2, 2:6, 2:6], labels[3, 2:6, 2:6], labels[4, 2:6, 2:6] = 2**24, 2**24 + 1, 7
    yield "array", np.zeros(labels.shape, np.float32), labels
    yield "SimpleITK", sitk.GetImageFromArray(np.zeros(labels.shape, np.float32)), (
        sitk.GetImageFromArray(labels)
    )
    affine = np.diag([-1, -1, 1, 1])
    image = nib.Nifti1Image(np.zeros(labels.T.shape, np.float32), affine)
    yield "nibabel", image, nib.Nifti1Image(labels.T, affine)


@pytest.mark.parametrize(("label", "planes"), [
    (2**24 + 1, [3]), ([2**24, 7], [2, 4]), (["7", 2**24 + 1], [3, 4]),
])  # fmt: skip
def test_labels_in_memory_are_compared_as_they_are_and_several_are_merged(label, planes):
    for form, image, mask in _labelled():
        for cohort in (
            Cohort.from_frame(
                pd.DataFrame(index=["P0", "P1"]), images={"CT": [image, image]}, mask=[mask, mask],
                label=label,
            ),
            Cohort.from_dicts([{"image": image, "mask": mask}] * 2, label=label),
        ):
            marked = np.flatnonzero(cohort.mask(1).any(axis=(1, 2))).tolist()
            assert marked == planes, form
            assert cohort.volume(0).dtype == np.float32


def test_a_label_that_is_not_there_names_those_that_are():
    for _, image, mask in _labelled():
        with pytest.raises(ValueError, match=r"has no label 3; it holds \[0, 7, 16777216"):
            Cohort.from_dicts([{"image": image, "mask": mask}] * 2, label=[7, 3]).mask(0)
