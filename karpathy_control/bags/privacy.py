"""What makes pictures fit to leave the house."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def pixelate(pixels: NDArray[np.uint8], cells: int) -> NDArray[np.uint8]:
    """A picture of the same size that holds `cells` colours across and as many rows as fit.

    Each cell is the mean of what it covers, so nothing finer is left; the whole picture, since no
    detector finds every face, screen and paper. pixels: (height, width, 3).
    """
    height, width = pixels.shape[:2]
    rows = max(1, round(cells * height / width))
    small = cv2.resize(pixels, (cells, rows), interpolation=cv2.INTER_AREA)
    whole = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(whole, np.uint8)
