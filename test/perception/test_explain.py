import math

import numpy as np
import pytest

from karpathy_control.contracts.layout import (
    ENTITY_FIELDS,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    SCAN_BEAMS,
    SECTORS,
)
from karpathy_control.contracts.types import Entities, Scan
from karpathy_control.perception.explain import SCALE, overlay, project

CAMERA = (0.19, 0.0, 0.28, 0.0, 0.15, 0.0)


def test_projection_by_hand():
    level = (0.0, 0.0, 0.3, 0.0, 0.0, 0.0)
    # focal 64 px: 2 m ahead, 1 m left and 0.3 m below the camera: u = 63.5 - 32, v = 47.5 + 9.6
    uv = project(np.array([[2.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]), level)
    assert uv[0] == pytest.approx([31.5, 57.1])
    assert np.isnan(uv[1]).all()
    # pitch 0.15 rad looks down: a point on that axis is in the middle
    on_axis = np.array([[0.19 + 2 * math.cos(0.15), 0.0, 0.28 - 2 * math.sin(0.15)]])
    assert project(on_axis, CAMERA)[0] == pytest.approx([63.5, 47.5])


def test_overlay_draws_beside_and_leaves_the_image_alone():
    image = np.full((IMAGE_HEIGHT, IMAGE_WIDTH, 3), 90, np.uint8)
    table = np.zeros((SECTORS, len(ENTITY_FIELDS)), np.float32)
    table[18, :8] = 2.0, 0.2, 0.3, 0.5, 0.0, 0.2, 0.9, 4.0
    ranges = np.full(SCAN_BEAMS, np.nan, np.float32)
    ranges[180] = 2.0
    entities = Entities(0, table, np.eye(SECTORS, dtype=np.float32), Scan(0, ranges, 5.0))
    picture = overlay(image, entities, CAMERA)
    assert picture.shape == (SCALE * IMAGE_HEIGHT, SCALE * (IMAGE_WIDTH + IMAGE_HEIGHT), 3)
    assert (image == 90).all()
    left = picture[:, :SCALE * IMAGE_WIDTH]
    assert (left != 90).any()
    nothing = overlay(image, Entities(0, table * 0, entities.relations), CAMERA)
    assert (nothing[:, :SCALE * IMAGE_WIDTH] == 90).all()
