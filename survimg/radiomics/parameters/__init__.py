"""Parameter files of PyRadiomics and what their settings may be."""

from survimg.radiomics.parameters.channels import parameter_content, parameters_by_channel
from survimg.radiomics.parameters.parameters import Parameters, ParameterSource, read_parameters

__all__ = [
    "ParameterSource",
    "Parameters",
    "parameter_content",
    "parameters_by_channel",
    "read_parameters",
]
