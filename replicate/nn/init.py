"""Initial weights keyed by seed and parameter name, so that arms share every weight whose name they share.

While a model is built, every in-place draw (``torch.nn.init.*``, ``reset_parameters``, ``tensor.normal_()``) is
recorded; afterwards each parameter's draw is repeated with the random stream of (seed, name). The distribution is
the module's own, the values depend on nothing else that the model holds. Constants (zeros, ones, biases) stay.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_M = TypeVar("_M", bound=nn.Module)

_Op = Callable[..., Any]
_Call = tuple[_Op, tuple[Any, ...], dict[str, Any]]

_DRAWS = frozenset(
    {"normal_", "uniform_", "bernoulli_", "exponential_", "log_normal_", "random_"}
    | {"kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"}
)
_ADJUSTS = frozenset({"mul_", "add_", "sub_", "div_", "clamp_", "erfinv_", "abs_", "neg_", "exp_", "log_", "sqrt_"})
_SETS = frozenset({"zero_", "fill_", "copy_", "set_", "constant_", "zeros_", "ones_"})


def stream_seed(*parts: object) -> int:
    """63-bit seed of the random stream named by ``parts``: equal parts give an equal stream on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: object, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator at the start of the stream named by ``parts``."""
    return torch.Generator(device=device).manual_seed(stream_seed(*parts))


def trunc_normal_(tensor: Tensor, std: float = 0.02, bound: float = 2.0) -> Tensor:
    """Normal values cut off at ``bound`` standard deviations, drawn in place without rejection.

    Use it in place of ``torch.nn.init.trunc_normal_``, whose rejected draws cannot be repeated by name.
    """
    edge = math.erf(bound / math.sqrt(2.0))
    with torch.no_grad():
        return tensor.uniform_(-edge, edge).erfinv_().mul_(std * math.sqrt(2.0)).clamp_(-bound * std, bound * std)


class RecordedInit(TorchFunctionMode):
    """Records, for each storage, the in-place operations since the last one that overwrote it."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[int, list[_Call]] = {}
        self._kept: list[Tensor] = []
        """Recorded tensors stay alive while recording, so that no address is used twice."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in _DRAWS or name in _SETS or name in _ADJUSTS:
            # torch.nn.init functions arrive with the tensor as a keyword, tensor methods with it in front
            tensor, args = (kwargs.pop("tensor"), args) if "tensor" in kwargs else (args[0], args[1:])
            if tensor.device.type != "meta":
                self._note(tensor, func, args, kwargs)
        return result

    def _note(self, tensor: Tensor, func: _Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        place = tensor.data_ptr()
        if func.__name__ not in _ADJUSTS:
            self._kept.append(tensor)
            self.history[place] = [(func, args, kwargs)]
        elif place in self.history:
            self.history[place].append((func, args, kwargs))

    def redraw_(self, module: nn.Module, seed: int) -> None:
        """Repeat every recorded draw of ``module`` in place with the stream of (seed, parameter name).

        Raises ValueError for a parameter whose values were not drawn in place (say ``nn.Parameter(randn(...))``).
        """
        tensors: dict[str, Tensor] = dict(module.named_parameters())
        buffers: dict[str, Tensor] = dict(module.named_buffers())
        for name, tensor in {**buffers, **tensors}.items():
            history = self.history.get(tensor.data_ptr(), [])
            if history and history[0][0].__name__ in _DRAWS:
                self._replay(tensor.detach(), history, stream_seed("init", seed, name))
            elif name in tensors and not _is_constant(tensor):
                raise ValueError(f"parameter {name}: its initial values were not drawn in place; use torch.nn.init")

    @staticmethod
    def _replay(tensor: Tensor, history: list[_Call], seed: int) -> None:
        draws = torch.Generator().manual_seed(seed)
        for func, args, kwargs in history:
            if func.__name__ in _DRAWS:
                kwargs = {**kwargs, "generator": draws}
            func(tensor, *args, **kwargs)


def _is_constant(tensor: Tensor) -> bool:
    return tensor.numel() == 0 or bool((tensor == tensor.flatten()[0]).all())


def keyed_build(build: Callable[[], _M], seed: int) -> _M:
    """Build a module on the CPU with initial weights keyed by ``seed`` and parameter name.

    Two modules built with one seed hold equal values in every parameter of equal name, shape and distribution,
    whatever else they hold.
    """
    record = RecordedInit()
    with record:
        module = build()
    record.redraw_(module, seed)
    return module
