"""`ImageSurvival`: any network of torch or MONAI as a survival estimator."""

from __future__ import annotations

from dataclasses import dataclass

from survimg.estimators.deep.image_encoder import ImageEncoder, refuse_offset
from survimg.estimators.deep.volume_survival_estimator import VolumeSurvivalEstimator
from survimg.training.objective import SurvivalObjective
from survimg.training.objectives import Cox, IntervalObjective

__all__ = ["ImageSurvival"]


@dataclass(kw_only=True, eq=False, repr=False)
class ImageSurvival(ImageEncoder, VolumeSurvivalEstimator):
    """Survival from volumes by a network of your own, or of MONAI; **risk higher = earlier event**.

    One fully connected layer makes the outputs of the objective from the network's features and the
    clinical columns. Batches, augmentation, validation, checkpoints, devices and random states are
    those of all networks here.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        ``net_.module_.encoder`` is the trained network, ``net_.module_.head`` the layer behind it.
    history_ : DataFrame
    objective_, time_cuts_, risk_horizon_, baseline_, unique_times_, clinical_encoder_
        See `VolumeSurvivalEstimator`.
    channel_names_in_, volume_shape_in_, preparation_in_
        See `VolumeEstimator`.
    clinical_coefficients_ : ndarray of shape (n_columns,)
        Of the Cox model of ``clinical_path="offset"``: log-hazard ratios per standard deviation.

    Raises
    ------
    ValueError
        The network cannot take volumes of the cohort's shape, or returns something else than
        features.

    Examples
    --------
    >>> from torch import nn
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import ImageSurvival
    >>> from survimg.training import MTLR, Net
    >>> X = make_phantom_cohort(n=12, shape=(16, 16, 16), random_state=0).cohort
    >>> net = Net(nn.Conv3d, out_channels=4, kernel_size=3)
    >>> model = ImageSurvival(net=net, objective=MTLR(), n_iterations=2, random_state=0)
    >>> model.fit(X, X.outcome).predict(X).shape
    (12,)
    """

    def _default_objective(self) -> SurvivalObjective:
        return Cox()

    def _check_objective(self, objective: SurvivalObjective) -> None:
        if isinstance(objective, IntervalObjective):
            name = type(objective).__name__
            refuse_offset(self.clinical_path, f"{name} has no log-hazard ratios")
