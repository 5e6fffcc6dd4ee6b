"""One parameter file for all channels of a cohort, or one for each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from survimg.radiomics.parameters.parameters import (
    SECTIONS,
    Parameters,
    ParameterSource,
    read_parameters,
)

__all__ = ["parameter_content", "parameters_by_channel"]


def parameters_by_channel(
    source: ParameterSource, channels: Sequence[str]
) -> dict[str, Parameters]:
    """Return the parameters of each channel.

    Parameters
    ----------
    source : path-like, dict or None
        See `read_parameters`; or a mapping of channel -> such a file or its content.
    channels : sequence of str
        Of the cohort.

    Raises
    ------
    ValueError
        Some channel has no file, or a file no channel; or what `read_parameters` refuses.
    """
    sources = _by_channel(source)
    if sources is None:
        return dict.fromkeys(channels, read_parameters(source))
    if set(sources) != set(channels):
        raise ValueError(
            f"params has files for the channels {sorted(sources)}, but the cohort has "
            f"{list(channels)}. Give one file for each channel, or a single one for all."
        )
    return {channel: _read(channel, sources[channel]) for channel in channels}


def parameter_content(source: ParameterSource) -> dict[str, Any]:
    """Return what the file, or the file of each channel, holds.

    Parameters
    ----------
    source : path-like, dict or None
        As in `parameters_by_channel`.
    """
    sources = _by_channel(source)
    if sources is None:
        return read_parameters(source).to_dict()
    return {channel: _read(channel, each).to_dict() for channel, each in sources.items()}


def _read(channel: str, source: ParameterSource) -> Parameters:
    try:
        return read_parameters(source)
    except ValueError as error:
        raise ValueError(f"Parameters of channel {channel!r}: {error}") from error


def _by_channel(source: ParameterSource) -> Mapping[str, ParameterSource] | None:
    # A misspelt section is none of a channel: it holds no file, and no sections.
    if not isinstance(source, Mapping) or not source or set(source) & set(SECTIONS):
        return None
    return source if all(_is_file(each) for each in source.values()) else None


def _is_file(source: object) -> bool:
    if isinstance(source, Mapping):
        return bool(source) and set(source) <= set(SECTIONS)
    return isinstance(source, str | os.PathLike)
