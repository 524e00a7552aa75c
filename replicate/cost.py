"""Cost of a module: parameters, multiply-accumulates, latency, memory.

Conventions. One MAC is one multiplication with its addition, and FLOPs are twice the MACs. Counted: convolutions,
matrix products, attention, and bilinear sampling (``deform_conv2d``, ``grid_sample``) with 4 MACs for each sampled
value. Left out: biases, norms, activations, pooling, resizing, additions. Only the forward pass is counted.
"""

from __future__ import annotations

import copy
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import Any

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision.deform_conv2d)
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

_SAMPLE_MACS = 4
"""Bilinear interpolation weighs four neighbours."""


def _deform_conv_flops(x: Sequence[int], weight: Sequence[int], *rest: Any, out_shape: Sequence[int], **_: Any) -> int:
    # weight (out, in / groups, kh, kw); every sampled value is made once for all output channels
    positions = out_shape[0] * prod(out_shape[2:])
    sampled = positions * x[1] * prod(weight[2:])
    return 2 * (prod(out_shape) * prod(weight[1:]) + _SAMPLE_MACS * sampled)


def _grid_sample_flops(x: Sequence[int], grid: Sequence[int], *rest: Any, out_shape: Sequence[int], **_: Any) -> int:
    return 2 * _SAMPLE_MACS * prod(out_shape)


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Number of parameters that learn, and of all; a parameter used in two places counts once."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, learned in sizes if learned), sum(n for n, _ in sizes)


def count_flops(module: nn.Module, inputs: Sequence[Any]) -> int:
    """FLOPs of ``module(*inputs)``: 2 for each MAC. Works on the meta device, where nothing is computed."""
    mapping: dict[Any, Any] = {
        torch.ops.torchvision.deform_conv2d: _deform_conv_flops,
        torch.ops.aten.grid_sampler_2d: _grid_sample_flops,
    }
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with torch.no_grad(), counter:
        module(*inputs)
    return int(counter.get_total_flops())


def count_macs(module: nn.Module, inputs: Sequence[Any]) -> int:
    """Multiply-accumulates of ``module(*inputs)``, by the module docstring's conventions."""
    return count_flops(module, inputs) // 2


def on_meta(module: nn.Module) -> nn.Module:
    """A copy on the meta device: shapes without values, for counting a large model at no cost."""
    return copy.deepcopy(module).to("meta")


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call: median and quartiles."""

    median_ms: float
    low_ms: float
    high_ms: float


def latency_ms(call: Callable[[], object], *, repeats: int = 20, warmup: int = 5, device: str = "cpu") -> Latency:
    """Time ``call``: ``warmup`` calls untimed, then ``repeats`` timed one by one (CUDA events on a GPU)."""
    for _ in range(warmup):
        call()
    times = [_cuda_ms(call) if device.startswith("cuda") else _cpu_ms(call) for _ in range(repeats)]
    low, median, high = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
    return Latency(median, low, high)


def _cpu_ms(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return 1000 * (perf_counter() - start)


def _cuda_ms(call: Callable[[], object]) -> float:
    start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))


def peak_memory_mb(device: str = "cpu") -> float:
    """Peak memory in MiB: of this process so far (CPU, 0 where the system does not say), of tensors (GPU)."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
