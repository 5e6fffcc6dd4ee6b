"""The part that the two fusion estimators share: branches, encoding, network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from sklearn.utils._param_validation import HasMethods, Interval
from torch import nn

from survimg.cohort import Cohort, as_cohort
from survimg.cohort.conversion import Clinical, Masks, Volumes
from survimg.estimators.deep.fusion_inputs import (
    ClinicalEncoding,
    Standardised,
    selection_pipeline,
    warn_of_missing_regions,
)
from survimg.estimators.deep.volume_estimator import VolumeEstimator
from survimg.nets.encoder_with_head import PooledEncoder
from survimg.nets.swin_fusion import SwinFusionNet
from survimg.radiomics import RadiomicsFeatures
from survimg.target import make_outcome
from survimg.training.batches import Patients
from survimg.training.net import Net, build_net
from survimg.training.views import RegionView, View

__all__ = ["FusionBody"]

_BRANCHES = ("tumour", "peritumoral", "radiomics", "clinical")


@dataclass(kw_only=True, eq=False, repr=False)
class FusionBody(VolumeEstimator):
    """Branches of the fusion network, and what the fold teaches them.

    Parameters
    ----------
    branches : sequence of str, default=("tumour", "peritumoral", "radiomics", "clinical")
        What the network joins. ``"tumour"``: a 3D Swin Transformer on the image inside the tumour
        mask. ``"peritumoral"``: another on the shell around it, tumour excluded. ``"radiomics"``:
        selected radiomic features of the tumour. ``"clinical"``: clinical columns.
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
    image_features : int, default=128
        Features that the network takes from each region.
    hidden : int, default=128
        Units of the layer that joins the branches.
    dropout : float, default=0.0
        Dropout on the inputs of both fully connected layers; with 0.5 Swin Transformers learned
        nothing in 300 steps (``docs/decisions/0011``). The paper does not state it.
    net : Net or torch.nn.Module, optional
        Encoder of each region in place of the paper's Swin Transformer, as for `ImageSurvival`:
        ``Net(DenseNet121, out_channels=128)``. None is the Swin Transformer that the parameters
        below describe.
    patch_size : int, default=4
        Edge of the Swin Transformer's patches, voxels.
    window_size : int, default=4
        Edge of the windows of its attention, patches.
    embed_dim : int, default=48
        Channels of its first stage; each following stage has twice as many.
    depths : sequence of int, default=(2, 2, 6, 2)
        Blocks of each stage.
    heads : sequence of int, default=(3, 6, 12, 24)
        Attention heads of each stage.
    mlp_ratio : float, default=4.0
        Hidden units of a block's perceptron, as a multiple of its channels.
    drop_path : float, default=0.1
        Largest probability with which a block's output is dropped in training; it rises with depth.
    learning_rate : float, default=1e-3
        Initial learning rate of Adam; the rate of the runs in ``benchmarks/README.md``.
    """

    branches: Sequence[str] = _BRANCHES
    shell_width: float = 10.0
    extractor: Any = None
    correlation_threshold: float = 0.9
    n_selected: int = 36
    n_trees: int = 500
    clinical_columns: Any = None
    image_features: int = 128
    hidden: int = 128
    dropout: float = 0.0
    net: Net | nn.Module | None = None
    patch_size: int = 4
    window_size: int = 4
    embed_dim: int = 48
    depths: Sequence[int] = (2, 2, 6, 2)
    heads: Sequence[int] = (3, 6, 12, 24)
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    learning_rate: float = 1e-3

    _net = SwinFusionNet
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "branches": ["array-like"],
        "shell_width": [Interval(Real, 0, None, closed="neither")],
        "extractor": [HasMethods(["fit", "transform"]), None],
        "correlation_threshold": [Interval(Real, 0, 1, closed="right")],
        "n_selected": [Interval(Integral, 1, None, closed="left")],
        "n_trees": [Interval(Integral, 1, None, closed="left")],
        "clinical_columns": ["array-like", None],
        "image_features": [Interval(Integral, 1, None, closed="left")],
        "hidden": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "net": [Net, nn.Module, None],
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
        return [name for name in ("tumour", "peritumoral") if name in self.branches]

    @property
    def _needs_masks(self) -> bool:
        return bool(set(self.branches) - {"clinical"})

    @property
    def _takes_clinical(self) -> bool:
        columns = self.clinical_columns
        return "clinical" in self.branches and (columns is None or len(columns) > 0)

    def _view(self) -> View:
        shell_width = self.shell_width if "peritumoral" in self.branches else None
        return RegionView("tumour" in self.branches, shell_width)

    def _encode_training(
        self, cohort: Cohort, event: np.ndarray, time: np.ndarray, train: np.ndarray, seed: int
    ) -> np.ndarray:
        unknown = set(self.branches) - set(_BRANCHES)
        if unknown or not (self._needs_masks or self._takes_clinical):
            raise ValueError(
                f"branches={list(self.branches)} and clinical_columns={self.clinical_columns}: the "
                f"network needs at least one branch out of {list(_BRANCHES)}, and "
                '"clinical" needs clinical columns.'
            )
        if self._needs_masks:
            warn_of_missing_regions(cohort)
        parts = []
        if "radiomics" in self.branches:
            extractor = self.extractor
            if extractor is None:
                extractor = RadiomicsFeatures(on_empty_mask="nan")
            self.extractor_, self.selection_ = selection_pipeline(
                extractor, self.correlation_threshold, self.n_selected, self.n_trees, seed
            )
            features = self.extractor_.fit(cohort[train]).transform(cohort)
            target = self._selection_target(event[train], time[train])
            self.selection_.fit(features.iloc[train], target)
            parts.append(self.selection_.transform(features))
        if self._takes_clinical:
            columns = self._columns_to_encode(cohort, event, time, train)
            encoder = ClinicalEncoding(columns).fit(cohort[train])
            self.clinical_encoder_: Any = encoder
            parts.append(self.clinical_encoder_.transform(cohort))
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

    def _columns_to_encode(
        self,
        cohort: Cohort,  # noqa: ARG002
        event: np.ndarray,  # noqa: ARG002
        time: np.ndarray,  # noqa: ARG002
        train: np.ndarray,  # noqa: ARG002
    ) -> Any:
        """Return the clinical columns of the network; None for all."""
        return self.clinical_columns

    def _selection_target(self, event: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Return what the forest of the selection learns."""
        return make_outcome(event, time)

    @property
    def _n_encoded(self) -> int:
        return len(self.table_names_in_)

    def _patients(self, X: Volumes, *, masks: Masks = None, clinical: Clinical = None) -> Patients:
        cohort = as_cohort(X, masks, clinical)
        self._check_channels(cohort)
        n = len(cohort)
        if self._needs_masks:
            warn_of_missing_regions(cohort, refuse=False)
        parts = []
        if "radiomics" in self.branches:
            parts.append(self.selection_.transform(self.extractor_.transform(cohort)))
        if self._takes_clinical:
            parts.append(self.clinical_encoder_.transform(cohort))
        encoded = np.zeros((n, 0), dtype=np.float32)
        if parts:
            encoded = self._standardised(pd.concat(parts, axis=1))
        return Patients(cohort, encoded, np.zeros(n), np.zeros(n, dtype=bool), self._view())

    def _make_module(
        self, n_channels: int, n_clinical: int, generator: torch.Generator
    ) -> SwinFusionNet:
        encoders = None
        if self.net is not None:
            shape = (n_channels, *self.volume_shape_in_)
            encoders = {
                name: PooledEncoder(build_net(self.net, shape, generator), shape)
                for name in self._regions
            }
        return SwinFusionNet(
            n_channels,
            self._regions,
            n_clinical,
            encoders=encoders,
            generator=generator,
            **self._net_options(),
        )
