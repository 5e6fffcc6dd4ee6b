"""SUV: vendor headers, a real series, and every header that must be refused."""

from __future__ import annotations

import copy
import json
import sys

import numpy as np
import pytest

from survimg.io import read_image, suv_factor
from survimg.io.dicom import suv
from survimg.io.dicom.suv import pet_header

#: Known factors of the vendor headers, from the test of the project that published the headers
#: (cornerstonejs/calculate-suv, test/calculateSUV_SampleData.test.ts).
VENDOR_FACTORS = {
    "PHILIPS_BQML": 0.0007463747013889488,
    "PHILIPS_CNTS_AND_BQML_SUV": 0.000551,
    "PHILIPS_CNTS_AND_SUV": 0.000728,
    "SIEMENS": 0.00042748316187197236,
    "GE_MEDICAL_AND_BQML": 0.0005367387681819742,
    "BQML_AC_DT_lessThan_S_DT_SIEMENS": 0.0004069156854009332,
    "CPS_AND_BQML_AC_DT_-_S_DT": 0.00026503312764157046,
    "RADIOPHARM_DATETIME_UNDEFINED": 0.0003721089202818729,
}


@pytest.mark.parametrize("case", sorted(VENDOR_FACTORS))
def test_vendor_headers(shared_dir, case):
    path = shared_dir / "data" / "suv_metadata_cases" / f"{case}-instances.json"
    assert suv_factor(json.loads(path.read_text())) == pytest.approx(VENDOR_FACTORS[case], rel=1e-8)


def test_a_real_series_reproduces_its_reference(shared_dir):
    pytest.importorskip("pydicom")
    folder = shared_dir / "data" / "dicom_sts001_pet"
    image = read_image(folder / "image")
    reference = read_image(folder / "reference_SUV.nii.gz")
    start = image.index(reference.origin)
    np.testing.assert_allclose(start, np.rint(start), atol=1e-3)
    block = tuple(
        slice(a, a + n) for a, n in zip(np.rint(start).astype(int), reference.shape, strict=True)
    )
    assert np.abs(image.array[block] - reference.array).max() < 1e-3


def _header(**changes):
    header = {
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["ATTN", "DECY"],
        "PatientWeight": 70.0,
        "SeriesDate": "20200101",
        "SeriesTime": "120000",
        "AcquisitionDate": "20200101",
        "AcquisitionTime": "120000",
        "RadionuclideTotalDose": 3.5e8,
        "RadionuclideHalfLife": 6588.0,
        "RadiopharmaceuticalStartTime": "110000",
    }
    header.update(changes)
    return {name: value for name, value in header.items() if value is not None}


def test_dose_decays_from_injection_to_the_start_of_the_scan():
    decayed = 3.5e8 * 0.5 ** (3600 / 6588)
    assert suv_factor([_header()]) == pytest.approx(70000 / decayed, rel=1e-12)


def test_images_corrected_to_the_administration_need_no_decay():
    assert suv_factor([_header(DecayCorrection="ADMIN")]) == pytest.approx(70000 / 3.5e8, rel=1e-12)


def test_suv_images_are_left_as_they_are():
    assert suv_factor([{"Units": "GML"}]) == 1.0
    with pytest.raises(ValueError, match="SUVType is 'LBM'"):
        suv_factor([{"Units": "GML", "SUVType": "LBM"}])


def test_philips_counts_fall_back_to_the_activity_factor():
    private = {"SUVScaleFactor": "0", "ActivityConcentrationScaleFactor": "2.5"}
    header = _header(Units="CNTS", PhilipsPETPrivateGroup=private)
    assert suv_factor([header]) == pytest.approx(2.5 * suv_factor([_header()]), rel=1e-12)


def test_ge_private_scan_time_counts_when_the_series_was_written_later():
    late = _header(SeriesTime="150000", GEPrivatePostInjectionDateTime="20200101120000.00")
    assert suv_factor([late]) == pytest.approx(suv_factor([_header()]), rel=1e-12)


def test_frame_times_lead_back_to_the_start_of_the_scan():
    # a frame of 10 s that begins 600 s into the scan; its reference time lies about its middle
    frame = _header(
        SeriesTime="150000", AcquisitionTime="121000", FrameReferenceTime=605_000.0,
        ActualFrameDuration=10_000.0,
    )
    assert suv_factor([frame]) == pytest.approx(suv_factor([_header()]), rel=1e-6)


