"""The limits between a finding and none. Each is a number that stands beside it in the report."""

from __future__ import annotations

GAP_SHOWN = 0.01
"""Output gaps below are not attributed to norms."""
GAP = 0.25
"""An output gap worth a finding even where no score suffers."""
ACCURACY, ERRORS = 0.01, 2.0
"""So much accuracy, if it is so many standard errors of a difference, is one."""
LOSS = 1.05
"""Where there is no accuracy, so many times the loss is one."""

ALONE, SHARE = 0.5, 0.5
"""A norm that alone closes this part of the gap is its cause; one that alone opens this part of what the
worst opens is one of several."""
AGREE = 0.5
"""Running statistics are those of training if they are so many times nearer to batches than to the population."""
SCATTERED = 2.5
"""So many times the scatter of an average at rest is still scatter."""
START, EXPLAINED = 0.05, 0.7
"""Weight of the start (mean 0, variance 1) above which it explains a distance, if mixing it into what batches
give leaves no more than this part of the distance."""
STOPPED = 1.0
"""Constant channels explain a norm's distance only where the other channels are not so far off themselves."""
FOREIGN = 3.0
"""A norm so many times farther from its batches than every other is a case of its own."""

DROPOUT = 1.1
"""Variance ratio, or its inverse, above which dropout in front of a norm matters."""
NOISY, CALM = 0.25, 0.18
"""Scatter of batch means, in standard deviations, that is much, and to aim at: of 16 and of 32 independent values."""
MIXED = 2.0
"""Scatter beyond that of random batches above which batches are not mixed."""

DEAD = 0.01
"""A weight below this part of its layer's median is dead."""
CONSTANT = 0.1
"""A variance below this part of eps is nothing."""
