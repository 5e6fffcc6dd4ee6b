"""A compact 3D Swin Transformer that turns a volume into one feature vector.

MONAI's ``SwinTransformer`` (1.6.1) was tried first. Patch size, depths, heads, MLP ratio, the three
drop rates and ``use_checkpoint`` reach its modules (seen in parameter counts and module lists), but

- its default ``downsample="merging"`` takes the eight neighbours in another order than
  ``"mergingv2"``, so weights do not carry over between the two (both take all eight);
- on a grid smaller than the window it cuts the first n rows and columns out of the full window's
  relative positions; for a window of 2 in one of 4 voxels only a quarter of them are right;
- it needs ``einops`` to run, and draws its weights from torch's global stream.

Survimg does not depend on MONAI, and volumes of 32 voxels reach such small grids at once.

References
----------
Liu Z, Lin Y, Cao Y, et al. Swin Transformer: hierarchical vision transformer using shifted windows.
ICCV 2021. Liu Z, Ning J, Cao Y, et al. Video Swin Transformer. CVPR 2022 (three axes).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.nets.layers import check_images, conv3d, initialise, linear

__all__ = ["SwinTransformer3D"]


class SwinTransformer3D(nn.Module):
    """Stages of window attention, with every second block's windows shifted, and an average.

    Parameters
    ----------
    in_channels : int
    patch_size : int, default=4
        Voxels along each axis of a patch, which becomes one token.
    window_size : int, default=4
        Tokens along each axis of a window; on smaller grids the grid is the window.
    embed_dim : int, default=48
        Width of the first stage; it doubles with each further one.
    depths : sequence of int, default=(2, 2, 6, 2)
        Blocks of each stage.
    heads : sequence of int, default=(3, 6, 12, 24)
        Attention heads of each stage.
    mlp_ratio : float, default=4.0
        Hidden width of the blocks' perceptrons over their own.
    drop_path : float, default=0.1
        Stochastic depth: probability that a case skips the last block's branches; it rises
        linearly from 0 at the first block, so that a single block is never skipped.
    generator : torch.Generator, optional
        CPU generator for the initial weights; torch's global generator if None.

    Notes
    -----
    Volumes of any size are taken: patches, windows and merged neighbours are completed with zeros
    at the end of each axis, and padded tokens are hidden from attention (the original lets tokens
    attend to them).
    """

    def __init__(
        self,
        in_channels: int,
        *,
        patch_size: int = 4,
        window_size: int = 4,
        embed_dim: int = 48,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(depths) != len(heads) or not depths:
            raise ValueError(
                f"depths and heads must name the same stages; got {list(depths)} and {list(heads)}."
            )
        if min(depths) < 1 or sum(depths) > 1000:
            raise ValueError(
                f"Every stage needs a block, and there may be 1000; got depths {list(depths)}."
            )
        widths = [embed_dim * 2**stage for stage in range(len(depths))]
        uneven = [(w, h) for w, h in zip(widths, heads, strict=True) if w % h]
        if uneven:
            raise ValueError(
                f"The heads must divide the widths of their stages; of {widths} and {list(heads)} "
                f"these do not fit (width, heads): {uneven}. Change embed_dim or heads."
            )
        self.in_channels = in_channels
        self.n_features = widths[-1]
        self.patch_size = patch_size
        self.patches = conv3d(in_channels, embed_dim, patch_size, stride=patch_size)
        rates = torch.linspace(0, drop_path, sum(depths)).tolist()
        stages: list[nn.Module] = []
        for width, depth, n_heads in zip(widths, depths, heads, strict=True):
            if stages:
                stages.append(_Merge(width // 2))
            for k in range(depth):
                shift = window_size // 2 if k % 2 else 0
                stages.append(_Block(width, n_heads, window_size, shift, mlp_ratio, rates.pop(0)))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(self.n_features)
        initialise(self, generator)
        for module in self.modules():
            if isinstance(module, _WindowAttention):
                nn.init.trunc_normal_(module.bias_table, std=0.02, generator=generator)

    def forward(self, volumes: Tensor) -> Tensor:
        """Average the tokens of the last stage.

        Parameters
        ----------
        volumes : Tensor of shape (b, in_channels, d0, d1, d2)

        Returns
        -------
        Tensor of shape (b, n_features)
        """
        check_images(volumes, self.in_channels, 3, 1)
        tokens = self.patches(_pad_to_multiple(volumes, self.patch_size, 2))
        tokens = self.stages(tokens.permute(0, 2, 3, 4, 1))
        return self.norm(tokens).float().mean(dim=(1, 2, 3))


class _WindowAttention(nn.Module):
    """Attention among the tokens of a window, with a bias for their relative position."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 3, heads))
        self.qkv = linear(width, 3 * width)
        self.out = linear(width, width)

    def forward(self, tokens: Tensor, size: tuple[int, ...], allowed: Tensor) -> Tensor:
        n_cases, n_windows, n, width = tokens.shape
        qkv = self.qkv(tokens).reshape(n_cases, n_windows, n, 3, self.heads, -1)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5)
        bias = self.bias_table[self._relative_position(size, tokens.device)].permute(2, 0, 1)
        hidden = torch.zeros_like(allowed, dtype=bias.dtype).masked_fill(~allowed, -torch.inf)
        mask = (bias + hidden[:, None]).to(query.dtype)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(mixed.transpose(2, 3).reshape(n_cases, n_windows, n, width))

    def _relative_position(self, size: tuple[int, ...], device: torch.device) -> Tensor:
        """Row of the bias table for each pair of tokens, for any window up to the full one."""
        axes = [torch.arange(length, device=device) for length in size]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
        offset = places[:, :, None] - places[:, None, :] + self.window - 1
        side = 2 * self.window - 1
        return (offset[0] * side + offset[1]) * side + offset[2]


