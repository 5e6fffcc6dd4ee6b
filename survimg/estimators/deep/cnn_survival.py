"""CNN-Survival: a 2D network on one slice, with a discrete-time output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

from sklearn.utils._param_validation import Interval, StrOptions

from survimg.estimators.deep.volume_survival_estimator import DiscreteTimeEstimator
from survimg.nets.cnn_survival import CNNSurvivalNet
from survimg.training.published import DEEPMTS_TRAINING, PublishedRecipe
from survimg.training.views import AxialSlice, View

__all__ = ["CNNSurvival"]


@dataclass(kw_only=True, eq=False, repr=False)
class CNNSurvival(PublishedRecipe, DiscreteTimeEstimator):
    """CNN-Survival of Zhang et al.: six 2D convolutions on the tumour's largest slice.

    The network predicts the conditional survival of each interval; the loss is the discrete-time
    likelihood.

    Parameters
    ----------
    slice_choice : {"largest", "central"}, default="largest"
        The axial slice with the largest mask area, or the middle slice of the volume. With
        `masked_input`, patients whose mask does not reach the slice are refused.
    masked_input : bool, default=True
        Multiply the slice by the tumour mask, as in the DeepMTS paper's comparison. Predictions
        need masks if this or `slice_choice` has its default.
    width : int, default=32
        Channels of every convolution.
    hidden : int, default=64
        Units of the fully connected layer; 0 omits the layer.
    dropout : float, default=0.5
        Dropout after each of the three stages.
    batch_size : int, default=32
        Patients of one step.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained `survimg.nets.cnn_survival.CNNSurvivalNet` is ``net_.module_``; it takes slices
        of the training volumes' size only.
    history_ : DataFrame
    time_cuts_, risk_horizon_, unique_times_
        See `DiscreteTimeEstimator`.

    Notes
    -----
    The papers state the number of layers, the loss, the outputs and where the clinical value
    enters (after the fully connected layer); filters, dropout and batch size were chosen for
    survimg. The original study starts from weights of another cohort (`initial_weights`). Slices
    are shifted, rotated in their plane and flipped left-right.

    *Published recipe.* ``CNNSurvival.published()`` is that of the comparison in the DeepMTS paper:
    `DEEPMTS_TRAINING <survimg.training.DEEPMTS_TRAINING>` (15,000 steps, 1e-4 in its steps), with
    ``batch_size=32``, which no paper states.

    References
    ----------
    Zhang Y, Lobo-Mueller EM, Karanicolas P, Gallinger S, Haider MA, Khalvati F. CNN-based survival
    model for pancreatic ductal adenocarcinoma in medical imaging. BMC Med Imaging 20:11, 2020.
    """

    slice_choice: Literal["largest", "central"] = "largest"
    masked_input: bool = True
    width: int = 32
    hidden: int = 64
    dropout: float = 0.5
    batch_size: int = 32

    _net = CNNSurvivalNet
    _published: ClassVar[Mapping[str, Any]] = {**DEEPMTS_TRAINING, "batch_size": 32}

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "slice_choice": [StrOptions({"largest", "central"})],
        "masked_input": ["boolean"],
        "width": [Interval(Integral, 1, None, closed="left")],
        "hidden": [Interval(Integral, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def _view(self) -> View:
        return AxialSlice(self.slice_choice, self.masked_input)

    def _net_options(self) -> dict[str, Any]:
        return {**super()._net_options(), "image_size": self.volume_shape_in_[1:]}