def test_the_earliest_acquisition_is_the_start_without_frame_times():
    beds = [_header(SeriesTime="150000", AcquisitionTime=t) for t in ("121000", "120000", "120500")]
    assert suv_factor(beds) == pytest.approx(suv_factor([_header()]), rel=1e-12)


def test_an_injection_before_midnight_needs_its_date():
    night = _header(
        SeriesTime="001500", AcquisitionTime="001500", RadiopharmaceuticalStartTime="231500"
    )
    with pytest.raises(ValueError, match="RadiopharmaceuticalStartDateTime"):
        suv_factor([night])
    dated = {**night, "RadiopharmaceuticalStartDateTime": "20191231231500.000000"}
    assert suv_factor([dated]) == pytest.approx(suv_factor([_header()]), rel=1e-12)


@pytest.mark.parametrize(
    "missing",
    ["Units", "DecayCorrection", "CorrectedImage", "PatientWeight", "SeriesDate", "SeriesTime",
     "AcquisitionDate", "AcquisitionTime", "RadionuclideTotalDose", "RadionuclideHalfLife",
     "RadiopharmaceuticalStartTime"],
)
def test_a_missing_attribute_is_named(missing):
    with pytest.raises(ValueError, match=f"{missing}.* (is|are) missing"):
        suv_factor([_header(**{missing: None})])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Units": "PROPCPS"}, "Units is 'PROPCPS'"),
        ({"Units": "CNTS"}, r"SUVScaleFactor \(7053,1000\)"),
        ({"DecayCorrection": "NONE"}, "DecayCorrection is 'NONE'"),
        ({"CorrectedImage": ["DECY"]}, "CorrectedImage lacks ATTN"),
        ({"CorrectedImage": ["ATTN"]}, "CorrectedImage lacks DECY"),
        ({"PatientWeight": 0.0}, "PatientWeight is 0 kg"),
        ({"RadionuclideTotalDose": 350.0}, "RadionuclideTotalDose is 350 Bq"),
        ({"RadionuclideHalfLife": 0.0}, "RadionuclideHalfLife is 0 s"),
        ({"AcquisitionTime": "12"}, "AcquisitionDate/AcquisitionTime is not a date and time"),
        ({"RadiopharmaceuticalStartTime": "130000"}, "to scan: -60.0 minutes"),
        ({"RadiopharmaceuticalStartDateTime": "20120101110000"}, "a date is often shifted"),
    ],
)
def test_headers_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        suv_factor([_header(**changes)])


def test_slices_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="differ in PatientWeight"):
        suv_factor([_header(), _header(PatientWeight=71.0)])
    frames = [
        _header(SeriesTime="150000", AcquisitionTime=t, FrameReferenceTime=5000.0,
                ActualFrameDuration=10_000.0)
        for t in ("120000", "121000")
    ]
    with pytest.raises(ValueError, match="they must agree"):
        suv_factor(frames)
    frames[1].pop("FrameReferenceTime")
    with pytest.raises(ValueError, match="FrameReferenceTime or ActualFrameDuration is missing"):
        suv_factor(frames)
    with pytest.raises(ValueError, match="at least one slice"):
        suv_factor([])


def _as_pet(slices):
    import pydicom

    item = pydicom.Dataset()
    item.RadionuclideTotalDose, item.RadionuclideHalfLife = "350000000", "6588"
    item.RadiopharmaceuticalStartTime = "110000"
    for dataset in slices:
        dataset.Units, dataset.DecayCorrection = "BQML", "START"
        dataset.CorrectedImage = ["ATTN", "DECY"]
        dataset.PatientWeight = "70"
        dataset.SeriesDate = dataset.AcquisitionDate = "20200101"
        dataset.SeriesTime = dataset.AcquisitionTime = "120000"
        dataset.RadiopharmaceuticalInformationSequence = [copy.deepcopy(item)]


def test_a_pet_series_is_read_as_suv_unless_asked_otherwise(dicom_series):
    activity = np.random.default_rng(0).uniform(1e3, 2e4, size=(4, 5, 6))
    folder = dicom_series(activity, change=_as_pet, modality="PT")
    np.testing.assert_allclose(
        read_image(folder).array, activity * suv_factor([_header()]), rtol=1e-3
    )
    np.testing.assert_allclose(read_image(folder, pet_units="stored").array, activity, rtol=1e-3)


