"""What is said of two radial power spectra, generated over real: the aim of this project is 25 % at every frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BAND", "describe_ratio"]

BAND = 0.25
"""Distance from the real power, as a share of it, up to which a ring of frequencies counts as met."""


def describe_ratio(ratio: NDArray[np.floating]) -> dict[str, float]:
    """How far a ratio of spectra strays from 1.

    Args:
        ratio: ``(rings,)``, power generated over real, above 0.

    Returns:
        ``lowest`` and ``highest`` ratio, and ``within``: the share of rings, each counting alike, within :data:`BAND`.

    Example:
        >>> describe_ratio(np.array([0.5, 1.25, 1.0, 2.0]))
        {'lowest': 0.5, 'highest': 2.0, 'within': 0.5}
    """
    within = np.abs(ratio - 1) <= BAND
    return {"lowest": float(ratio.min()), "highest": float(ratio.max()), "within": float(within.mean())}
