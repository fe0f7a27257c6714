"""The one description of a convolution that both backends take. Sizes only: no arrays, no validation."""

from __future__ import annotations

from typing import NamedTuple


class ConvGeometry(NamedTuple):
    """Sizes of a 2-D cross-correlation from an input image to an output image (1-D: height 1).

    Output pixel (i, j) reads input pixels (i·stride + k·dilation - padding) for every kernel tap k, and those outside
    the input count as zero; `padding` is that before the first pixel, what follows the last one is implied by
    `out_size`. A transposed convolution is described by the convolution it is the gradient of, so its own input has
    `out_channels` and `out_size`.
    """

    batch: int
    in_channels: int
    in_size: tuple[int, int]
    out_channels: int
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    channels_last: bool

    @property
    def in_shape(self) -> tuple[int, int, int, int]:
        """Shape of the convolution's input array."""
        return self._image(self.in_channels, self.in_size)

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """Shape of the convolution's output array."""
        return self._image(self.out_channels, self.out_size)

    def _image(self, channels: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
        if self.channels_last:
            return (self.batch, *size, channels)
        return (self.batch, channels, *size)
