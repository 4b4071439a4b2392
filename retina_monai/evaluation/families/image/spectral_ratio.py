"""Summary of the ratio of two power spectra, generated over real. This project aims at 25 % at every frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BAND", "describe_ratio"]

BAND = 0.25
"""Relative deviation from the real power up to which a ring of frequencies counts as met."""


def describe_ratio(ratio: NDArray[np.floating]) -> dict[str, float]:
    """Summarise a ratio of spectra by its range and its share near 1.

    Args:
        ratio: ``(rings,)``, generated over real power, above 0.

    Returns:
        ``lowest`` and ``highest`` ratio, and ``within``, the share of rings within :data:`BAND` of 1.

    Example:
        >>> describe_ratio(np.array([0.5, 1.25, 1.0, 2.0]))
        {'lowest': 0.5, 'highest': 2.0, 'within': 0.5}
    """
    within = np.abs(ratio - 1) <= BAND
    return {"lowest": float(ratio.min()), "highest": float(ratio.max()), "within": float(within.mean())}
