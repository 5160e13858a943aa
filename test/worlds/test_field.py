import numpy as np
import pytest
from shapely.geometry import MultiPoint, Point, box

from karpathy_control.worlds import field
from karpathy_control.worlds.generators import generate


def narrowest(posts):
    """The largest disc that gets along, by bisection, m."""
    low, high = 0.2, 1.2
    while high - low > 0.005:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if field.passes(posts, middle) else (low, middle)
    return low


def test_fields_are_as_hard_as_barn():
    """Quartiles of 200 worlds; the median of so many is off by some 6 % by chance."""
    count, passage = [], []
    for seed in range(200):
        world = generate('field', 20_000 + seed)
        posts = np.zeros((field.CELLS, field.CELLS), bool)
        for c in world.cylinders:
            posts[round(c.y / field.PITCH + 14.5), round(c.x / field.PITCH + 14.5)] = True
        count.append(len(world.cylinders))
        passage.append(narrowest(posts))
    assert np.percentile(count, (25, 50, 75)) == pytest.approx(field.QUARTILES[0], rel=0.2)
    assert np.percentile(passage, (25, 50, 75)) == pytest.approx(field.QUARTILES[1], rel=0.1)


def test_posts_stand_where_their_cells_are():
    posts = np.zeros((field.CELLS, field.CELLS), bool)
    posts[1, 0] = posts[29, 28] = True
    # 29 steps of 0.15 m from the first to the last, the origin in the middle
    assert field.positions(posts) == pytest.approx(np.array([(-2.175, -2.025), (2.025, 2.175)]))


@pytest.mark.parametrize(('gap', 'radius'), [(4, 0.3), (6, 0.45), (10, 0.75)])
def test_a_gap_between_two_posts_lets_through_what_fits(gap, radius):
    """`gap` cells from post to post: half of that less a post's radius, to a grid's half step."""
    posts = np.zeros((field.CELLS, field.CELLS), bool)
    posts[:, 15] = True
    posts[11:10 + gap, 15] = False
    assert narrowest(posts) == pytest.approx(0.5 * gap * 0.15 - 0.075, abs=0.026)
    assert field.passes(posts, radius - 0.1) and not field.passes(posts, radius)


def test_the_walls_bound_the_way():
    """An empty field is 4.35 m wide between the centres of its walls."""
    posts = np.zeros((field.CELLS, field.CELLS), bool)
    assert field.passes(posts, 2.07) and not field.passes(posts, 2.11)
    assert not field.as_hard_as_barn(posts)


def test_a_passage_is_what_shapely_finds():
    rng = np.random.default_rng(5)
    for fill in (0.15, 0.2, 0.25):
        posts = field.make_field(rng, fill)
        found = narrowest(posts)
        centres = [*field.positions(posts), *((0.15 * i - 2.175, side)
                                              for i in range(30) for side in (-2.175, 2.175))]
        solid = MultiPoint(centres)
        room = box(-3.0, -2.175, 3.0, 2.175)

        def gets_through(radius, solid=solid, room=room):
            free = room.difference(solid.buffer(radius + 0.075))
            parts = getattr(free, 'geoms', [free])
            return any(part.distance(Point(-3.0, 0.0)) < 0.1 and
                       part.distance(Point(3.0, 0.0)) < 0.1 for part in parts)

        assert not gets_through(found + 0.04)
        assert gets_through(found - 0.04)


def test_what_is_left_is_clumped_and_hollow():
    """A lone cell goes, a full block stays, and its inside gets no posts."""
    rng = np.random.default_rng(0)
    posts = field.make_field(rng, 0.25)
    again = field.make_field(np.random.default_rng(0), 0.25)
    assert (posts == again).all() and not posts[[0, -1]].any()
    padded = np.pad(posts, 1)
    for row, column in np.argwhere(posts):
        assert padded[row:row + 3, column:column + 3].sum() < 9
