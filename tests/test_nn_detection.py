"""Backbones and the feature pyramid."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from replicate.nn.backbone import ResNet50, TinyBackbone
from replicate.nn.fpn import FPN


@pytest.mark.parametrize("stem_stride", [2, 4])
def test_tiny_backbone_returns_the_stages_asked_for(stem_stride: int) -> None:
    net = TinyBackbone([8, 12, 16], [0, 1, 2], [0, 2], stem_stride)
    maps = net(torch.zeros(2, 3, 64, 64))
    assert [m.shape[1] for m in maps] == list(net.out_channels) == [8, 16]
    assert [64 // m.shape[-1] for m in maps] == list(net.out_strides) == [stem_stride, stem_stride * 4]


def test_odd_sides_are_rounded_up() -> None:
    net = TinyBackbone([8, 8, 8], [1, 1, 1], [0, 1, 2], 4)
    assert [tuple(m.shape[-2:]) for m in net(torch.zeros(1, 3, 100, 36))] == [(25, 9), (13, 5), (7, 3)]


def test_resnet_freezes_the_first_stage_and_all_statistics() -> None:
    net = ResNet50().train()
    before = {k: v.clone() for k, v in net.state_dict().items() if "running" in k or "layer1" in k}
    maps = net(torch.rand(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(512, 8, 8), (1024, 4, 4), (2048, 2, 2)]
    sum(m.mean() for m in maps).backward()
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())
    assert all(p.grad is None for p in [*net.body.conv1.parameters(), *net.body.layer1.parameters()])
    assert all(p.grad is not None for p in net.body.layer2.parameters())


def test_pyramid_has_the_levels_asked_for_each_half_as_large() -> None:
    fpn = FPN([8, 16], 12, 5)
    maps = fpn([torch.rand(2, 8, 25, 13), torch.rand(2, 16, 13, 7)])
    assert [tuple(m.shape) for m in maps] == [(2, 12, h, w) for h, w in [(25, 13), (13, 7), (7, 4), (4, 2), (2, 1)]]
    with pytest.raises(ValueError, match="cannot hold"):
        FPN([8, 16], 12, 1)


def test_pyramid_adds_the_coarse_map_to_the_fine_one() -> None:
    fpn = FPN([1, 1], 1, 2)
    for conv in fpn.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.zeros_(conv.weight)
            conv.weight.data[..., conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1.0
    fine, coarse = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 2, 2)
    bottom, top = fpn([fine, coarse])
    torch.testing.assert_close(top, coarse)
    torch.testing.assert_close(bottom, fine + coarse.repeat_interleave(2, 2).repeat_interleave(2, 3))
