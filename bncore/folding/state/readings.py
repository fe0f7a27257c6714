"""What a weight's shape allows a linear operation beside a norm to be: of which kind, and on which side of it.

The weight of a convolution is (out, in/groups, *k), that of a transposed one (in, out/groups, *k): shapes alone do not
always tell them apart, nor on which side of a norm they are.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KINDS", "Reading", "readings"]

KINDS = ("linear", "conv", "conv_transpose")
_WORDS = {
    "linear": "linear operation",
    "conv": "convolution",
    "conv_transpose": "transposed convolution",
}


class Reading(NamedTuple):
    """A linear operation of this kind, with the norm after or before it."""

    kind: str
    direction: str

    def __str__(self) -> str:
        side = "before" if self.direction == "after" else "after"
        return f"a {_WORDS[self.kind]} {side} it"


def readings(
    shape: tuple[int, ...],
    channels: int,
    kind: str | None = None,
    direction: str | None = None,
    *,
    doubt_groups: bool = False,
) -> list[Reading]:
    """All readings of a weight that fit a norm of so many channels, given its kind or direction where known.

    Where the kind is not known, what is unlikely is left out (see `_conv_before` and the two after it);
    ``doubt_groups`` leaves less out: the net may have transposed convolutions with groups.
    """
    if 0 in shape:
        return []
    if len(shape) == 2:
        fits = {
            Reading("linear", "after"): shape[0] == channels,
            Reading("linear", "before"): shape[1] == channels,
        }
        kind = None if kind == "conv" else kind
    else:
        fits = {
            Reading("conv", "after"): shape[0] == channels,
            Reading("conv", "before"): _conv_before(shape, channels, direction),
            Reading("conv_transpose", "after"): _transposed_after(
                shape, channels, kind, doubt_groups
            ),
            Reading("conv_transpose", "before"): _transposed_before(
                shape, channels, kind, direction
            ),
        }
    return [
        reading
        for reading, fit in fits.items()
        if fit and kind in (None, reading.kind) and direction in (None, reading.direction)
    ]


def _conv_before(shape: tuple[int, ...], channels: int, direction: str | None) -> bool:
    """Groups other than one or one per channel only where the direction is known."""
    usual = shape[1] in (1, channels) or direction is not None
    return usual and _can_be_grouped(channels, shape[1], shape[0])


def _transposed_after(
    shape: tuple[int, ...], channels: int, kind: str | None, doubt_groups: bool
) -> bool:
    """Of unknown kind: if it can be a convolution too, only without groups, or where these are to be doubted; and
    not with one channel per group, where both scale the same numbers.
    """
    fits = _can_be_grouped(channels, shape[1], shape[0])
    if kind is None and shape[0] == channels:
        return fits and shape[1] > 1 and (doubt_groups or shape[1] == channels)
    return fits


def _transposed_before(
    shape: tuple[int, ...], channels: int, kind: str | None, direction: str | None
) -> bool:
    """Of unknown kind: only if the norm is known to be before it."""
    known = kind is not None or (direction is not None and shape[1] > 1)
    return known and shape[0] == channels


def _can_be_grouped(channels: int, per_group: int, other_side: int) -> bool:
    """Whether so many channels are groups of ``per_group``, and the channels of the other side as many groups."""
    if channels == 0 or channels % per_group:
        return False
    return other_side % (channels // per_group) == 0
