"""Latency from stage logs, with the arithmetic in ms (1 ms = 1e6 ns)."""

import pytest

from karpathy_control.nodes.latency import LatencyBook, summary


def rows(*triples):
    return ' '.join(f'{s}:{int(a * 1e6)}:{int(b * 1e6)}' for s, a, b in triples)


def test_end_to_end_and_stages():
    book = LatencyBook()
    book.add('sim', rows((1, 0, 5), (2, 50, 55), (3, 100, 105)))
    book.add('sensor', rows((1, 6, 8), (2, 56, 58)))
    book.add('perception', rows((1, 9, 12), (2, 59, 62)))
    book.add('policy', rows((1, 13, 15), (2, 63, 65)))
    book.add('control', rows((1, 16, 17)))
    # stamp 1: cmd_vel left at 17, the frame left the source at 5 -> 12 ms
    assert book.end_to_end() == pytest.approx([12.0])
    # inside: 2 + 3 + 2 + 1 = 8 -> 4 ms between the nodes
    assert book.stages()['transport'] == pytest.approx([4.0])
    assert book.stages()['render'] == pytest.approx([5.0, 5.0, 5.0])
    # stamps 1 and 2 lie between first and last action; both were acted on
    assert book.observations() == (2, [])


def test_missed_observation_is_a_camera_stamp_without_an_action():
    book = LatencyBook()
    book.add('sim', rows((1, 0, 0), (2, 0, 0), (3, 0, 0)))
    book.add('policy', rows((1, 0, 0), (3, 0, 0)))
    assert book.observations() == (3, [2])


def test_on_a_robot_the_receipt_by_sensor_is_the_origin():
    book = LatencyBook()
    book.add('sensor', rows((1, 6, 8)))
    book.add('control', rows((1, 16, 17)))
    assert book.end_to_end() == pytest.approx([11.0])


def test_only_the_newest_stamps_are_kept_where_asked_for():
    book = LatencyBook(keep=2)
    for node in ('sim', 'control'):
        book.add(node, rows((1, 0, 5), (2, 10, 15)))
        book.add(node, rows((3, 20, 25)))
    assert len(book.end_to_end()) == 2
    book.add('policy', rows((1, 0, 0), (3, 0, 0)))
    assert book.observations() == (2, [2])  # the frame of stamp 1 is forgotten


def test_summary_of_one_to_hundred():
    # numpy's linear percentile: p50 = 50.5, p99 = 99.01
    assert summary(range(1, 101)) == {'p50': 50.5, 'p99': 99.01, 'max': 100.0}
    assert summary([]) == {}
