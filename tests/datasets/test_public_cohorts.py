"""Public cohorts from small folders in the layouts of their archives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pydicom")
from dicom_files import ORIGIN, SPACING, rtstruct, save_series

from survimg.datasets import (
    PUBLIC_COHORTS,
    from_head_neck_pet_ct,
    from_hecktor,
    from_nsclc_radiomics,
    from_sts,
)
from survimg.io import Image, write_image

SHAPE = (5, 8, 9)


def write_nifti(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, array, like=Image(array, (3.0, 2.0, 2.0)))


def hecktor(root, *, year=2022, patients=("CHUM-001", "CHUM-002", "MDA-003", "USZ-004")):
    """Every patient has a primary tumour, every second one a node (label 2) too."""
    for i, name in enumerate(patients):
        mask = np.zeros(SHAPE, np.uint8)
        mask[2, 3:5, 3:6] = 1
        mask[4, 1, 1] = 2 * (i % 2)
        images, masks = root / "imagesTr", root / "labelsTr"
        if year != 2022:
            images = masks = root / "Task 2" / name
        rng = np.random.default_rng(i)
        write_nifti(images / f"{name}__CT.nii.gz", rng.integers(-90, 90, SHAPE).astype(np.int16))
        write_nifti(images / f"{name}__PT.nii.gz", rng.random(SHAPE).astype(np.float32))
        write_nifti(masks / f"{name}.nii.gz", mask)
    clinical = pd.DataFrame(
        {
            "PatientID": patients, "CenterID": [1, 1, 2, 3], "Gender": ["M", "F", "M", "M"],
            "Age": [50, 61, 72, 49], "HPV status (0=-, 1=+)": ["1", "", "0", "1"],
            "Chemotherapy": [1, 1, 0, 1],
        }
    )  # fmt: skip
    outcome = pd.DataFrame(
        {"PatientID": patients, "Relapse": [1, 0, 0, 1], "RFS": [300, 900, 1200, 150]}
    )
    if year == 2022:
        clinical.to_csv(root / "hecktor2022_clinical_info_training.csv", index=False)
        outcome.to_csv(root / "hecktor2022_endpoint_training.csv", index=False)
    else:
        renamed = {"HPV status (0=-, 1=+)": "HPV Status"}
        both = clinical.rename(columns=renamed).merge(outcome, on="PatientID")
        both.to_csv(root / "HECKTOR_2025_Training_Task_2.csv", index=False)
    return root


@pytest.mark.parametrize("year", [2022, 2025])
def test_hecktor(tmp_path, year):
    X = from_hecktor(hecktor(tmp_path, year=year))
    assert X.ids.tolist() == ["CHUM-001", "CHUM-002", "MDA-003", "USZ-004"]
    assert X.channel_names == ("PET", "CT")
    assert X.time_unit == "days"
    assert X.outcome["event"].tolist() == [True, False, False, True]
    assert X.outcome["time"].tolist() == [300, 900, 1200, 150]
    assert [str(group) for group in X.groups] == ["1", "1", "2", "3"]
    assert X.clinical["age"].tolist() == [50, 61, 72, 49]
    assert X.clinical["hpv"].tolist()[0] == "1"
    assert pd.isna(X.clinical["hpv"].tolist()[1])
    assert not {"Chemotherapy", "weight"} & set(X.clinical)
    assert [int(X.mask(i).sum()) for i in range(4)] == [6, 7, 6, 7]
    assert X.volume(0)[1].min() < -50
    assert [int(from_hecktor(tmp_path, label=1).mask(i).sum()) for i in range(4)] == [6] * 4


def test_hecktor_names_who_is_left_out_and_why(tmp_path):
    hecktor(tmp_path, year=2025)
    (tmp_path / "Task 2" / "MDA-003" / "MDA-003__PT.nii.gz").unlink()
    pd.DataFrame({"PatientID": ["USZ-004"], "bqml_to_suvbw_factor": [2e-4]}).to_csv(
        tmp_path / "suv_conversion_tags.csv", index=False
    )
    table = tmp_path / "HECKTOR_2025_Training_Task_2.csv"
    cells = pd.read_csv(table, dtype=str)
    cells.loc[cells["PatientID"] == "CHUM-002", "RFS"] = ""
    cells.to_csv(table, index=False)
    with (
        pytest.warns(UserWarning, match="3 patients are left out") as caught,
        pytest.raises(ValueError, match="single patient"),  # of four, one is complete
    ):
        from_hecktor(tmp_path)
    text = str(caught[0].message)
    assert "no time: 'CHUM-002' (1)" in text
    assert "no PET: 'MDA-003' (1)" in text
    assert "PET in Bq/ml (suv_conversion_tags.csv): 'USZ-004' (1)" in text


def test_what_is_no_table_of_hecktor_is_refused(tmp_path):
    hecktor(tmp_path)
    (tmp_path / "hecktor2022_endpoint_training.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"'Relapse' and 'RFS'.*clinical_info_training.csv"):
        from_hecktor(tmp_path)


def square(z, size=3.0, at=(4, 4)):
    """A square contour in plane z of a series, in world coordinates."""
    x, y = ORIGIN[0] + at[1] * SPACING[2], ORIGIN[1] + at[0] * SPACING[1]
    half = size / 2 + 0.1
    corners = [(-half, -half), (half, -half), (half, half), (-half, half)]
    return [(x + dx, y + dy, ORIGIN[2] + z * SPACING[0]) for dx, dy in corners]


ON_PET, ON_CT = "RTstruct_CTsim->PET(PET-CT)", "RTstruct_CTsim->CT(PET-CT)"


def patient(folder, i, regions, *, modalities=("PT", "CT"), structs=(ON_PET,)):
    """A patient as the download tool of TCIA leaves it: study, series, numbered files."""

    def placed(description):
        def change(slices):
            for dataset in slices:
                dataset.StudyInstanceUID = f"1.2.3.{i}"
                dataset.SeriesDescription = description
                dataset.PatientID = folder.name

        return change

    study = folder / "08-27-1885-PANC. avec C.A. SPHRE ORL   tte et cou  -TP-74220"
    rng = np.random.default_rng(i)
    for modality in modalities:
        volume = rng.integers(1, 90, SHAPE).astype(float)
        save_series(study / f"3.000000-{modality}-1", volume, placed(modality), modality)
    for k, description in enumerate(structs):
        path = study / f"1.000000-{k}"
        path.mkdir()
        rtstruct(
            path / "1-1.dcm",
            {name: [square(z, at=(4, 4)) for z in (1, 2, 3)] for name in regions},
            lambda dataset: placed(description)([dataset]),  # noqa: B023
        )


HN = ("HN-CHUM-001", "HN-CHUM-002", "HN-HGJ-003")


@pytest.fixture
def head_neck(tmp_path):
    root = tmp_path / "manifest-17" / "Head-Neck-PET-CT"
    both = (ON_PET, ON_CT)
    patient(root / HN[0], 0, ["GTV", "Cord"], structs=both)
    patient(root / HN[1], 1, ["GTV primaire", "ggl"], structs=both)
    patient(root / HN[2], 2, ["Cord"], structs=both)
    columns = {
        "Sex": "M", "Age": 60, "Primary Site": "Oropharynx", "T-stage": "T2", "Therapy": "chemo",
    }  # fmt: skip
    for centre, names in (("CHUM", HN[:2]), ("HGJ", HN[2:])):
        n = len(names)
        pd.DataFrame(
            {
                "Patient #": names, **columns, "Death": [1, 0][:n], "Distant": [0] * n,
                "Locoregional": [1, 0][:n],
                "Time \N{EN DASH} diagnosis to Death (days)": [500, ""][:n],
                "Time \N{EN DASH} diagnosis to LR (days)": [200, ""][:n],
                "Time \N{EN DASH} diagnosis to last follow-up (days)": [500, 900][:n],
            }
        ).to_csv(tmp_path / f"INFOclinical_HN_{centre}.csv", index=False)  # fmt: skip
        pd.DataFrame(
            {
                "Patient": names, "Name GTV Primary": ["GTV", "gtv  Primaire"][:n],
                "Name GTV Lymph Nodes": ["", "ggl"][:n],
            }
        ).to_csv(tmp_path / f"INFO_GTVcontours_HN_{centre}.csv", index=False)  # fmt: skip
    return tmp_path


def test_head_neck_pet_ct(head_neck):
    with pytest.warns(UserWarning, match="left out. no region GTV in the mask: 'HN-HGJ-003'"):
        X = from_head_neck_pet_ct(head_neck)
    assert X.ids.tolist() == list(HN[:2])
    assert X.outcome["event"].tolist() == [True, False]
    assert X.outcome["time"].tolist() == [500, 900]
    assert [str(group) for group in X.groups] == ["CHUM", "CHUM"]
    assert X.clinical["site"].tolist() == ["Oropharynx"] * 2
    assert "hpv" not in X.clinical
    assert X.volume(0).shape == (2, *SHAPE)
    # each patient's own name of the region
    assert all(X.mask(i).sum() > 0 for i in range(2))
    with pytest.warns(UserWarning, match="left out"):
        other = from_head_neck_pet_ct(
            head_neck, endpoint="locoregional", region="primary and nodes"
        )
    assert other.outcome["time"].tolist() == [200, 900]
    assert other[1:].mask(0).sum() > 0  # slices keep the labels of their patients


def test_unknown_endpoints_are_refused(tmp_path):
    with pytest.raises(ValueError, match="endpoint must be one of"):
        from_head_neck_pet_ct(tmp_path, endpoint="pfs")
    with pytest.raises(ValueError, match="region must be one of"):
        from_head_neck_pet_ct(tmp_path, region="nodes")
    with pytest.raises(ValueError, match="endpoint must be one of"):
        from_sts(tmp_path, endpoint="pfs")


@pytest.fixture
def lung1(tmp_path):
    root = tmp_path / "NSCLC-Radiomics"
    for i, region in enumerate(["GTV-1", "gtv-pre-op", "GTV-1"]):
        patient(
            root / f"LUNG1-00{i + 1}", i, [region, "Lung-Left"], modalities=("CT",), structs=("",)
        )
    pd.DataFrame(
        {
            "PatientID": ["LUNG1-001", "LUNG1-002", "LUNG1-003"], "age": [78.75, "NA", 68.18],
            "clinical.T.Stage": [2, 2, 3], "Overall.Stage": ["IIIb", "I", "IIIb"],
            "gender": ["male"] * 3, "Survival.time": [2165, 155, 256],
            "deadstatus.event": [1, 1, 0],
        }
    ).to_csv(
        tmp_path / "NSCLC-Radiomics-Lung1.clinical-version3-Oct-2019.csv", index=False
    )  # fmt: skip
    return tmp_path


def test_nsclc_radiomics(lung1):
    X = from_nsclc_radiomics(lung1)
    assert X.ids.tolist() == ["LUNG1-001", "LUNG1-002", "LUNG1-003"]
    assert X.channel_names == ("CT",)
    assert X.outcome["event"].tolist() == [True, True, False]
    assert X.outcome["time"].tolist() == [2165, 155, 256]
    assert np.isnan(X.clinical["age"].iloc[1])
    assert X.clinical["t_stage"].tolist() == ["2", "2", "3"]
    assert len({int(X.mask(i).sum()) for i in range(3)}) == 1


def test_a_missing_row_and_a_word_for_an_event_are_named(lung1):
    (table,) = lung1.glob("*.csv")
    cells = pd.read_csv(table, dtype=str, keep_default_na=False)
    cells.iloc[:2].to_csv(table, index=False)
    with pytest.warns(UserWarning, match=r"no time, no event: 'LUNG1-003' \(1\)"):
        from_nsclc_radiomics(lung1)
    cells["deadstatus.event"] = ["1", "dead", "0"]
    cells.to_csv(table, index=False)
    with pytest.raises(ValueError, match="'LUNG1-002': 'dead' does not say"):
        from_nsclc_radiomics(lung1)


@pytest.fixture
def sts(tmp_path):
    root = tmp_path / "Soft-tissue-Sarcoma"
    for i in range(3):
        patient(root / f"STS_00{i + 1}", i, ["GTV_Mass", "GTV_Edema"])
    pd.DataFrame(
        {
            "Patient ID": ["STS_001 ", "STS_002", " STS_003"], "Sex": ["Male", "Female", "Male"],
            "Age": [59, 61, 17], "Grade": ["High", "High", "Low"], "Treatment": ["Surgery"] * 3,
            "Outcome": ["Mets \N{EN DASH} arms", "--", "Mets \N{EN DASH} lungs"],
            "Time \N{EN DASH} diagnosis to outcome (days)": [266, "--", 400],
            "Status (NED, AWD, D)": ["D", "NED", "AWD"],
            "Time \N{EN DASH} diagnosis to last follow-up (days)": [845, 501, 900],
        }
    ).to_csv(tmp_path / "INFOclinical_STS.csv", index=False)  # fmt: skip
    return tmp_path


@pytest.mark.parametrize(
    ("endpoint", "event", "time"),
    [
        ("dfs", [True, False, True], [266, 501, 400]),
        ("os", [True, False, False], [845, 501, 900]),
        ("lung_metastasis", [False, False, True], [266, 501, 400]),
    ],
)
def test_sts(sts, endpoint, event, time):
    X = from_sts(sts, endpoint=endpoint)
    assert X.ids.tolist() == ["STS_001", "STS_002", "STS_003"]
    assert X.outcome["event"].tolist() == event
    assert X.outcome["time"].tolist() == time
    assert set(X.clinical.columns) == {"age", "sex", "grade"}


def test_workbooks(sts):
    pytest.importorskip("openpyxl")
    (table,) = sts.glob("*.csv")
    pd.read_csv(table, dtype=str, keep_default_na=False).to_excel(
        sts / "INFOclinical_STS.xlsx", index=False
    )
    table.unlink()
    assert from_sts(sts).outcome["time"].tolist() == [266, 501, 400]


def test_a_folder_without_patients_is_refused(sts):
    with pytest.raises(FileNotFoundError, match="no table of NSCLC-Radiomics"):
        from_nsclc_radiomics(sts)
    for i in range(1, 4):
        folder = sts / "Soft-tissue-Sarcoma" / f"STS_00{i}"
        folder.rename(folder.with_name(f"P{i}"))
    with pytest.raises(FileNotFoundError, match="holds 0 folders with patients"):
        from_sts(sts)


@pytest.mark.parametrize("name", PUBLIC_COHORTS)
def test_licence_citation_and_address_are_told(name):
    cohort = PUBLIC_COHORTS[name]
    assert cohort.licence
    assert cohort.citation.endswith(".")
    assert cohort.url.startswith("https://")
