"""Counts by hand against the counter."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from replicate import cost


def test_parameters_learned_and_all() -> None:
    shared = nn.Linear(3, 4)
    module = nn.ModuleList([shared, shared, nn.Conv2d(2, 5, 3)])
    module[2].requires_grad_(False)
    assert cost.count_parameters(module) == (16, 16 + 2 * 5 * 9 + 5)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_macs_of_convs_and_matrices(device: str) -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 10))
    image = torch.zeros(2, 3, 8, 8, device=device)
    expected = 2 * (8 * 16 * 3 * 9 + 8 * 16 * 10)
    module = cost.on_meta(module) if device == "meta" else module
    assert cost.count_macs(module, (image,)) == expected
    assert cost.count_flops(module, (image,)) == 2 * expected


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_macs_of_deformable_conv(device: str) -> None:
    conv = DeformConv2d(4, 6, 3, padding=1, bias=False).to(device)
    x, offset = torch.zeros(1, 4, 5, 7, device=device), torch.zeros(1, 18, 5, 7, device=device)
    assert cost.count_macs(conv, (x, offset)) == 35 * 4 * 9 * 6 + 4 * 35 * 4 * 9


def test_macs_of_grid_sample() -> None:
    class Sample(nn.Module):
        def forward(self, x: Tensor, grid: Tensor) -> Tensor:
            return F.grid_sample(x, grid, align_corners=True)

    assert cost.count_macs(Sample(), (torch.zeros(2, 3, 8, 8), torch.zeros(2, 5, 6, 2))) == 4 * 2 * 3 * 30


def test_latency_is_the_median_of_calls_after_warm_up() -> None:
    calls: list[float] = []

    def call() -> None:
        calls.append(0.2 if len(calls) < 2 else 0.002)
        time.sleep(calls[-1])

    latency = cost.latency_ms(call, repeats=5, warmup=2)
    assert len(calls) == 7
    assert 2.0 <= latency.low_ms <= latency.median_ms <= latency.high_ms < 200.0


def test_peak_memory_grows_with_what_was_allocated() -> None:
    before = cost.peak_memory_mb()
    assert before > 1
    held = torch.ones(64, 2**20)
    assert cost.peak_memory_mb() >= before
    assert held.sum() == 64 * 2**20
