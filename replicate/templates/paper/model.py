"""A deep multilayer perceptron with and without skip connections.

Replace this docstring by the paper: title, authors, venue, arXiv number, address of the released code, and what of it
is left out here. Keep the mechanism readable in one sitting.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """One hidden layer: ``(B, C) -> (B, C)``.

    ``skip`` is what is added to the layer's output: ``none``, ``identity`` (the block's input: the mechanism), or
    ``doubled`` (a placebo: the output again, a sum of equal cost that carries nothing past the layer).
    """

    def __init__(self, width: int, skip: str) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C) -> (B, C)``."""
        y = torch.tanh(self.layer(x))
        if self.skip == "identity":
            return x + y
        if self.skip == "doubled":
            return y + y
        return y


class Net(nn.Module):
    """Points ``(B, 2)`` -> class scores ``(B, 2)``."""

    def __init__(self, *, depth: int, width: int, skip: str) -> None:
        super().__init__()
        self.stem = nn.Linear(2, width)
        self.blocks = nn.Sequential(*(Block(width, skip) for _ in range(depth)))
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 2) -> (B, 2)``."""
        scores: Tensor = self.head(self.blocks(self.stem(x)))
        return scores
