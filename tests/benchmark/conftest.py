"""A small cohort and its folds, made once."""

from __future__ import annotations

import pytest
from contestants import make_cohort

from survimg.model_selection import EventStratifiedKFold


@pytest.fixture(scope="session")
def patients():
    """Cohort, true log-hazard."""
    return make_cohort(n=36)


@pytest.fixture(scope="session")
def cohort(patients):
    return patients[0]


@pytest.fixture(scope="session")
def splits(cohort):
    folds = EventStratifiedKFold(3, shuffle=True, random_state=0)
    return list(folds.split(cohort, cohort.outcome))


@pytest.fixture
def fit_log(tmp_path, monkeypatch):
    """Lines written by `Segmenter.fit`: one per fit that really happened."""
    path = tmp_path / "fits.log"
    monkeypatch.setenv("SURVIMG_TEST_FIT_LOG", str(path))

    def count():
        return len(path.read_text().splitlines()) if path.exists() else 0

    return count