class _Block(nn.Module):
    """Window attention and a perceptron, each behind a layer norm and beside a shortcut."""

    def __init__(
        self, width: int, heads: int, window: int, shift: int, mlp_ratio: float, drop_path: float
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.drop_path = drop_path
        self.norm_attention = nn.LayerNorm(width)
        self.attention = _WindowAttention(width, heads, window)
        self.norm_mlp = nn.LayerNorm(width)
        hidden = max(1, round(width * mlp_ratio))
        self.mlp = nn.Sequential(linear(width, hidden), nn.GELU(), linear(hidden, width))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self._maybe_skip(self._attend(self.norm_attention(tokens)))
        return tokens + self._maybe_skip(self.mlp(self.norm_mlp(tokens)))

    def _attend(self, tokens: Tensor) -> Tensor:
        grid = tokens.shape[1:4]
        # An axis that fits into one window is not shifted.
        size = tuple(min(self.window, length) for length in grid)
        shift = tuple(self.shift if length > self.window else 0 for length in grid)
        for axis, (length, step) in enumerate(zip(grid, size, strict=True)):
            tokens = _pad_axis(tokens, axis + 1, -length % step)
        padded = tokens.shape[1:4]
        back = tuple(-step for step in shift)
        windows = _to_windows(torch.roll(tokens, back, dims=(1, 2, 3)), size)
        mixed = self.attention(windows, size, _allowed(grid, padded, size, shift, tokens.device))
        joined = torch.roll(_from_windows(mixed, padded, size), shift, dims=(1, 2, 3))
        return joined[:, : grid[0], : grid[1], : grid[2]]

    def _maybe_skip(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        stays = torch.rand(len(branch), 1, 1, 1, 1, device=branch.device) < keep
        return branch * stays.to(branch.dtype) / keep


class _Merge(nn.Module):
    """Join each 2 x 2 x 2 tokens into one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * width)
        self.reduce = linear(8 * width, 2 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        for axis in (1, 2, 3):
            tokens = _pad_axis(tokens, axis, tokens.shape[axis] % 2)
        joined = _to_windows(tokens, (2, 2, 2)).flatten(2)
        grid = [length // 2 for length in tokens.shape[1:4]]
        return self.reduce(self.norm(joined)).unflatten(1, grid)


def _allowed(
    grid: torch.Size,
    padded: torch.Size,
    size: tuple[int, ...],
    shift: tuple[int, ...],
    device: torch.device,
) -> Tensor:
    """Whether tokens of a window were neighbours before the shift, (windows, n, n)."""
    labels = torch.zeros((1, *padded, 1), dtype=torch.long, device=device)
    for axis in range(3):
        place = torch.arange(padded[axis], device=device)
        # What the roll carries round the end sits in the last window beside tokens far away.
        region = (place < shift[axis]).long() + 2 * (place >= grid[axis]).long()
        shape = [1] * 5
        shape[axis + 1] = -1
        labels = labels * 4 + region.reshape(shape)
    rolled = torch.roll(labels, tuple(-step for step in shift), dims=(1, 2, 3))
    windows = _to_windows(rolled, size)[0, :, :, 0]
    return windows[:, :, None] == windows[:, None, :]


def _to_windows(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Cut (b, d0, d1, d2, c) into windows, (b, windows, tokens of one, c)."""
    b, d0, d1, d2, c = tokens.shape
    k0, k1, k2 = size
    cut = tokens.reshape(b, d0 // k0, k0, d1 // k1, k1, d2 // k2, k2, c)
    return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, -1, k0 * k1 * k2, c)


def _from_windows(windows: Tensor, grid: Sequence[int], size: Sequence[int]) -> Tensor:
    """Undo `_to_windows`."""
    b, c = len(windows), windows.shape[-1]
    counts = [length // step for length, step in zip(grid, size, strict=True)]
    return (
        windows.reshape(b, *counts, *size, c).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, *grid, c)
    )


def _pad_axis(tokens: Tensor, axis: int, amount: int) -> Tensor:
    widths = [0, 0] * (tokens.ndim - 1 - axis) + [0, amount]
    return functional.pad(tokens, widths) if amount else tokens


def _pad_to_multiple(tokens: Tensor, multiple: int, first_axis: int) -> Tensor:
    for axis in range(first_axis, first_axis + 3):
        tokens = _pad_axis(tokens, axis, -tokens.shape[axis] % multiple)
    return tokens