def test_pet_without_the_injection_is_refused_by_folder_and_attribute(dicom_series):
    def change(slices):
        _as_pet(slices)
        for dataset in slices:
            del dataset.RadiopharmaceuticalInformationSequence

    folder = dicom_series(np.ones((3, 4, 4)), change=change, modality="PT")
    with pytest.raises(ValueError, match="RadiopharmaceuticalInformationSequence is missing") as e:
        read_image(folder)
    assert str(folder) in str(e.value)


def test_two_injections_are_refused():
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.Units = "BQML"
    dataset.RadiopharmaceuticalInformationSequence = [pydicom.Dataset(), pydicom.Dataset()]
    with pytest.raises(ValueError, match="has 2 items"):
        pet_header(dataset)


def test_a_header_holds_nothing_that_identifies_the_patient():
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Doe^Jane", "17", "19500101"
    dataset.Units = "GML"
    assert not any("Name" in key or "ID" in key or "Birth" in key for key in pet_header(dataset))


def test_without_pydicom_the_error_says_what_to_install(dicom_series, monkeypatch):
    folder = dicom_series(np.ones((3, 4, 4)), change=_as_pet, modality="PT")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImportError, match="pip install pydicom"):
        read_image(folder)


def _with_private(group, creator, offset, value, before=()):
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.Units = "GML"
    for other in before:  # takes the first block of the group
        dataset.private_block(group, other, create=True).add_new(offset, "LO", "9999")
    if creator is not None:
        dataset.private_block(group, creator, create=True).add_new(offset, "LO", value)
    return pet_header(dataset)


@pytest.mark.parametrize("before", [(), ("ACME 1.0",), ("ACME 1.0", "ACME 2.0")])
def test_private_elements_are_those_of_their_creator(before):
    header = _with_private(0x7053, "Philips PET Private Group", 0x00, "0.5", before)
    assert header["PhilipsPETPrivateGroup"]["SUVScaleFactor"] == "0.5"
    header = _with_private(0x0009, "GEMS_PETD_01", 0x0D, "20200101120000.00", before)
    assert header["GEPrivatePostInjectionDateTime"] == "20200101120000.00"


def test_private_elements_of_others_are_not_taken_for_them():
    header = _with_private(0x7053, None, 0x00, "", ("ACME 1.0",))
    assert header["PhilipsPETPrivateGroup"]["SUVScaleFactor"] is None
    header = _with_private(0x0009, None, 0x0D, "", ("ACME",))
    assert header["GEPrivatePostInjectionDateTime"] is None


@pytest.mark.parametrize(("stamp", "local"), [
    ("20200101100000+0000", "+0100"), ("20200101110000+0100", "+0100"),
    ("20200101233000.00+1330", "+0100"), ("20200101060000-0400", "+0100"),
    ("20200101110000", "+0100"), ("20200101110000", None),
])  # fmt: skip
def test_times_of_other_zones_are_converted(stamp, local):
    header = _header(
        RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime=stamp,
        TimezoneOffsetFromUTC=local,
    )
    assert suv_factor([header]) == pytest.approx(suv_factor([_header()]), rel=1e-12)


@pytest.mark.parametrize(("changes", "message"), [
    ({"RadiopharmaceuticalStartDateTime": "20200101100000+0000",
      "RadiopharmaceuticalStartTime": None}, "TimezoneOffsetFromUTC is missing"),
    ({"RadiopharmaceuticalStartDateTime": "20200101100000+0000"}, "one of them is wrong"),
    ({"RadiopharmaceuticalStartDateTime": "20200101110000+0000",
      "TimezoneOffsetFromUTC": "+0100"}, "one of them is wrong"),
    ({"RadiopharmaceuticalStartDateTime": "20200101100000+9900",
      "TimezoneOffsetFromUTC": "+0100"}, "has no time zone that exists"),
    ({"RadiopharmaceuticalStartDateTime": "20200101103000"}, "one of them is wrong"),
    ({"AcquisitionTime": "120000+0100"}, "TimezoneOffsetFromUTC is missing"),
])  # fmt: skip
def test_times_whose_zone_is_not_known_or_that_disagree_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        suv_factor([_header(**changes)])


