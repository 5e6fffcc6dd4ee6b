"""What a failed fit leaves behind: the estimator as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

__all__ = ["unchanged_on_failure"]


@contextmanager
def unchanged_on_failure(estimator: Any) -> Iterator[None]:
    """Take back the attributes set inside, if the block raises or is interrupted.

    Attributes of a new fit beside the network of the previous one would describe a model that does
    not exist.

    Parameters
    ----------
    estimator : object
        Attributes are replaced inside, not changed in place.
    """
    before = dict(vars(estimator))

    def take_back() -> None:
        vars(estimator).clear()
        vars(estimator).update(before)

    with ExitStack() as on_failure:
        on_failure.callback(take_back)
        yield
        on_failure.pop_all()
