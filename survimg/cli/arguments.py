"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

__all__ = ["add_preparation", "at_least", "preparation"]


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a converter to whole numbers that refuses smaller ones."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}; got {value}")
        return value

    return whole_number


def add_preparation(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add the arguments that say how volumes are resampled, cropped and normalised."""
    group = parser.add_argument_group("preparation of raw volumes")
    group.add_argument(
        "--shape", nargs=3, type=at_least(1), metavar=("Z", "Y", "X"), required=required,
        help="voxels of the prepared volumes",
    )
    group.add_argument(
        "--spacing", nargs="+", type=float, metavar="MM",
        help="voxel size in mm, one number or three (z y x); by default each patient's own",
    )
    group.add_argument(
        "--crop", choices=("mask", "fixed", "pet_peak", "whole"),
        help="where the crop lies (default: mask, its middle)",
    )
    group.add_argument(
        "--normalise", metavar="HOW",
        help="zscore (default), none or window:LOW:HIGH; per channel PET=zscore,CT=window:-200:300",
    )
    group.add_argument("--time-unit", metavar="UNIT", help="unit of the manifest's times")


def preparation(arguments: argparse.Namespace) -> dict[str, Any]:
    """Turn the arguments of `add_preparation` into those of `survimg.preprocessing.prepare`."""
    given: dict[str, Any] = {}
    if arguments.shape is not None:
        given["shape"] = tuple(arguments.shape)
    if arguments.spacing is not None:
        if len(arguments.spacing) not in (1, 3):
            raise ValueError(f"--spacing takes one number or three; got {len(arguments.spacing)}.")
        single = len(arguments.spacing) == 1
        given["spacing"] = arguments.spacing[0] if single else tuple(arguments.spacing)
    if arguments.crop is not None:
        given["crop"] = arguments.crop
    if arguments.normalise is not None:
        given["normalise"] = _normalisation(arguments.normalise)
    return given


def _normalisation(text: str) -> Any:
    if "=" in text:
        pairs = [part.partition("=") for part in text.split(",")]
        return {name.strip(): _normalisation(value) for name, _, value in pairs}
    how, *limits = text.strip().split(":")
    if how != "window":
        return text.strip()
    try:
        low, high = (float(limit) for limit in limits)
    except ValueError:
        raise ValueError(f"--normalise: a window is window:LOW:HIGH; got {text!r}.") from None
    return ("window", low, high)
