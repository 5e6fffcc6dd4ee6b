"""Metadata requests of estimators (``set_fit_request`` and the like), as names and values."""

from __future__ import annotations

from typing import Any

from sklearn.utils._metadata_requests import SIMPLE_METHODS, MethodMetadataRequest

from survimg.model_files.errors import ModelFileError

__all__ = ["decode_requests", "encode_requests"]

_ATTRIBUTE = "_metadata_request"


def encode_requests(attributes: dict[str, Any]) -> dict[str, Any]:
    """Take the requests out of an estimator's attributes; they refer back to the estimator.

    Returns
    -------
    dict
        ``requests``, by method and name of the metadata; empty where nothing was requested.
    """
    requests = attributes.pop(_ATTRIBUTE, None)
    if requests is None:
        return {}
    return {"requests": {name: dict(getattr(requests, name).requests) for name in SIMPLE_METHODS}}


def decode_requests(estimator: Any, encoded: Any) -> None:
    """Give an estimator the requests that `encode_requests` took.

    Raises
    ------
    ModelFileError
        They are none.
    """
    if (
        not isinstance(encoded, dict)
        or not set(encoded) <= set(SIMPLE_METHODS)
        or not hasattr(type(estimator), "_get_metadata_request")
        or not all(isinstance(parameters, dict) for parameters in encoded.values())
        or not all(
            value is None or isinstance(value, bool | str)
            for parameters in encoded.values()
            for value in parameters.values()
        )
    ):
        raise ModelFileError("Invalid metadata requests of an estimator; the file is damaged.")
    requests = estimator._get_metadata_request()
    for method, parameters in encoded.items():
        request = MethodMetadataRequest(owner=estimator, method=method, requests=dict(parameters))
        setattr(requests, method, request)
    setattr(estimator, _ATTRIBUTE, requests)
