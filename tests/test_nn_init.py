"""Initial weights keyed by seed and parameter name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from replicate.nn.init import keyed_build, stream_seed, trunc_normal_


class _Net(nn.Module):
    def __init__(self, extra: bool) -> None:
        super().__init__()
        if extra:
            self.first = nn.Linear(7, 9)
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.linear = nn.Linear(100, 50)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)
        self.cut = nn.Parameter(torch.empty(4000))
        trunc_normal_(self.cut, std=0.5)
        self.frozen = nn.Conv2d(3, 8, 3)
        self.frozen.weight.data.normal_(0.0, 3.0)
        self.frozen.requires_grad_(False)
        self.register_buffer("noise", torch.empty(50).uniform_(2.0, 3.0))
        self.register_buffer("constant", torch.arange(5.0))


def test_equal_names_give_equal_values_whatever_else_the_module_holds() -> None:
    torch.manual_seed(1)
    plain = keyed_build(lambda: _Net(False), 3)
    torch.manual_seed(2)
    more = keyed_build(lambda: _Net(True), 3)
    other = keyed_build(lambda: _Net(True), 4)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, more.state_dict()[name]), name
    changed = ["conv.weight", "conv.bias", "linear.weight", "cut", "frozen.weight", "noise", "first.weight"]
    for name in changed:
        assert not torch.equal(more.state_dict()[name], other.state_dict()[name]), name


def test_every_parameter_keeps_the_distribution_of_its_own_module() -> None:
    net = keyed_build(lambda: _Net(False), 0)
    bound = 1 / (3 * 3 * 3) ** 0.5
    assert 0.9 * bound < net.conv.weight.abs().max() <= bound
    assert net.linear.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert net.frozen.weight.std().item() == pytest.approx(3.0, rel=0.2)
    assert net.cut.abs().max().item() <= 1.0
    assert net.cut.std().item() == pytest.approx(0.44, rel=0.05)
    assert torch.equal(net.linear.bias, torch.zeros(50))
    assert torch.equal(net.norm.weight, torch.ones(8))
    assert net.get_buffer("noise").min() >= 2.0
    assert torch.equal(net.get_buffer("constant"), torch.arange(5.0))


def test_layers_of_equal_shape_get_different_values() -> None:
    pair = keyed_build(lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), 0)
    assert not torch.equal(pair[0].weight, pair[1].weight)


def test_values_that_cannot_be_repeated_are_an_error() -> None:
    def build() -> nn.Module:
        module = nn.Module()
        module.weight = nn.Parameter(torch.randn(3))
        return module

    with pytest.raises(ValueError, match="weight: its initial values were not drawn in place"):
        keyed_build(build, 0)


def test_building_leaves_no_trace_of_the_key_in_the_global_stream() -> None:
    torch.manual_seed(5)
    keyed_build(lambda: nn.Linear(3, 3), 0)
    after = torch.rand(1)
    torch.manual_seed(5)
    keyed_build(lambda: nn.Linear(3, 3), 1)
    assert torch.equal(after, torch.rand(1))


def test_streams_have_names() -> None:
    assert stream_seed("a", 1) == stream_seed("a", 1)
    assert len({stream_seed("a", 1), stream_seed("a", 2), stream_seed("a1"), stream_seed("a", "1", "")}) == 4
