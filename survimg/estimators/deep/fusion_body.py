"""The part that the two fusion estimators share: branches, encoding, network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.utils._param_validation import HasMethods, Interval

from survimg.cohort import Cohort, as_cohort
from survimg.estimators.deep.fusion_inputs import (
    ClinicalEncoding,
    RegionView,
    Standardised,
    radiomics_pipeline,
    warn_of_missing_regions,
)
from survimg.estimators.deep.volume_estimator import VolumeEstimator
from survimg.nets.swin_fusion import SwinFusionNet
from survimg.radiomics import RadiomicsFeatures
from survimg.target import make_outcome
from survimg.training.batches import Patients
from survimg.training.parameters import TrainingParameters
from survimg.training.views import View

__all__ = ["FusionBody"]


@dataclass(kw_only=True, eq=False, repr=False)
class FusionBody(VolumeEstimator):
    """Branches of the fusion network, and what the fold teaches them.

    Parameters
    ----------
    tumour, peritumoral, radiomics, clinical : bool, default=True
        Branches: a 3D Swin Transformer on the image inside the tumour mask; another on the shell
        around it, tumour excluded; selected radiomic features of the tumour; clinical columns.
    shell_width : float, default=10
        Thickness of the shell in mm, measured with each patient's spacing.
    extractor : transformer, optional
        Cohort to DataFrame of radiomic features; by default
        ``RadiomicsFeatures(on_empty_mask="nan")``. Give it ``memory=`` so that folds share it.
    correlation_threshold : float, default=0.9
        Absolute Spearman correlation above which one of two features is dropped.
    n_selected : int, default=36
        Features that the random forest keeps.
    n_trees : int, default=500
        Its trees.
    clinical_columns : sequence of str, optional
        Columns that enter; None takes all of the cohort, an empty list none.
    image_features, hidden, dropout
        Features of each region, units of the fusing layer, and dropout on the inputs of both
        fully connected layers: see `survimg.nets.swin_fusion.SwinFusionNet`.
    patch_size, window_size, embed_dim, depths, heads, mlp_ratio, drop_path
        See `survimg.nets.swin_transformer.SwinTransformer3D`.
    """

    tumour: bool = True
    peritumoral: bool = True
    radiomics: bool = True
    clinical: bool = True
    shell_width: float = 10.0
    extractor: Any = None
    correlation_threshold: float = 0.9
    n_selected: int = 36
    n_trees: int = 500
    clinical_columns: Any = None
    image_features: int = 128
    hidden: int = 128
    dropout: float = 0.5
    patch_size: int = 4
    window_size: int = 4
    embed_dim: int = 48
    depths: Sequence[int] = (2, 2, 6, 2)
    heads: Sequence[int] = (3, 6, 12, 24)
    mlp_ratio: float = 4.0
    drop_path: float = 0.1

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TrainingParameters._parameter_constraints,
        "tumour": ["boolean"],
        "peritumoral": ["boolean"],
        "radiomics": ["boolean"],
        "clinical": ["boolean"],
        "shell_width": [Interval(Real, 0, None, closed="neither")],
        "extractor": [HasMethods(["fit", "transform"]), None],
        "correlation_threshold": [Interval(Real, 0, 1, closed="right")],
        "n_selected": [Interval(Integral, 1, None, closed="left")],
        "n_trees": [Interval(Integral, 1, None, closed="left")],
        "clinical_columns": ["array-like", None],
        "image_features": [Interval(Integral, 1, None, closed="left")],
        "hidden": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "patch_size": [Interval(Integral, 1, None, closed="left")],
        "window_size": [Interval(Integral, 1, None, closed="left")],
        "embed_dim": [Interval(Integral, 1, None, closed="left")],
        "depths": ["array-like"],
        "heads": ["array-like"],
        "mlp_ratio": [Interval(Real, 0, None, closed="neither")],
        "drop_path": [Interval(Real, 0, 1, closed="left")],
    }

    @property
    def _regions(self) -> list[str]:
        chosen = {"tumour": self.tumour, "peritumoral": self.peritumoral}
        return [name for name, is_on in chosen.items() if is_on]

    @property
    def _needs_masks(self) -> bool:
        return bool(self.tumour or self.peritumoral or self.radiomics)

    @property
    def _takes_clinical(self) -> bool:
        columns = self.clinical_columns
        return bool(self.clinical) and (columns is None or len(columns) > 0)

    def _view(self) -> View:
        return RegionView(bool(self.tumour), self.shell_width if self.peritumoral else None)

    def _encode_training(
        self, cohort: Cohort, event: np.ndarray, time: np.ndarray, train: np.ndarray, seed: int
    ) -> np.ndarray:
        if not (self._needs_masks or self._takes_clinical):
            raise ValueError(
                "Every branch is switched off; switch on tumour, peritumoral, radiomics or "
                "clinical (with clinical columns)."
            )
        if self._needs_masks:
            warn_of_missing_regions(cohort)
        parts = []
        if self.radiomics:
            extractor = self.extractor
            if extractor is None:
                extractor = RadiomicsFeatures(on_empty_mask="nan")
            self.extractor_, self.selection_ = radiomics_pipeline(
                extractor, self.correlation_threshold, self.n_selected, self.n_trees, seed
            )
            found = self.extractor_.fit(cohort[train]).transform(cohort)
            target = self._selection_target(event[train], time[train])
            self.selection_.fit(found.iloc[train], target)
            parts.append(self.selection_.transform(found))
        if self._takes_clinical:
            self.clinical_encoding_ = ClinicalEncoding(self.clinical_columns).fit(cohort[train])
            parts.append(self.clinical_encoding_.transform(cohort))
        if not parts:
            self.table_names_in_: tuple[str, ...] = ()
            return np.zeros((len(cohort), 0), dtype=np.float32)
        table = pd.concat(parts, axis=1)
        names = tuple(table.columns)
        if self._goes_on and names != self.table_names_in_:
            raise ValueError(
                "warm_start=True, but this fit selected other table columns than the previous one, "
                "whose weights would go to other features. Fit with warm_start=False."
            )
        self.table_names_in_ = names
        self._standardised = Standardised.learn(table.iloc[train])
        return self._standardised(table)

    def _selection_target(self, event: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Return what the forest of the selection learns."""
        return make_outcome(event, time)

    @property
    def _n_encoded(self) -> int:
        return len(self.table_names_in_)

    def _patients(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> Patients:
        cohort = as_cohort(X, masks, clinical)
        self._check_channels(cohort)
        n = len(cohort)
        if self._needs_masks:
            warn_of_missing_regions(cohort, refuse=False)
        parts = []
        if self.radiomics:
            parts.append(self.selection_.transform(self.extractor_.transform(cohort)))
        if self._takes_clinical:
            parts.append(self.clinical_encoding_.transform(cohort))
        encoded = np.zeros((n, 0), dtype=np.float32)
        if parts:
            encoded = self._standardised(pd.concat(parts, axis=1))
        return Patients(cohort, encoded, np.zeros(n), np.zeros(n, dtype=bool), self._view())

    def _make_module(
        self, n_channels: int, n_clinical: int, generator: torch.Generator
    ) -> SwinFusionNet:
        return SwinFusionNet(
            n_channels,
            self._regions,
            n_clinical,
            image_features=self.image_features,
            hidden=self.hidden,
            dropout=self.dropout,
            patch_size=self.patch_size,
            window_size=self.window_size,
            embed_dim=self.embed_dim,
            depths=self.depths,
            heads=self.heads,
            mlp_ratio=self.mlp_ratio,
            drop_path=self.drop_path,
            generator=generator,
        )