def test_the_scanners_own_zone_needs_no_offset():
    header = _header(RadiopharmaceuticalStartDateTime="20200101110000+0100")
    assert suv_factor([header]) == pytest.approx(suv_factor([_header()]), rel=1e-12)


@pytest.mark.parametrize(("changes", "message"), [
    ({"RadionuclideHalfLife": 6_588_000.0}, "RadionuclideHalfLife is 6.588e.06 s"),  # in ms
    ({"RadionuclideHalfLife": 4062.6, "RadionuclideCode": "C-111A1"}, "and 6586.2 s is that of"),
    ({"RadionuclideTotalDose": 350_000.0}, "is 350000 Bq for 70 kg"),  # in kBq
])  # fmt: skip
def test_other_units_than_those_of_the_standard_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        suv_factor([_header(**changes)])


@pytest.mark.parametrize("units", ["GML", "CNTS"])
def test_images_without_attenuation_correction_are_no_suv_in_any_unit(units):
    private = {"SUVScaleFactor": "0.5", "ActivityConcentrationScaleFactor": None}
    corrected = _header(Units=units, PhilipsPETPrivateGroup=private)
    assert suv_factor([corrected]) == {"GML": 1.0, "CNTS": 0.5}[units]
    for given in (["DECY", "SCAT"], "DECY"):
        with pytest.raises(ValueError, match="CorrectedImage lacks ATTN"):
            suv_factor([{**corrected, "CorrectedImage": given}])


@pytest.mark.parametrize("half_life", ["1223.4", "4062.6"])
def test_the_half_life_of_fdg_is_that_of_fluorine(half_life):
    pydicom = pytest.importorskip("pydicom")
    dataset, item = pydicom.Dataset(), pydicom.Dataset()
    item.Radiopharmaceutical, item.RadionuclideHalfLife = "FDG -- Fluorodeoxyglucose", half_life
    dataset.RadiopharmaceuticalInformationSequence = [item]
    read = pet_header(dataset)
    injection = {name: read[name] for name in ("RadionuclideHalfLife", "RadionuclideCode")}
    with pytest.raises(ValueError, match="RadionuclideHalfLife is .* of FDG"):
        suv_factor([{**_header(), **injection}])


def test_the_half_life_of_a_phantom_is_that_of_its_code():
    phantom = _header(RadionuclideCode="53315004", RadionuclideHalfLife=2.34e7)
    decayed = 3.5e8 * 0.5 ** (3600 / 2.34e7)
    assert suv_factor([phantom]) == pytest.approx(70000 / decayed, rel=1e-12)


def test_codes_are_those_of_the_standard():
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts["SCT"]
    older = pytest.importorskip("pydicom.sr._snomed_dict").mapping["SCT"]
    assert len(suv._HALF_LIVES) == 22
    for name, half_life in {
        "_18Fluorine": 6586.2, "_11Carbon": 1223.4, "_13Nitrogen": 597.9, "_15Oxygen": 122.2,
        "_68Gallium": 4057.7, "_82Rubidium": 75.5, "_89Zirconium": 282_276.0,
        "_124Iodine": 360_806.0, "_64Copper": 45_721.0, "_68Germanium": 2.341e7,
        "_22Sodium": 8.21e7,
    }.items():
        (code,) = concepts[name]
        assert suv._HALF_LIVES[code] == suv._HALF_LIVES[older[code]] == half_life


def test_the_code_of_the_radionuclide_is_read():
    pydicom = pytest.importorskip("pydicom")
    dataset, item, code = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    code.CodeValue = "C-111A1"
    item.RadionuclideCodeSequence = [code]
    dataset.RadiopharmaceuticalInformationSequence = [item]
    assert pet_header(dataset)["RadionuclideCode"] == "C-111A1"


def test_fewer_slices_than_the_header_says_are_said(dicom_series):
    def change(slices):
        for dataset in slices:
            dataset.NumberOfSlices = 4
        return slices[:number]

    volume = np.ones((4, 5, 6), np.float32)
    for number in (4, 3):
        folder = dicom_series(volume[:number], change, modality="PT", name=f"pet{number}")
        if number == 3:
            with pytest.warns(UserWarning, match="pet3 has 3 slices, and 4 by NumberOfSlices"):
                image = read_image(folder, pet_units="stored")
        else:
            image = read_image(folder, pet_units="stored")
        assert image.shape == (number, 5, 6)
