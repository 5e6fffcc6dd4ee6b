"""What notebooks show of a cohort and of estimators."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import sklearn
from matplotlib.image import imread
from packaging.version import Version
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr

from survimg import Cohort
from survimg.estimators import CNNSurvival, DeepMTS, FoldEnsemble, LassoCox
from survimg.features import SpearmanFilter
from survimg.io import Image, write_image
from survimg.radiomics import RadiomicsFeatures
from survimg.target import make_outcome

SHAPE = (6, 20, 24)


def make(n: int = 5, **changes: object) -> Cohort:
    rng = np.random.default_rng(0)
    masks = np.zeros((n, *SHAPE), np.uint8)
    masks[:, 3:5, 5:12, 8:16] = 1
    given: dict = {
        "volumes": rng.normal(size=(n, 2, *SHAPE)).astype(np.float32),
        "masks": masks,
        "outcome": make_outcome([1, 0, 1, 0, 1][:n], np.arange(2.0, n + 2)),
        "spacing": (4.0, 2.0, 2.0),
        "channel_names": ("PET", "CT"),
        "time_unit": "months",
    }
    return Cohort(**{**given, **changes})


class Page(HTMLParser):
    """Texts, tags and pictures; refuses tags that are left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.pictures: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        else:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def facts(self) -> dict[str, str]:
        cells = self.texts[1:]
        return dict(zip(cells[::2], cells[1::2], strict=False))


def picture(page: Page) -> np.ndarray:
    source = page.pictures[-1]  # after the curve of the outcome
    kind, _, encoded = source.partition(",")
    assert kind == "data:image/png;base64"
    return imread(io.BytesIO(base64.b64decode(encoded)))


def test_the_facts_are_those_of_the_cohort():
    facts = Page(make(clinical=pd.DataFrame({"age": range(5), "sex": list("mfmfm")}))._repr_html_())
    assert facts.facts["Patients"] == "5"
    assert facts.facts["Events"] == "3 (60%)"
    assert facts.facts["Follow-up"] == "2 to 6, median of the censored 4 months"
    assert facts.facts["Channels"] == "PET, CT"
    assert facts.facts["Size (z, y, x)"] == "6 x 20 x 24 voxels"
    assert facts.facts["Spacing (z, y, x)"] == "4 x 2 x 2 mm"
    assert facts.facts["Tumour masks"] == "5 of 5"
    assert facts.facts["Clinical columns"] == "age, sex"


def test_a_slice_shows_its_own_patients():
    cohort = make(groups=list("aabbb"), present=[[1, 1], [0, 1], [1, 1], [1, 1], [1, 1]])
    facts = Page(cohort[[1, 0]]._repr_html_()).facts
    assert facts["Patients"] == "2"
    assert facts["Events"] == "1 (50%)"
    assert facts["Channels"] == "PET (absent in 1), CT"
    assert facts["Groups"] == "1"


def test_the_thumbnail_is_the_middle_slice_of_the_tumour_with_its_contour():
    volumes = np.zeros((1, 1, *SHAPE), np.float32)
    volumes[0, 0] = np.arange(24) * (np.arange(6) + 1)[:, None, None]  # brighter to the right
    masks = np.zeros((1, *SHAPE), np.uint8)
    masks[0, 3:6, 5:12, 8:16] = 1
    page = Page(Cohort(volumes, masks=masks, ids=["p7"], channel_names=["PET"])._repr_html_())
    shown = picture(page)
    height, width = shown.shape[:2]
    assert abs(width / height - 24 / 20) < 0.02
    assert "p7, PET, z = 4" in page.texts
    grey = shown[5, :, :3]
    assert np.ptp(grey, axis=1).max() < 0.02
    assert grey[-1, 0] > 0.9 > 0.1 > grey[0, 0]
    coloured = np.argwhere(np.ptp(shown[..., :3], axis=2) > 0.3) / [height / 20, width / 24]
    np.testing.assert_allclose(coloured.min(axis=0), [5, 8], atol=0.7)
    np.testing.assert_allclose(coloured.max(axis=0), [12, 16], atol=0.7)


def test_text_of_users_is_escaped():
    evil = "<script>alert('x')</script>"
    cohort = make(
        2, ids=[f"{evil}\"'", "b"], channel_names=(f"{evil}1", "<b>CT"), time_unit="<i>months",
        clinical=pd.DataFrame({f"{evil}age": [1.0, 2.0]}), groups=[evil, evil],
    )  # fmt: skip
    html = cohort._repr_html_()
    page = Page(html)
    assert "<script" not in html
    assert set(page.tags) <= {
        "div", "table", "caption", "b", "tbody", "tr", "th", "td", "figure", "img", "figcaption",
        "meter",
    }  # fmt: skip
    assert len(page.pictures) == 2  # quotes in the id do not end the attribute
    assert page.facts["Clinical columns"] == f"{evil}age"


def test_cohorts_with_little_in_them():
    bare = Page(Cohort(np.zeros((2, 1, 4, 1, 4), np.float32))._repr_html_())
    assert bare.facts["Outcome"] == "none"
    assert bare.facts["Tumour masks"] == "0 of 2"
    assert bare.facts["Spacing (z, y, x)"] == "unknown"
    assert "Clinical columns" not in bare.facts
    assert picture(bare).size
    assert Page(make()[[]]._repr_html_()).facts["Patients"] == "0"
    full = make(masks=np.ones((5, *SHAPE), np.uint8))  # no contour to draw
    assert picture(Page(full._repr_html_())).size
    all_failed = make(2, outcome=make_outcome([1, 1], [1, 2]), spacing=[(1, 1, 1), (2, 1, 1)])
    assert Page(all_failed._repr_html_()).facts["Follow-up"] == "1 to 2 months"
    assert Page(all_failed._repr_html_()).facts["Spacing (z, y, x)"] == "1 to 2 x 1 x 1 mm"


