"""Standardised uptake value (body weight) of DICOM PET.

SUV = activity concentration (Bq/ml) x body weight (g) / injected activity (Bq), with the injected
activity decayed to the time to which the scanner decay-corrected the image. Which time that is
depends on vendor and export; the rules here follow the vendor-neutral recommendation of the QIBA
FDG-PET profile (DICOM PS3.3 C.8.9.1 for the attributes). A header that does not allow the
conversion is refused with the name of the attribute that is missing or does not fit; nothing is
guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from survimg.io.dicom.objects import damage_types

__all__ = ["pet_header", "suv_factor", "suv_factor_of_slices"]

_SAME_FOR_ALL = (
    "Units", "SUVType", "DecayCorrection", "CorrectedImage", "PatientWeight",
    "RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime", "PhilipsPETPrivateGroup", "SeriesDate", "SeriesTime",
    "TimezoneOffsetFromUTC", "RadionuclideCode",
)
#: Creators of the private elements that are used.
_PHILIPS, _GE = "Philips PET Private Group", "GEMS_PETD_01"
#: Largest difference between the slices' own scan starts (rounding of times in the header).
_START_TOLERANCE = timedelta(seconds=10)
#: Largest difference between two statements of the time of injection.
_CLOCK_TOLERANCE = timedelta(seconds=60)
_DATE_TIME = re.compile(r"(\d{14}|\d{12})(?:\.(\d{1,6}))?([+-]\d{4})?", re.ASCII)
_ZONE = re.compile(r"([+-])(0\d|1[0-4])([0-5]\d)", re.ASCII)
#: Radiopharmaceuticals are scanned within a few half-lives; more is a wrong date.
_MAX_HALF_LIVES = 10.0
#: s; of what is injected for PET, iodine-124 has the longest, 4.2 days. More is in milliseconds.
_LONGEST_HALF_LIFE = 1e6
#: Code of fluorine-18, which is what FDG has.
_FLUORINE, _FDG = "C-111A1", re.compile("fdg|fluorodeoxyglucose", re.IGNORECASE)
#: Half-lives in s of radionuclides by their codes (PS3.16 CID 4020), SRT and SNOMED CT.
_HALF_LIVES = {
    **dict.fromkeys((_FLUORINE, "77004003"), 6586.2),  # fluorine-18
    **dict.fromkeys(("C-105A1", "40565003"), 1223.4),  # carbon-11
    **dict.fromkeys(("C-107A1", "21576001"), 597.9),  # nitrogen-13
    **dict.fromkeys(("C-B1038", "129504001"), 122.2),  # oxygen-15
    **dict.fromkeys(("C-131A3", "35337001"), 4057.7),  # gallium-68
    **dict.fromkeys(("C-159A2", "79197006"), 75.5),  # rubidium-82
    **dict.fromkeys(("C-168A4", "63360001"), 282_276.0),  # zirconium-89
    **dict.fromkeys(("C-114A5", "40937006"), 360_806.0),  # iodine-124
    **dict.fromkeys(("C-127A2", "3932008"), 45_721.0),  # copper-64
    **dict.fromkeys(("C-128A2", "53315004"), 2.341e7),  # germanium-68, of phantoms
    **dict.fromkeys(("C-155A1", "71633006"), 8.21e7),  # sodium-22, of phantoms
}
#: Bq/kg; a dose in kBq lies below, one in mBq or of another patient above.
_LEAST_DOSE, _MOST_DOSE = 1e4, 1e9


def suv_factor(headers: Sequence[Mapping[str, Any]]) -> float:
    """Return the factor from stored (rescaled) PET values to SUV, body weight, in g/ml.

    Parameters
    ----------
    headers : sequence of mappings
        One per slice of the series, all of them: DICOM keyword to value, with the attributes of
        the RadiopharmaceuticalInformationSequence's item at the top level (and the code of its
        RadionuclideCodeSequence as ``RadionuclideCode``), and the vendors' private values as
        ``PhilipsPETPrivateGroup`` (a mapping with ``SUVScaleFactor`` and
        ``ActivityConcentrationScaleFactor``) and ``GEPrivatePostInjectionDateTime``. `pet_header`
        makes one from a pydicom dataset.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        An attribute is missing or implausible, or the slices contradict each other. The message
        names the attribute.

    Notes
    -----
    - ``Units`` GML: already SUV; 1, unless ``SUVType`` says that it is not by body weight.
    - ``Units`` CNTS (Philips): the private SUV factor, else the private activity factor times the
      factor for Bq/ml.
    - ``Units`` BQML: weight / decayed dose. ``DecayCorrection`` ADMIN needs no decay; START decays
      to the scan start: the series time if no slice was acquired before it; else GE's private scan
      time; else, per slice, acquisition time - frame reference time + the time within the frame at
      which the mean count rate occurs; else (no frame reference time) the earliest acquisition
      time, which is what START means by DICOM's definition.
    """
    if not headers:
        raise ValueError("SUV needs the header of at least one slice.")
    first = headers[0]
    for name in _SAME_FOR_ALL:
        values = {str(header.get(name)) for header in headers}
        if len(values) > 1:
            raise ValueError(
                f"The slices of the PET series differ in {name}: {sorted(values)[:3]}."
            )
    units = str(_need(first, "Units"))
    if units in ("GML", "CNTS") and first.get("CorrectedImage"):
        _check_corrections(first, ("ATTN",))
    if units == "GML":
        return _factor_of_suv(first)
    if units == "CNTS":
        private = first.get("PhilipsPETPrivateGroup") or {}
        direct = _positive_or_none(private.get("SUVScaleFactor"))
        if direct is not None:
            return direct
        activity = _positive_or_none(private.get("ActivityConcentrationScaleFactor"))
        if activity is None:
            raise ValueError(
                "Units is CNTS and Philips' private SUVScaleFactor (7053,1000) and "
                "ActivityConcentrationScaleFactor (7053,1009) are missing: counts cannot become "
                "SUV."
            )
        return activity * _factor_of_activity(headers)
    if units == "BQML":
        return _factor_of_activity(headers)
    raise ValueError(f"Units is {units!r}; SUV can be computed from BQML, CNTS (Philips) and GML.")


def pet_header(dataset: Any) -> dict[str, Any]:
    """Collect from a pydicom dataset what `suv_factor` needs.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Header of one PET slice.

    Returns
    -------
    dict
        No attribute that identifies the patient.

    Raises
    ------
    ValueError
        RadiopharmaceuticalInformationSequence missing or with several items, in a series that is
        not in SUV already.
    """
    names = (
        "Units", "SUVType", "DecayCorrection", "CorrectedImage", "PatientWeight", "SeriesDate",
        "SeriesTime", "AcquisitionDate", "AcquisitionTime", "FrameReferenceTime",
        "ActualFrameDuration", "TimezoneOffsetFromUTC",
    )
    header = {name: _attribute(dataset, name) for name in names if name in dataset}
    items = list(dataset.get("RadiopharmaceuticalInformationSequence") or [])
    if len(items) > 1:
        raise ValueError(
            f"RadiopharmaceuticalInformationSequence has {len(items)} items; which injection the "
            "image shows is not known."
        )
    if not items and header.get("Units") == "BQML":
        raise ValueError("RadiopharmaceuticalInformationSequence is missing.")
    for item in items:
        for name in (
            "RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime",
            "RadiopharmaceuticalStartDateTime",
        ):
            if name in item:
                header[name] = _attribute(item, name)
        if codes := list(item.get("RadionuclideCodeSequence") or []):
            header["RadionuclideCode"] = str(codes[0].get("CodeValue", "")).strip()
        elif _FDG.search(str(item.get("Radiopharmaceutical", ""))):
            header["RadionuclideCode"] = _FLUORINE
    header["PhilipsPETPrivateGroup"] = {
        "SUVScaleFactor": _private(dataset, 0x7053, _PHILIPS, 0x00),
        "ActivityConcentrationScaleFactor": _private(dataset, 0x7053, _PHILIPS, 0x09),
    }
    header["GEPrivatePostInjectionDateTime"] = _private(dataset, 0x0009, _GE, 0x0D)
    return header


def suv_factor_of_slices(folder: Path, slices: Sequence[tuple[str, Any]]) -> float:
    """Return `suv_factor` of the slices of a PET series.

    Parameters
    ----------
    folder : Path
        For messages.
    slices : sequence of (str, pydicom.Dataset)
        File name and header of each.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `suv_factor`; the message names the folder.
    """
    try:
        return suv_factor([_header_of_slice(name, dataset) for name, dataset in slices])
    except ValueError as error:
        raise ValueError(
            f"The PET series in {folder} cannot be converted to SUV: {error}"
        ) from None


def _header_of_slice(name: str, dataset: Any) -> dict[str, Any]:
    try:
        header = pet_header(dataset)
    except ValueError:
        raise
    except damage_types() as error:
        raise ValueError(f"{name} is damaged ({type(error).__name__}).") from None
    if dataset.get("RescaleSlope") is None:
        raise ValueError(f"RescaleSlope is missing in {name}: the stored numbers have no unit.")
    return header


def _factor_of_suv(header: Mapping[str, Any]) -> float:
    kind = str(header.get("SUVType") or "BW")  # DICOM: body weight where it is absent
    if kind != "BW":
        raise ValueError(f"SUVType is {kind!r}; only body weight (BW) is supported.")
    return 1.0


def _factor_of_activity(headers: Sequence[Mapping[str, Any]]) -> float:
    first = headers[0]
    _check_corrections(first, ("ATTN", "DECY"))
    weight = _number(first, "PatientWeight", low=0.2, high=700.0, unit="kg")
    # below 10 kBq nothing would be seen: a dose given in MBq against the standard
    dose = _number(first, "RadionuclideTotalDose", low=1e4, high=1e11, unit="Bq")
    if not _LEAST_DOSE <= dose / weight <= _MOST_DOSE:
        raise ValueError(
            f"RadionuclideTotalDose is {dose:g} Bq for {weight:g} kg; expected {_LEAST_DOSE:g} to "
            f"{_MOST_DOSE:g} Bq/kg. Is it in kBq, or the PatientWeight in another unit than kg?"
        )
    correction = str(_need(first, "DecayCorrection"))
    if correction == "ADMIN":
        return weight * 1000.0 / dose
    if correction != "START":
        raise ValueError(f"DecayCorrection is {correction!r}; START or ADMIN is needed.")
    known = _HALF_LIVES.get(str(first.get("RadionuclideCode")))
    longest = _LONGEST_HALF_LIFE if known is None else 1e9
    half_life = _number(first, "RadionuclideHalfLife", low=1.0, high=longest, unit="s")
    if known is not None and abs(half_life - known) > 0.05 * known:
        raise ValueError(
            f"RadionuclideHalfLife is {half_life:g} s, and {known:g} s is that of the "
            "RadionuclideCodeSequence (or of FDG, the Radiopharmaceutical); one of them is wrong."
        )
    start = _scan_start(headers, half_life)
    elapsed = (start - _injection(first, start)).total_seconds()
    if not 0 <= elapsed <= _MAX_HALF_LIVES * half_life:
        raise ValueError(
            f"RadiopharmaceuticalStartDateTime (or -Time) to scan: {elapsed / 60:.1f} minutes; "
            f"expected 0 to {_MAX_HALF_LIVES * half_life / 60:.0f}. One of the times is wrong (in "
            "de-identified data a date is often shifted without the other), or "
            "RadionuclideHalfLife is not in s."
        )
    return weight * 1000.0 / (dose * 2.0 ** (-elapsed / half_life))


def _check_corrections(header: Mapping[str, Any], names: Sequence[str]) -> None:
    corrections = _need(header, "CorrectedImage")
    applied = [corrections] if isinstance(corrections, str) else list(corrections)
    for name in names:
        if name not in applied:
            raise ValueError(f"CorrectedImage lacks {name}: the image is not quantitative.")


def _scan_start(headers: Sequence[Mapping[str, Any]], half_life: float) -> datetime:
    series = _date_time(headers[0], "SeriesDate", "SeriesTime")
    acquired = [_date_time(header, "AcquisitionDate", "AcquisitionTime") for header in headers]
    if series <= min(acquired):
        return series
    private = headers[0].get("GEPrivatePostInjectionDateTime")
    if private:
        return _parse_date_time(str(private), "GE's private scan time (0009,100D)", headers[0])
    frames = [
        (_positive_or_none(header.get("FrameReferenceTime")),
         _positive_or_none(header.get("ActualFrameDuration")))
        for header in headers
    ]
    starts = [
        moment - timedelta(milliseconds=reference) + _mean_count_time(duration / 1000, half_life)
        for moment, (reference, duration) in zip(acquired, frames, strict=True)
        if reference is not None and duration is not None
    ]
    if not starts:
        return min(acquired)
    if len(starts) < len(headers):
        raise ValueError("FrameReferenceTime or ActualFrameDuration is missing in some slices.")
    if max(starts) - min(starts) > _START_TOLERANCE:
        raise ValueError(
            "AcquisitionTime and FrameReferenceTime of the slices give scan starts from "
            f"{min(starts):%H:%M:%S} to {max(starts):%H:%M:%S}; they must agree."
        )
    return min(starts)


def _mean_count_time(duration: float, half_life: float) -> timedelta:
    # the moment within a frame at which the count rate equals the frame's mean count rate
    constant = math.log(2.0) / half_life
    decayed = constant * duration
    return timedelta(seconds=math.log(decayed / -math.expm1(-decayed)) / constant)


def _injection(header: Mapping[str, Any], start: datetime) -> datetime:
    stamp = str(header.get("RadiopharmaceuticalStartDateTime") or "").strip()
    time = str(header.get("RadiopharmaceuticalStartTime") or "").strip()
    if not stamp and not time:
        raise ValueError(
            "RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime are missing."
        )
    if not stamp:
        return _parse_date_time(f"{start:%Y%m%d}{time}", "RadiopharmaceuticalStartTime")
    if time and not header.get("TimezoneOffsetFromUTC"):
        stamp = re.sub(r"[+-]\d{4}$", "", stamp)  # if it is the scanner's zone, the clocks agree
    moment = _parse_date_time(stamp, "RadiopharmaceuticalStartDateTime", header)
    if time:
        clock = _parse_date_time(f"{moment:%Y%m%d}{time}", "RadiopharmaceuticalStartTime")
        apart = abs(moment - clock)
        if min(apart, timedelta(days=1) - apart) > _CLOCK_TOLERANCE:
            raise ValueError(
                f"RadiopharmaceuticalStartDateTime is {moment:%H:%M:%S} on the scanner's clock, "
                f"and RadiopharmaceuticalStartTime {clock:%H:%M:%S}; one of them is wrong."
            )
    return moment


def _date_time(header: Mapping[str, Any], date: str, time: str) -> datetime:
    return _parse_date_time(f"{_need(header, date)}{_need(header, time)}", f"{date}/{time}")


def _parse_date_time(
    text: str, name: str, header: Mapping[str, Any] | None = None
) -> datetime:
    """Return a moment on the scanner's own clock.

    With a `header`, the text may end in an offset from UTC, and is brought to that of the header's
    other times (TimezoneOffsetFromUTC).
    """
    parts = _DATE_TIME.fullmatch(text.strip())
    try:
        if parts is None:  # also a time without minutes, which would be a guess
            raise ValueError
        whole, fraction, zone = parts.groups()
        moment = datetime.strptime(whole, "%Y%m%d%H%M%S" if len(whole) == 14 else "%Y%m%d%H%M")
    except ValueError:
        raise ValueError(f"{name} is not a date and time: {text!r}.") from None
    moment += timedelta(seconds=float(f"0.{fraction or 0}"))
    if zone is None:
        return moment
    local = str((header or {}).get("TimezoneOffsetFromUTC") or "").strip()
    if not local:
        raise ValueError(
            f"{name} has the time zone {zone}, and TimezoneOffsetFromUTC is missing: the zone of "
            "the other times is not known."
        )
    return moment - _offset(zone, name) + _offset(local, "TimezoneOffsetFromUTC")


def _offset(text: str, name: str) -> timedelta:
    parts = _ZONE.fullmatch(text)
    if parts is None:
        raise ValueError(f"{name} has no time zone that exists: {text!r}.")
    sign, hours, minutes = parts.groups()
    return (-1 if sign == "-" else 1) * timedelta(hours=int(hours), minutes=int(minutes))


def _need(header: Mapping[str, Any], name: str) -> Any:
    value = header.get(name)
    if value is None or value == "" or (isinstance(value, (list, tuple)) and not value):
        raise ValueError(f"{name} is missing.")
    return value


def _number(header: Mapping[str, Any], name: str, *, low: float, high: float, unit: str) -> float:
    cell = _need(header, name)
    try:
        value = float(cell)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not a number.") from None
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g} {unit}; expected {low:g} to {high:g} {unit}.")
    return value


def _attribute(dataset: Any, name: str) -> Any:
    try:
        return dataset[name].value
    except damage_types():
        # pydicom converts numbers on access; its own words would quote the header
        raise ValueError(f"{name} is damaged.") from None


def _positive_or_none(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _private(dataset: Any, group: int, creator: str, offset: int) -> str | None:
    """Return a private element of one creator, wherever in its group the creator has its block."""
    try:
        block = dataset.private_block(group, creator)
    except KeyError:
        return None
    if offset not in block:
        return None
    value = block[offset].value
    text = value.decode("ascii", "ignore") if isinstance(value, bytes) else str(value)
    return text.strip("\x00 ") or None
