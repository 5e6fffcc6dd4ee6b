"""Bad DICOM: series, SUV headers, RTSTRUCT and segmentation objects."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom_files import ORIGIN, SPACING, rtstruct, save_series, segmentation
from fault import PATIENT, Fault, at_the_door
from pydicom.uid import ExplicitVRBigEndian, RLELossless, generate_uid

from survimg.io import Image, read_image, read_mask, suv_factor

__all__ = ["FAULTS", "SLICES"]

_SERIES, _SUV, _RT, _SEG = "DICOM series", "PET to SUV", "RTSTRUCT", "DICOM-SEG"
SLICES = np.random.default_rng(3).uniform(1, 100, size=(7, 10, 12)).astype(np.float32)
Change = Callable[[list[pydicom.Dataset]], Any]


def _series(name: str, change: Change, *named: str) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        save_series(folder / "series", SLICES, change)
        at_the_door(folder, "series")

    return Fault(_SERIES, name, run, (PATIENT, *named))


def _each(**attributes: Any) -> Change:
    def change(slices: list[pydicom.Dataset]) -> None:
        for i in range(len(slices)):
            _one(i, **attributes)(slices)

    return change


def _numbered(name: str) -> Change:
    def change(slices: list[pydicom.Dataset]) -> None:
        for i, dataset in enumerate(slices):
            setattr(dataset, name, f"1.2.{i}")

    return change


def _one(i: int = 3, **attributes: Any) -> Change:
    def change(slices: list[pydicom.Dataset]) -> None:
        for name, value in attributes.items():
            if value is None:
                delattr(slices[i], name)
            else:
                setattr(slices[i], name, value)

    return change


def _move(shift: Callable[[int], tuple[float, float, float]]) -> Change:
    def change(slices: list[pydicom.Dataset]) -> None:
        for i, dataset in enumerate(slices):
            x, y, z = shift(i)
            dataset.ImagePositionPatient = [
                ORIGIN[0] + x, ORIGIN[1] + y, ORIGIN[2] + SPACING[0] * i + z
            ]

    return change


def _twice(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    return [*slices, slices[2]]


def _frames(slices: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    later = copy.deepcopy(slices)
    for dataset in later:
        dataset.SOPInstanceUID = generate_uid()
    return [*slices, *later]


def _raw(slices: list[pydicom.Dataset], name: str, text: bytes) -> None:
    # pydicom itself refuses to write such values
    element = slices[3][name]
    slices[3][name] = pydicom.dataelem.RawDataElement(
        element.tag, element.VR, len(text), text, 0, False, True
    )


def _other_series(folder: Path, rng: np.random.Generator) -> None:
    save_series(folder / "series", SLICES)
    save_series(folder / "series", SLICES[:5], modality="MR")
    at_the_door(folder, "series")


def _truncated(folder: Path, rng: np.random.Generator) -> None:
    path = _some_slice(folder, rng)
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(140, len(content) - 2))])
    at_the_door(folder, "series")


def _zeroed(folder: Path, rng: np.random.Generator) -> None:
    path = _some_slice(folder, rng)
    content = path.read_bytes()
    start = int(rng.integers(140, content.rindex(b"\xe0\x7f\x10\x00")))
    with open(path, "r+b") as file:
        file.truncate(start)
        file.truncate(1 << 24)  # zeros, as a download that was broken off leaves them
    at_the_door(folder, "series")


def _element_twice(folder: Path, rng: np.random.Generator) -> None:
    path = _some_slice(folder, rng)
    content = path.read_bytes()
    start = content.index(b"\x28\x00\x52\x10DS")  # RescaleIntercept
    end = content.index(b"\x28\x00\x53\x10DS")
    path.write_bytes(content[:end] + content[start:end] + content[end:])
    at_the_door(folder, "series")


def _empty_items(folder: Path, rng: np.random.Generator) -> None:
    path = _some_slice(folder, rng)
    content = path.read_bytes()
    at = content.rindex(b"\xe0\x7f\x10\x00")
    items = b"\x50\x00\x10\x00SQ\0\0\xff\xff\xff\xff" + 100_000 * b"\xfe\xff\x00\xe0\0\0\0\0"
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"
    path.write_bytes(content[:at] + items + end + content[at:])
    at_the_door(folder, "series")


def _compressed_and_cut(folder: Path, rng: np.random.Generator) -> None:
    path = _some_slice(folder, rng, _rle)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - int(rng.integers(20, 60))])
    at_the_door(folder, "series")


def _some_slice(folder: Path, rng: np.random.Generator, change: Change | None = None) -> Path:
    save_series(folder / "series", SLICES, change)
    return sorted((folder / "series").glob("*.dcm"))[int(rng.integers(len(SLICES)))]


def _no_series(folder: Path, rng: np.random.Generator) -> None:
    (folder / "series").mkdir()
    (folder / "series" / "notes.txt").write_text("no image here")
    at_the_door(folder, "series")


def _text_slice(folder: Path, rng: np.random.Generator) -> None:
    save_series(folder / "series", SLICES)
    (folder / "series" / "another.dcm").write_text("not DICOM")
    at_the_door(folder, "series")


def _multiframe(folder: Path, rng: np.random.Generator) -> None:
    masks = {"tumour": SLICES > 50}
    segmentation(folder / "frames.dcm", masks)
    at_the_door(folder, "frames.dcm")


def _linked_slice(folder: Path, rng: np.random.Generator) -> None:
    save_series(folder / "data" / "series", SLICES)
    path = next((folder / "data" / "series").glob("*.dcm"))
    path.rename(folder / "elsewhere.dcm")
    path.symlink_to(folder / "elsewhere.dcm")
    at_the_door(folder / "data", "series")


def _random_bytes(folder: Path, rng: np.random.Generator) -> None:
    """Damage the header (not the pixels) of one slice; never anything but a refusal or the data."""
    path = _some_slice(folder, rng)
    content = bytearray(path.read_bytes())
    for place in rng.integers(132, len(content) - 2 * SLICES[0].size, size=3):
        content[int(place)] = int(rng.integers(256))
    path.write_bytes(bytes(content))
    image = read_image(folder / "series")
    assert image.array.ndim == 3
    assert np.isfinite(image.array).all()


def _rle(slices: list[pydicom.Dataset]) -> None:
    for dataset in slices:
        dataset.compress(RLELossless, generate_instance_uid=False)


def _big_endian(slices: list[pydicom.Dataset]) -> None:
    for dataset in slices:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        words = np.frombuffer(dataset.PixelData, "<i2")
        dataset.PixelData = words.astype(">i2").tobytes()


def _read_series(name: str, change: Change | None) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        image = read_image(save_series(folder / "series", SLICES, change))
        np.testing.assert_allclose(image.array, SLICES, atol=0.01)
        np.testing.assert_allclose(image.spacing, SPACING)
        np.testing.assert_allclose(image.origin, ORIGIN)

    return Fault(_SERIES, name, run)


_SERIES_FAULTS = [
    _series("a slice is missing", lambda s: s[:3] + s[4:], "evenly spaced"),
    _series("two slices at one position",
            lambda s: _one(ImagePositionPatient=s[2].ImagePositionPatient)(s), "same position"),
    _series("the same file twice", _twice, "same position"),
    _series("two time frames in one series", _frames, "same position"),
    _series("one position jitters", _move(lambda i: (0, 0, 0.4 * (i == 3))), "evenly spaced"),
    _series("positions creep", _move(lambda i: (0, 0, 0.04 * i * i)), "evenly spaced"),
    _series("gantry tilt", _move(lambda i: (0, 0.3 * i, 0)), "tilted gantry"),
    _series("one slice shifted sideways", _move(lambda i: (2.0 * (i == 3), 0, 0)), "sideways"),
    _series("a localiser among the slices",
            _one(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]), "orientation"),
    _series("another pixel spacing in one slice", _one(PixelSpacing=[4, 4]), "differ in size"),
    _series("another modality in one slice", _one(Modality="PT"), "Modality"),
    _series("no ImagePositionPatient", _one(ImagePositionPatient=None), "ImagePositionPatient"),
    _series("no PixelSpacing", _one(PixelSpacing=None), "PixelSpacing"),
    _series("pixel spacing of 0", _each(PixelSpacing=[0, 0]), "PixelSpacing"),
    _series("orientation of no length", _each(ImageOrientationPatient=[0, 0, 0, 0, 1, 0]),
            "ImageOrientationPatient"),
    _series("skewed orientation", _each(ImageOrientationPatient=[1, 0, 0, 0.5, 0.9, 0]),
            "ImageOrientationPatient"),
    _series("a position that is no number",
            lambda s: _raw(s, "ImagePositionPatient", b"a\\b\\c "), "numbers"),
    _series("a position at infinity",
            lambda s: _raw(s, "ImagePositionPatient", b"0\\0\\inf "), "numbers"),
    _series("one slice only", lambda s: s[:1], "one slice"),
    _series("a colour image", _one(SamplesPerPixel=3, PhotometricInterpretation="RGB",
                                   PlanarConfiguration=0)),
    _series("more rows than pixels", _each(Rows=600)),
    _series("a claim of 60000 x 60000 pixels", _each(Rows=60000, Columns=60000)),
    _series("numbers neither signed nor unsigned", _one(PixelRepresentation=121),
            "PixelRepresentation"),
    _series("no pixels", _one(PixelData=None)),
    Fault(_SERIES, "two series in one folder", _other_series, (PATIENT, "2 DICOM series")),
    Fault(_SERIES, "a folder without a series", _no_series, (PATIENT, "no DICOM image series")),
    Fault(_SERIES, "text named .dcm", _text_slice, (PATIENT, "another.dcm")),
    Fault(_SERIES, "a truncated slice", _truncated, (PATIENT,), 20),
    Fault(_SERIES, "zeros from somewhere in the header on", _zeroed, (PATIENT,), 20),
    Fault(_SERIES, "an element twice", _element_twice, (PATIENT, "twice")),
    Fault(_SERIES, "a truncated compressed slice", _compressed_and_cut, (PATIENT,), 10),
    Fault(_SERIES, "a multi-frame object as an image", _multiframe, (PATIENT, "frames.dcm")),
    Fault(_SERIES, "a slice is a link out of the folder", _linked_slice, (PATIENT, "outside")),
    Fault(_SERIES, "random bytes in a header", _random_bytes, (), 100, either=True),
    _series("a slice of another study", _one(StudyInstanceUID="1.9"), "StudyInstanceUID"),
    _series("a study for each slice", _numbered("StudyInstanceUID"), "write them again with one"),
    _series("a slice of another frame of reference", _one(FrameOfReferenceUID="1.9"),
            "FrameOfReferenceUID"),
    _series("a slice of another patient", _one(PatientID="another"), "PatientID"),
    _series("a series for each slice", _numbered("SeriesInstanceUID"), "7 DICOM series"),
    _series("acquisitions that alternate",
            lambda s: [setattr(d, "AcquisitionNumber", i % 2) for i, d in enumerate(s)] and None,
            "AcquisitionNumber"),
    _series("no rescaling in CT", _each(RescaleSlope=None, RescaleIntercept=None), "RescaleSlope"),
    _series("a rescale slope of 0", _one(RescaleSlope="0"), "RescaleSlope"),
    Fault(_SERIES, "100,000 empty items in a header", _empty_items, (PATIENT, "items")),
    _read_series("high values shown dark (MONOCHROME1)",
                 _each(PhotometricInterpretation="MONOCHROME1")),
    _read_series("feet first", lambda s: s[::-1]),
    _read_series("big-endian", _big_endian),
    _read_series("compressed (RLE)", _rle),
]


def _pet(name: str, change: Change, *named: str) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        save_series(folder / "series", SLICES, change, modality="PT")
        at_the_door(folder, "series")

    return Fault(_SUV, name, run, (PATIENT, *named))


def _without(name: str) -> Fault:
    def change(slices: list[pydicom.Dataset]) -> None:
        for dataset in slices:
            item = dataset.RadiopharmaceuticalInformationSequence[0]
            delattr(item if name in item else dataset, name)

    return _pet(f"{name} is missing", change, name)


def _injection(**attributes: Any) -> Change:
    def change(slices: list[pydicom.Dataset]) -> None:
        for dataset in slices:
            _each(**attributes)([dataset.RadiopharmaceuticalInformationSequence[0]])

    return change


def _another_injection(slices: list[pydicom.Dataset]) -> None:
    item = slices[3].RadiopharmaceuticalInformationSequence[0]
    item.RadiopharmaceuticalStartTime = "113000"


def _two_injections(slices: list[pydicom.Dataset]) -> None:
    for dataset in slices:
        item = dataset.RadiopharmaceuticalInformationSequence[0]
        dataset.RadiopharmaceuticalInformationSequence = [item, copy.deepcopy(item)]


def _read_suv(name: str, factor: float, change: Change | None = None) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        image = read_image(save_series(folder / "series", SLICES, change, modality="PT"))
        np.testing.assert_allclose(image.array, SLICES * factor, rtol=2e-3)

    return Fault(_SUV, name, run)


def _creator(name: str) -> Change:
    def change(slices: list[pydicom.Dataset]) -> None:
        for dataset in slices:
            dataset.Units = "CNTS"
            dataset.private_block(0x7053, name, create=True).add_new(0x00, "DS", "0.5")

    return change


def _other_zone(slices: list[pydicom.Dataset]) -> None:
    _each(TimezoneOffsetFromUTC="+0100")(slices)
    _injection(RadiopharmaceuticalStartTime=None,
               RadiopharmaceuticalStartDateTime="20200101100000+0000")(slices)


def _over_midnight(slices: list[pydicom.Dataset]) -> None:
    """Scan from 23:58 on, a minute per slice; the series was written later."""
    _injection(RadiopharmaceuticalStartTime=None,
               RadiopharmaceuticalStartDateTime="20200101225800")(slices)
    for i, dataset in enumerate(slices):
        dataset.SeriesDate, dataset.SeriesTime = "20200102", "030000"
        dataset.AcquisitionDate = "20200101" if i < 2 else "20200102"
        dataset.AcquisitionTime = f"23{58 + i}00" if i < 2 else f"00{i - 2:02d}00"


def _time_without_date(slices: list[pydicom.Dataset]) -> None:
    _each(SeriesTime="002000", AcquisitionTime="002000")(slices)
    _injection(RadiopharmaceuticalStartTime="232000")(slices)


def _no_header(folder: Path, rng: np.random.Generator) -> None:
    suv_factor([])


_DECAYED = 3.5e8 * 0.5 ** (3600 / 6588)
_SUV_FAULTS = [
    *(
        _without(name)
        for name in (
            "Units", "DecayCorrection", "CorrectedImage", "PatientWeight", "SeriesTime",
            "AcquisitionTime", "RadionuclideTotalDose", "RadionuclideHalfLife",
            "RadiopharmaceuticalStartTime", "RescaleSlope",
        )
    ),
    _pet("RadiopharmaceuticalInformationSequence is missing",
         _one(RadiopharmaceuticalInformationSequence=None),
         "RadiopharmaceuticalInformationSequence"),
    _pet("two injections", _two_injections, "RadiopharmaceuticalInformationSequence"),
    _pet("a weight of 0", _each(PatientWeight="0"), "PatientWeight"),
    _pet("a weight in g", _each(PatientWeight="70000"), "PatientWeight"),
    _pet("a weight that is no number", lambda s: [_raw([d] * 4, "PatientWeight", b"heavy ")
                                                  for d in s] and None, "PatientWeight"),
    _pet("a dose in MBq", _injection(RadionuclideTotalDose="350"), "RadionuclideTotalDose"),
    _pet("injected after the scan", _injection(RadiopharmaceuticalStartTime="130000"),
         "RadiopharmaceuticalStart"),
    _pet("one date shifted by de-identification",
         _injection(RadiopharmaceuticalStartDateTime="20120101110000"), "RadiopharmaceuticalStart"),
    _pet("slices tell of different injections", _another_injection, "RadiopharmaceuticalStartTime"),
    _pet("slices differ in weight", _one(PatientWeight="71"), "PatientWeight"),
    _pet("counts per second", _each(Units="PROPCPS"), "Units"),
    _pet("counts without Philips' factors", _each(Units="CNTS"), "7053,1000"),
    _pet("SUV by lean body mass", _each(Units="GML", SUVType="LBM"), "SUVType"),
    _pet("not corrected for attenuation", _each(CorrectedImage=["DECY"]), "ATTN"),
    _pet("not corrected for decay", _each(DecayCorrection="NONE"), "DecayCorrection"),
    _pet("a time without minutes", _each(AcquisitionTime="12"), "AcquisitionTime"),
    _pet("SUV not corrected for attenuation", _each(Units="GML", CorrectedImage=["DECY"]), "ATTN"),
    _pet("a dose in kBq", _injection(RadionuclideTotalDose="350000"), "RadionuclideTotalDose"),
    _pet("a half-life in ms", _injection(RadionuclideHalfLife="6588000"), "RadionuclideHalfLife"),
    _pet("a half-life in minutes", _injection(RadionuclideHalfLife="109.8"),
         "RadionuclideHalfLife"),
    _pet("FDG with the half-life of gallium",
         _injection(Radiopharmaceutical="FDG", RadionuclideHalfLife="4062.6"),
         "RadionuclideHalfLife"),
    _pet("Philips' factor of another creator", _creator("ACME"), "7053,1000"),
    _pet("an injection in UTC, and no zone of the scanner",
         _injection(RadiopharmaceuticalStartTime=None,
                    RadiopharmaceuticalStartDateTime="20200101100000+0000"),
         "TimezoneOffsetFromUTC"),
    _pet("an injection before midnight without its date",
         _time_without_date, "RadiopharmaceuticalStart"),
    Fault(_SUV, "no header at all", _no_header, ("header",)),
    _read_suv("an injection in UTC, and the zone of the scanner", 70000 / _DECAYED, _other_zone),
    _read_suv("a scan from before midnight on", 70000 / _DECAYED, _over_midnight),
    _read_suv("Bq/ml, decayed from injection to scan", 70000 / _DECAYED),
    _read_suv("Bq/ml, corrected to administration", 70000 / 3.5e8, _each(DecayCorrection="ADMIN")),
    _read_suv("GML is SUV already", 1.0, _each(Units="GML")),
    _read_suv("CNTS with Philips' factor", 0.5, _creator("Philips PET Private Group")),
]

_LIKE = Image(
    np.zeros(SLICES.shape, np.float32), SPACING, ORIGIN, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
)


def _box(low: tuple[float, float], high: tuple[float, float], z: float) -> list[tuple]:
    """Return a rectangle in world coordinates; corners as (y, x) in voxels, z in slices."""
    corners = [(low[0], low[1]), (low[0], high[1]), (high[0], high[1]), (high[0], low[1])]
    return [tuple(_LIKE.world((z, y, x))) for y, x in corners]


def _boxes(hole: bool = False) -> list[list[tuple]]:
    found = [_box((1.5, 2.5), (6.5, 8.5), z) for z in (2, 3, 4)]
    return found + ([_box((2.5, 4.5), (4.5, 6.5), z) for z in (2, 3, 4)] if hole else [])


def _expected(hole: bool = False) -> np.ndarray:
    mask = np.zeros(SLICES.shape, np.uint8)
    mask[2:5, 2:7, 3:9] = 1
    if hole:
        mask[2:5, 3:5, 5:7] = 0
    return mask


def _region(
    name: str, *named: str, regions: dict[str, Any] | None = None,
    change: Callable[[pydicom.Dataset], None] | None = None, label: str | None = None,
    kind: str = "CLOSED_PLANAR",
) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        save_series(folder / "series", SLICES)
        rtstruct(folder / "rt.dcm", regions or {"GTV": _boxes()}, change, kind)
        at_the_door(folder, "series", "rt.dcm", label=label)

    return Fault(_RT, name, run, (PATIENT, "rt.dcm", *named))


def _points(values: list[float]) -> Callable[[pydicom.Dataset], None]:
    def change(dataset: pydicom.Dataset) -> None:
        dataset.ROIContourSequence[0].ContourSequence[0].ContourData = values

    return change


def _drop(name: str) -> Callable[[pydicom.Dataset], None]:
    def change(dataset: pydicom.Dataset) -> None:
        for owner in (dataset, dataset.StructureSetROISequence[0], dataset.ROIContourSequence[0],
                      dataset.ROIContourSequence[0].ContourSequence[0]):
            if name in owner:
                delattr(owner, name)
                return

    return change


def _offset(dataset: pydicom.Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[0].ContourOffsetVector = [0, 0, 3]


def _lost_points(dataset: pydicom.Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 5


def _mark(name: str, value: Any) -> Callable[[pydicom.Dataset], None]:
    def change(dataset: pydicom.Dataset) -> None:
        setattr(dataset, name, value)

    return change


def _read_region(name: str, regions: dict[str, Any], label: str | None, hole: bool) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        path = rtstruct(folder / "rt.dcm", regions)
        np.testing.assert_array_equal(read_mask(path, _LIKE, label), _expected(hole))

    return Fault(_RT, name, run)


def _damage(path: Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    for place in rng.integers(132, len(content), size=3):
        content[int(place)] = int(rng.integers(256))
    path.write_bytes(bytes(content))


def _random_region(folder: Path, rng: np.random.Generator) -> None:
    path = rtstruct(folder / "rt.dcm", {"GTV": _boxes()})
    _damage(path, rng)
    assert read_mask(path, _LIKE).any()


def _cut_region(folder: Path, rng: np.random.Generator) -> None:
    save_series(folder / "series", SLICES)
    path = rtstruct(folder / "rt.dcm", {"GTV": _boxes()})
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(140, len(content) - 40))])
    at_the_door(folder, "series", "rt.dcm")


_RT_FAULTS = [
    _region("two regions and no name asked for", "Say which region",
            regions={"GTV": _boxes(), "Liver": _boxes()}),
    _region("a region that is not there", "Liver", label="Liver"),
    _region("two regions of one name", "GTV", label="GTV",
            change=lambda d: d.StructureSetROISequence.append(
                copy.deepcopy(d.StructureSetROISequence[0]))),
    _region("no regions", change=_drop("StructureSetROISequence")),
    _region("a region without contours", "no contours", change=_drop("ContourSequence")),
    _region("a region without number", change=_drop("ROINumber")),
    _region("contours without coordinates", change=_drop("ContourData")),
    _region("points instead of contours", "CLOSED_PLANAR", kind="POINT"),
    _region("a contour across slices", "parallel", change=_points(
        [float(f"{v:g}") for v in np.ravel([_LIKE.world(p) for p in
                                            [(1, 1, 1), (1, 5, 1), (4, 5, 5)]])])),
    _region("coordinates that are no triples", "coordinates", change=_points([1.0] * 10)),
    _region("a region outside the image", regions={"GTV": [_box((50, 50), (60, 60), 2)]}),
    _region("a region partly outside the image", "1 of 4 contours",
            regions={"GTV": [*_boxes(), _box((1, 7), (6, 13), 5)]}),
    _region("contours with an offset", "ContourOffsetVector", change=_offset),
    _region("open contours", "OPEN_PLANAR", kind="OPEN_PLANAR"),
    _region("fewer points than the header says", "NumberOfContourPoints", change=_lost_points),
    _region("planes further apart than any slices", "planes that are 12 mm apart",
            regions={"GTV": [_box((1, 1), (5, 5), 1), _box((1, 1), (5, 5), 5)]}),
    _region("another kind of object", "RTPLAN", change=_mark("Modality", "RTPLAN")),
    Fault(_RT, "a truncated file", _cut_region, (PATIENT,), 20),
    Fault(_RT, "random bytes", _random_region, (), 100, either=True),
    _read_region("a hole in a region", {"GTV": _boxes(hole=True)}, None, True),
    _read_region("contours stored twice", {"GTV": [*_boxes(hole=True), *_boxes(hole=True)]}, None,
                 True),
    _read_region("contours traced twice", {"GTV": [box + box for box in _boxes()]}, None, False),
    _read_region("contours drawn again, a little off", {"GTV": [
        *_boxes(), *(_box((1.8, 2.6), (6.8, 8.6), z) for z in (2, 3, 4))
    ]}, None, False),
    _read_region("contours that overlap", {"GTV": [
        *(_box((1.5, 2.5), (6.5, 6.5), z) for z in (2, 3, 4)),
        *(_box((1.5, 4.5), (6.5, 8.5), z) for z in (2, 3, 4)),
    ]}, None, False),
    _read_region("keyholes", {"GTV": [
        [*outer, outer[0], *inner, inner[0]]
        for outer, inner in zip(_boxes(), _boxes(hole=True)[3:], strict=True)
    ]}, None, True),
    _read_region("one of several regions", {"Liver": _boxes(hole=True), "GTV": _boxes()}, "GTV",
                 False),
]


def _segment(
    name: str, *named: str, masks: dict[str, np.ndarray] | None = None,
    change: Callable[[pydicom.Dataset], None] | None = None, label: int | str | None = None,
    kind: str = "BINARY",
) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        save_series(folder / "series", SLICES)
        segmentation(folder / "seg.dcm", masks or {"tumour": _expected()}, change, kind)
        at_the_door(folder, "series", "seg.dcm", label=label)

    return Fault(_SEG, name, run, (PATIENT, "seg.dcm", *named))


def _frame(k: int, z: float | None, x: float = 0.0) -> Callable[[pydicom.Dataset], None]:
    def change(dataset: pydicom.Dataset) -> None:
        frame = dataset.PerFrameFunctionalGroupsSequence[k]
        if z is None:
            del frame.PlanePositionSequence
        else:
            frame.PlanePositionSequence[0].ImagePositionPatient = [ORIGIN[0] + x, ORIGIN[1], z]

    return change


def _strip(sequence: str) -> Callable[[pydicom.Dataset], None]:
    def change(dataset: pydicom.Dataset) -> None:
        delattr(dataset.SharedFunctionalGroupsSequence[0], sequence)

    return change


def _fewer_pixels(dataset: pydicom.Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:-10]


def _partly(dataset: pydicom.Dataset) -> None:
    values = bytearray(dataset.PixelData)
    values[40] = 100
    dataset.PixelData = bytes(values)


def _read_segment(name: str, kind: str, label: int | str | None, more: bool) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        masks = {"tumour": _expected(), **({"node": _expected(hole=True)} if more else {})}
        path = segmentation(folder / "seg.dcm", masks, None, kind)
        hole = label in ("node", 2)
        np.testing.assert_array_equal(read_mask(path, _LIKE, label), _expected(hole))

    return Fault(_SEG, name, run)


def _random_segment(folder: Path, rng: np.random.Generator) -> None:
    path = segmentation(folder / "seg.dcm", {"tumour": _expected()})
    _damage(path, rng)
    assert read_mask(path, _LIKE).any()


_TWO = {"tumour": _expected(), "node": _expected(hole=True)}
_SEG_FAULTS = [
    _segment("two segments and no name asked for", "tumour", "node", masks=_TWO),
    _segment("a segment that is not there", "Liver", label="Liver", masks=_TWO),
    _segment("two segments of one name", "tumour", label="tumour", masks=_TWO,
             change=lambda d: setattr(d.SegmentSequence[1], "SegmentLabel", "tumour")),
    _segment("probabilities instead of a mask", "FRACTIONAL", kind="FRACTIONAL", change=_partly),
    _segment("no segments", "SegmentSequence", change=lambda d: delattr(d, "SegmentSequence")),
    _segment("a frame of a segment that is not listed", "lists the segments", "[7]", label="tumour",
             change=lambda d: setattr(
                 d.PerFrameFunctionalGroupsSequence[-1].SegmentIdentificationSequence[0],
                 "ReferencedSegmentNumber", 7)),
    _segment("a segment that is listed twice", "lists a segment twice", change=lambda d: setattr(
        d, "SegmentSequence", [*d.SegmentSequence, *d.SegmentSequence])),
    _segment("a frame without position", "position", change=_frame(1, None)),
    _segment("two frames at one position", "position", change=_frame(1, ORIGIN[2] + 2 * 3.0)),
    _segment("frames between the planes", "spaced", change=_frame(1, ORIGIN[2] + 2 * 3.0 + 1.1)),
    _segment("a frame shifted sideways", "sideways", change=_frame(1, ORIGIN[2] + 9.0, 4.0)),
    _segment("no pixel spacing", "PixelMeasuresSequence", change=_strip("PixelMeasuresSequence")),
    _segment("no orientation", "PlaneOrientationSequence",
             change=_strip("PlaneOrientationSequence")),
    _segment("fewer pixels than frames", change=_fewer_pixels),
    _segment("far more frames than pixels", change=_mark("NumberOfFrames", 100_000_000)),
    _segment("outside the image", "inside its image", change=lambda d: [
        _frame(k, 900.0 + 3.0 * k)(d) for k in range(3)] and None),
    Fault(_SEG, "random bytes", _random_segment, (), 100, either=True),
    _read_segment("empty frames left out", "BINARY", None, False),
    _read_segment("one of several segments, by name", "BINARY", "node", True),
    _read_segment("one of several segments, by number", "BINARY", 2, True),
    _read_segment("fractional, but 0 and 1 only", "FRACTIONAL", None, False),
]

FAULTS = [*_SERIES_FAULTS, *_SUV_FAULTS, *_RT_FAULTS, *_SEG_FAULTS]