def test_raw_cohorts_vary_in_size_and_use_the_first_patient_with_a_mask():
    volumes = [np.zeros((1, z, 4, 5), np.float32) for z in (3, 6)]
    mask = np.zeros((6, 4, 5), np.uint8)
    mask[2, 1:3, 1:3] = 1
    page = Page(Cohort(volumes, masks=[None, mask])._repr_html_())
    assert page.facts["Size (z, y, x)"] == "varies x 4 x 5 voxels"
    assert "case-0001, channel0, z = 2" in page.texts


def test_the_curve_is_drawn_on_the_background_of_the_notebook():
    source = Page(make()._repr_html_()).pictures[0]
    picture = imread(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    assert picture[0, 0, 3] == 0  # transparent
    assert picture[..., 3].max() == 1


def test_the_curve_is_that_of_the_outcome():
    page = Page(make()._repr_html_())
    assert len(page.pictures) == 2
    # events at 2, 4 and 6 of 5, 3 and 1 patients at risk
    assert "Kaplan-Meier curve: 0% event-free at 6 months" in page.texts
    two = Page(make(3)._repr_html_())  # events at 2 and 4, censored at 3: 2/3 * 0
    assert "Kaplan-Meier curve: 0% event-free at 4 months" in two.texts
    end = Page(make(outcome=make_outcome([1, 0, 1, 0, 0], [2, 3, 4, 5, 6]))._repr_html_())
    assert "Kaplan-Meier curve: 53% event-free at 6 months" in end.texts  # 4/5 * 2/3
    none = Page(make(outcome=make_outcome([0] * 5, [2, 3, 4, 5, 6]))._repr_html_())
    assert len(none.pictures) == 1  # nothing to draw


def test_missing_values_are_listed_the_emptiest_column_first():
    clinical = pd.DataFrame(
        {"age": [1.0, None, 3, 4, 5], "sex": list("mfmfm"), "hpv": ["+", None, None, "-", "+"]}
    )
    page = Page(make(clinical=clinical)._repr_html_())
    place = page.texts.index("Missing")
    assert page.texts[place + 1 : place + 5] == ["hpv", "40% ", "age", "20% "]
    assert page.tags.count("meter") == 2
    assert "Missing" not in Page(make(clinical=clinical[["sex"]])._repr_html_()).texts


def test_only_one_patient_is_read():
    class Counting:
        case_shape = (1, *SHAPE)
        nbytes_in_memory = 0
        read_cases: list[int] = []  # noqa: RUF012

        def __len__(self) -> int:
            return 4

        def read(self, position: int) -> np.ndarray:
            self.read_cases.append(position)
            return np.zeros(self.case_shape, np.float32)

        def case_key(self, position: int) -> str:
            return str(position)

    Cohort(Counting())[2:]._repr_html_()
    assert Counting.read_cases == [2]


def test_image_files_are_read_once_and_their_loss_is_told(tmp_path):
    image = Image(np.zeros((4, 5, 6), np.float32), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.nii.gz", image.array, image)
    (tmp_path / "manifest.csv").write_text("patient_id,PET\na,a.nii.gz\nb,b.nii.gz\n")
    cohort = Cohort.from_manifest(tmp_path / "manifest.csv")
    page = Page(cohort._repr_html_())
    assert page.facts["Spacing (z, y, x)"] == "in the image files"
    assert page.facts["Size (z, y, x)"] == "varies x varies x varies voxels"
    assert len(page.pictures) == 1
    (tmp_path / "a.nii.gz").unlink()
    lost = Page(cohort._repr_html_())
    assert not lost.pictures
    assert any(text.startswith("No picture of a: ") for text in lost.texts)


#: Before 1.7 scikit-learn's picture shows only parameters that differ from their defaults.
_IN_PICTURE = ["segmentation_weight"] if Version(sklearn.__version__) >= Version("1.7") else []


@pytest.mark.parametrize(
    ("estimator", "shown"),
    [
        (DeepMTS(n_iterations=7), ["DeepMTS", "n_iterations", "7", *_IN_PICTURE]),
        (make_pipeline(CNNSurvival(width=9), SpearmanFilter(), LassoCox()),
         ["Pipeline", "CNNSurvival", "SpearmanFilter", "LassoCox"]),
        (GridSearchCV(DeepMTS(), {"learning_rate": [1e-4]}), ["GridSearchCV", "DeepMTS"]),
        (FoldEnsemble(DeepMTS()), ["FoldEnsemble", "DeepMTS"]),
        (make_pipeline(RadiomicsFeatures(), LassoCox()), ["RadiomicsFeatures", "LassoCox"]),
    ],
    ids=["network", "pipeline", "search", "ensemble", "radiomics"],
)  # fmt: skip
def test_estimators_have_scikit_learns_picture(estimator, shown):
    html = estimator._repr_html_()
    body = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", html, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", " ", body)
    for part in shown:
        assert part in text
    assert estimator_html_repr(estimator).count("sk-top-container") >= 1
