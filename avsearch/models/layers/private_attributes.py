"""Private attributes in P2VANet: values as tokens, to which Z attends (Eq. 6-12).

:mod:`avsearch.models.papers.p2vanet` lists the decisions that the paper leaves open.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsearch.models.layers.blocks import SwitchableNorm


class AttributeTokens(nn.Module):
    """Private attributes (B, values) as tokens; an unknown value has a learned token."""

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, values: int, tokens: int, dim: int) -> None:
        super().__init__()
        self.shape = (tokens, values // tokens)
        self.weight = nn.Parameter(torch.randn(*self.shape, dim) / math.sqrt(self.shape[1]))
        self.bias = nn.Parameter(torch.randn(tokens, dim) * 0.1)
        self.unknown = nn.Parameter(torch.randn(tokens, dim))
        self.register_buffer("count", torch.zeros(values))
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("variance", torch.ones(values))

    def forward(self, attributes: Tensor | None, items: int) -> Tensor:
        """Return tokens (items, tokens, dim) of attributes (items, values), NaN where unknown."""
        if attributes is None:
            return self.unknown.expand(items, -1, -1)
        if self.training:
            self._update_statistics(attributes)
        standard = (attributes - self.mean) / (self.variance + 1e-5).sqrt()
        parts = torch.unflatten(standard, 1, self.shape)  # (items, tokens, values of a token)
        known = parts.isfinite().all(2, keepdim=True)
        tokens = torch.einsum("btv,tvd->btd", parts.nan_to_num(0, 0, 0), self.weight) + self.bias
        return torch.where(known, tokens, self.unknown)

    @torch.no_grad()
    def _update_statistics(self, attributes: Tensor) -> None:
        """Update mean and variance to those of all values so far (Chan et al., 1979)."""
        known = attributes.isfinite()
        added = known.sum(0)
        total = (self.count + added).clamp_min(1)
        values = attributes.where(known, 0)
        mean = values.sum(0) / added.clamp_min(1)
        spread = ((values - mean).square() * known).sum(0)
        spread += self.count * self.variance + (mean - self.mean) ** 2 * self.count * added / total
        seen = self.count + added > 0
        self.variance.copy_(torch.where(seen, spread / total, self.variance))
        self.mean.lerp_(mean, added / total)
        self.count += added


class CrossAttention(nn.Module):
    """Attention of Z to tokens, Eq. 8-10."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.project = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)

    def forward(self, z: Tensor, tokens: Tensor) -> Tensor:
        """Return (B, dim) of Z (B, dim) and tokens (B, T, dim)."""
        query = self.query(z).unflatten(1, (self.heads, 1, -1))  # (B, heads, 1, dim / heads)
        key, value = self.key_value(tokens).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)  # Eq. 9
        projected: Tensor = self.project(attended.flatten(1) + z)  # Eq. 10
        return projected


class CrossTransformer(nn.Module):
    """Z with private attributes, ZP of Eq. 6-12."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.z_norm, self.token_norm = SwitchableNorm(dim), SwitchableNorm(dim)
        self.attention = CrossAttention(dim, heads)
        self.layer_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim)
        )
        self.project = nn.Linear(dim, dim)
        # A new one passes on little but Z, which helps the first steps.
        nn.init.eye_(self.project.weight)
        for part in (self.attention.project, self.feed_forward[2]):
            nn.init.normal_(part.get_parameter("weight"), std=0.01)

    def forward(self, z: Tensor, tokens: Tensor) -> Tensor:
        """Return (B, dim) of Z (B, dim) and tokens (B, T, dim)."""
        first = self.attention(self.z_norm(z), self.token_norm(tokens))  # Eq. 6-8
        second = self.attention(first, tokens) + z  # Eq. 11
        joined: Tensor = self.project(self.feed_forward(self.layer_norm(second)) + second)  # Eq. 12
        return joined
