"""Nothing that names a person in a DICOM header reaches a file or a message of survimg."""

from __future__ import annotations

import csv
import zipfile

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("nibabel")

from dicom_faults import FAULTS as DICOM
from dicom_files import PERSON, rtstruct, save_series, segmentation
from fault import attempt

from survimg import Cohort
from survimg.benchmark import run_benchmark, write_tables
from survimg.cli import main
from survimg.model_selection import EventStratifiedKFold
from survimg.report import render

N = 8
#: pydicom writes names and dates in their own way, but these parts of them in any.
TRACES = [b"sentinel", b"SENTINEL", b"Sentinel", PERSON["PatientBirthDate"].encode()]


class Brightest:
    """The highest voxel."""

    def get_params(self, deep=True):
        return {}

    def set_params(self):
        return self

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.array([volume.max() for volume in X], dtype=float)


def _dicom_cohort(folder):
    rows = [["patient_id", "PT", "mask", "time", "event"]]
    for i in range(N):
        volume = np.random.default_rng(i).uniform(1, 100, size=(6, 10, 12)).astype(np.float32)
        save_series(folder / f"pet{i}", volume, modality="PT")
        mask = np.zeros(volume.shape, np.uint8)
        mask[2:5, 2:7, 3:9] = 1
        if i % 2:
            segmentation(folder / f"mask{i}.dcm", {"tumour": mask})
        else:
            x, y = (-10 + 1.5 * np.array([2.5, 8.5]), -20 + 2.0 * np.array([1.5, 6.5]))
            box = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
            planes = [[(*corner, 50 + 3.0 * z) for corner in box] for z in (2, 3, 4)]
            rtstruct(folder / f"mask{i}.dcm", {"tumour": planes})
        rows.append([f"case {i}", f"pet{i}", f"mask{i}.dcm", str(i + 1), str(i % 3 > 0)])
    for row in rows[1:]:
        row[4] = {"True": "1", "False": "0"}[row[4]]
    with open(folder / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "manifest.csv"


def _contents(folder):
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.name.encode() + path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        yield path, archive.read(name)


def test_files_of_a_whole_run_hold_no_tag_of_a_person(tmp_path, capfd):
    source = tmp_path / "in"
    source.mkdir()
    manifest = _dicom_cohort(source)
    given = b"".join(content for _, content in _contents(source))
    assert all(trace in given for trace in (b"Sentinel^Jane", b"SENTINEL-4711"))
    out = tmp_path / "out"
    out.mkdir()
    shape = ["--shape", "6", "10", "12", "--normalise", "none"]
    assert main(["prepare", str(manifest), "--out", str(out / "store"), *shape]) == 0
    table = str(out / "features.csv")
    assert main(["radiomics", str(out / "store"), "--out", table, "--images", "original"]) == 0
    assert main(["info", str(out / "store")]) == 0
    X = Cohort.load(out / "store")
    splits = list(EventStratifiedKFold(2).split(X, X.outcome))
    run = run_benchmark({"brightest": Brightest()}, X, X.outcome, splits=splits, out=out / "run")
    assert not run.failures
    write_tables(run)
    render(out / "run")
    written = list(_contents(out))
    assert len(written) > 10
    for path, content in written:
        assert not [trace for trace in TRACES if trace in content], path
    printed = "".join(capfd.readouterr())
    assert not [trace for trace in TRACES if trace.decode() in printed]


def test_messages_about_damaged_headers_quote_no_tag_of_a_person(tmp_path, capfd):
    random = [fault for fault in DICOM if fault.either]
    assert len(random) == 3
    messages = []
    for fault in random:
        for seed in range(25):
            folder = tmp_path / f"{fault.group} {seed}"
            folder.mkdir()
            messages.append(attempt(fault, folder, seed).message)
    printed = "".join(capfd.readouterr())
    assert sum(bool(message) for message in messages) > 5
    for text in (*messages, printed):
        assert not [trace for trace in TRACES if trace.decode() in text], text
