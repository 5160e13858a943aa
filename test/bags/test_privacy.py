"""What is left of a picture that was pixelated."""

import numpy as np
import pytest

from karpathy_control.bags.privacy import pixelate

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(('height', 'width', 'cells', 'rows'), [
    (96, 128, 16, 12), (90, 160, 8, 4), (48, 64, 1, 1)])
def test_a_cell_is_the_mean_of_what_it_covers_and_nothing_else_is_left(height, width, cells,
                                                                       rows):
    picture = RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)
    found = pixelate(picture, cells)
    assert found.shape == picture.shape and found.dtype == np.uint8
    h, w = height / rows, width / cells
    colours = {tuple(c) for c in found.reshape(-1, 3)}
    assert len(colours) <= rows * cells
    if h == round(h):  # whole pixels in a cell
        means = picture.reshape(rows, int(h), cells, int(w), 3).mean((1, 3))
        here = found.reshape(rows, int(h), cells, int(w), 3)
        assert np.abs(here - means[:, None, :, None]).max() <= 0.5


def test_letters_that_are_finer_than_a_cell_are_gone():
    """Two papers that differ in every line of print, of equal grey in every cell of 8 x 8."""
    one = np.full((96, 128, 3), 255, np.uint8)
    other = one.copy()
    one[::2], other[1::2] = 0, 0
    assert (one != other).all() and np.array_equal(pixelate(one, 16), pixelate(other, 16))
