"""Parameter files of PyRadiomics and what their settings may be."""

from survimg.radiomics.parameters.parameters import Parameters, ParameterSource, read_parameters

__all__ = ["ParameterSource", "Parameters", "read_parameters"]
