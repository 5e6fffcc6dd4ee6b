"""Networks as parameters: a class and its arguments, as scikit-learn sees parameters."""

from __future__ import annotations

import copy
import inspect
import typing
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from sklearn.base import BaseEstimator
from torch import nn
from torch.nn.parameter import is_lazy

from survimg.training.seeded import seeded

__all__ = ["Net", "build_net"]

# What libraries call the number of image channels, and the size of the image.
_CHANNELS = ("in_channels", "n_input_channels", "in_chans", "n_chans", "n_channels")
_SIZES = ("img_size", "image_size", "spatial_size", "input_size")


class Net(BaseEstimator):
    """A network's class and its parameters, which a search can set (``net__growth_rate``).

    Parameters
    ----------
    cls : type or callable
        Class of a ``torch.nn.Module``, or a function that returns one, such as
        ``monai.networks.nets.resnet18``.
    **parameters
        Of its constructor. Not needed, because the cohort tells them: the number of channels
        (``in_channels``, ``n_input_channels``, ``in_chans``, ``n_chans`` or ``n_channels``), the
        number of spatial axes (``spatial_dims``), and the size of the volumes where the class asks
        for it (``img_size``, ``image_size``, ``spatial_size``, ``input_size``; ``in_shape`` with
        the channels). A parameter may be a `Net` itself. ``pretrained`` is False unless you give
        it; load weights by the estimator's `initial_weights`.

    Raises
    ------
    ValueError
        A parameter that the class does not have.

    Notes
    -----
    The network's weights are drawn from the fit's random state. Its ``forward`` takes volumes of
    shape (b, channels, z, y, x), and returns features (b, n), a map (b, n, ...), tokens
    (b, tokens, n), or a list or tuple whose last item is one of these.

    Examples
    --------
    >>> from torch import nn
    >>> from survimg.training import Net
    >>> net = Net(nn.Conv3d, out_channels=8, kernel_size=3)
    >>> net.set_params(kernel_size=5)
    Net(Conv3d, out_channels=8, kernel_size=5)
    """

    def __init__(self, cls: Callable[..., nn.Module], /, **parameters: Any) -> None:
        if isinstance(cls, nn.Module) or not callable(cls):
            raise ValueError(
                f"Net takes the class of a network; got {type(cls).__name__}. An instance is given "
                "to the estimator as it is: net=module."
            )
        if "cls" in parameters:
            raise ValueError(f"A parameter of {_name(cls)} cannot be called cls here; wrap it.")
        self.cls = cls
        self.parameters = parameters
        self._check_names()

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return ["cls", "parameters"]  # as model files hold them

    def __sklearn_clone__(self) -> Net:
        from sklearn.base import clone

        parameters = {k: clone(v, safe=False) for k, v in self.parameters.items()}
        return type(self)(self.cls, **parameters)

    def __repr__(self, *_: Any, **__: Any) -> str:
        arguments = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
        return f"Net({_name(self.cls)}{arguments})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the class, as ``cls``, and the parameters that were given.

        Parameters
        ----------
        deep : bool, default=True
            Also the parameters of parameters that are a `Net`.
        """
        params = {"cls": self.cls, **self.parameters}
        if deep:
            for name, value in self.parameters.items():
                if hasattr(value, "get_params") and not isinstance(value, type):
                    params |= {f"{name}__{key}": v for key, v in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Net:
        """Set the class (``cls``) or any parameter of it, given before or not.

        Parameters
        ----------
        **params

        Raises
        ------
        ValueError
            A parameter that the class does not have.
        """
        before = self.cls, self.parameters
        self.cls = params.pop("cls", self.cls)
        direct = {name: value for name, value in params.items() if "__" not in name}
        self.parameters = {**self.parameters, **direct}
        try:
            self._check_names()
            for name in params.keys() - direct.keys():
                part, _, rest = name.partition("__")
                if not hasattr(self.parameters.get(part), "set_params"):
                    raise ValueError(f"{self!r} has no Net {part!r} whose {rest!r} could be set.")
                self.parameters[part].set_params(**{rest: params[name]})
        except ValueError:
            self.cls, self.parameters = before
            raise
        return self

    def build(self, shape: Sequence[int], generator: torch.Generator) -> nn.Module:
        """Build the network for inputs of one shape; weights are drawn from `generator`.

        Parameters
        ----------
        shape : sequence of int
            Of a patient: channels, then voxels along each axis.
        generator : torch.Generator
            Torch's global generator is left as it is.

        Raises
        ------
        ValueError
            The class refuses its parameters or lacks one, another number of channels was given than
            the cohort has, or no network came of it.
        ImportError
            The class needs a package that is not installed.
        """
        parameters = {
            **self._inferred(shape),
            **{
                name: value.build(shape, generator) if isinstance(value, Net) else value
                for name, value in self.parameters.items()
            },
        }
        if "generator" in _signature(self.cls)[0]:
            parameters.setdefault("generator", generator)
        self._check_required(parameters)
        with seeded(generator):
            try:
                module = self.cls(**parameters)
            except ImportError:
                raise
            except Exception as error:  # a user's own class may raise anything
                listed = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
                raise ValueError(
                    f"{_name(self.cls)}({listed}) cannot be built: {type(error).__name__}: {error}"
                ) from error
        if not isinstance(module, nn.Module):
            raise ValueError(
                f"{self!r} gives a {type(module).__name__}, and not a torch.nn.Module."
            )
        return module

    def _check_names(self) -> None:
        names, is_open = _signature(self.cls)
        if is_open:
            return
        for name in self.parameters:
            if name not in names:
                near = get_close_matches(name, names, n=1)
                hint = f" did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"{_name(self.cls)} has no parameter {name!r};{hint} It has {sorted(names)}."
                )

    def _check_required(self, parameters: dict[str, Any]) -> None:
        missing = [name for name in _required(self.cls) if name not in parameters]
        if missing:
            raise ValueError(
                f"{_name(self.cls)} needs {', '.join(missing)}, which the cohort does not tell. "
                f"Give Net({_name(self.cls)}, {missing[0]}=...)."
            )

    def _inferred(self, shape: Sequence[int]) -> dict[str, Any]:
        """Return the parameters that the cohort tells, but for those that were given."""
        n_channels, *size = shape
        names = _signature(self.cls)[0]
        channels = next((name for name in _CHANNELS if name in names), None)
        setting = self.parameters.get(channels or "", n_channels)
        if setting != n_channels:
            raise ValueError(
                f"{self!r} is built for {setting} channel(s) and the volumes have {n_channels}. "
                f"Leave {channels} out: the cohort tells it."
            )
        inferred: dict[str, Any] = {} if channels is None else {channels: n_channels}
        inferred |= {"spatial_dims": len(size)} if "spatial_dims" in names else {}
        inferred |= {
            name: tuple(size) for name in _SIZES if names.get(name, 0) is inspect.Parameter.empty
        }
        if names.get("in_shape", 0) is inspect.Parameter.empty:
            inferred["in_shape"] = tuple(shape)
        if names.get("pretrained") is True:
            inferred["pretrained"] = False
        if self.parameters.get("pretrained") and _module_of(self.cls).startswith("monai."):
            raise ValueError(
                f"{self!r} would download weights and unpickle them. Leave pretrained out, and "
                "give a file with the weights: initial_weights=path."
            )
        return {name: v for name, v in inferred.items() if name not in self.parameters}


def build_net(net: Any, shape: Sequence[int], generator: torch.Generator) -> nn.Module:
    """Build a network of a `Net`, or copy a module, whose weights are where training starts.

    Parameters
    ----------
    net : Net or torch.nn.Module
    shape : sequence of int
        Of a patient: channels, then voxels along each axis.
    generator : torch.Generator

    Raises
    ------
    ValueError
        Neither of them, a module with lazy layers that has not seen a volume, or as `Net.build`.
    """
    if isinstance(net, nn.Module):
        module = getattr(net, "_orig_mod", net)  # of torch.compile, which knows other kernels
        _check_copied(module)
        return copy.deepcopy(module).float()
    if isinstance(net, Net):
        return net.build(shape, generator)
    raise ValueError(
        f"net must be survimg.training.Net(Class, **parameters) or a torch.nn.Module; got {net!r}."
    )


def _check_copied(module: nn.Module) -> None:
    name = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            f"{name} is compiled by TorchScript, and a copy of it cannot be trained. Give the "
            "module that it was made of."
        )
    if any(is_lazy(each) for each in [*module.parameters(), *module.buffers()]):
        raise ValueError(
            f"The lazy layers of this {name} have no weights yet, so that it cannot be copied. "
            f"Give Net({name}, **parameters), or pass a volume through it first."
        )


def _name(cls: Any) -> str:
    return getattr(cls, "__name__", repr(cls))


def _module_of(cls: Any) -> str:
    return f"{getattr(cls, '__module__', '')}."


def _signature(cls: Any) -> tuple[dict[str, Any], bool]:
    """Names of the parameters of a class or function with their defaults; whether it takes others.

    ``**kwargs`` are those of the base classes, or of the class that a function is annotated to
    return.
    """
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):  # built in, without a signature
        return {}, True
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    names = {each.name: each.default for each in parameters if each.kind not in kinds}
    if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return names, False
    behind = _behind(cls)
    if behind is None:
        return names, True
    inherited, is_open = _signature(behind)
    return {**inherited, **names}, is_open


def _required(cls: Any) -> list[str]:
    """Names of the parameters of a class or function that have no default."""
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):  # built in, without a signature
        return []
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [
        each.name for each in parameters if each.default is each.empty and each.kind not in kinds
    ]


def _behind(cls: Any) -> type | None:
    """Return the class that is given the ``**kwargs`` of a class or a function."""
    if isinstance(cls, type):
        bases = [base for base in cls.__mro__[1:] if "__init__" in vars(base)]
        return bases[0] if bases and bases[0] not in (nn.Module, object) else None
    try:
        result = typing.get_type_hints(cls).get("return")
    except (NameError, TypeError, AttributeError):  # annotations that cannot be read
        return None
    is_class = isinstance(result, type) and issubclass(result, nn.Module)
    return result if is_class and result is not nn.Module else None
