"""The pool lends an array again only when nobody can see it."""

from __future__ import annotations

import numpy as np

from powergrid.engine.results import Pool


def test_an_array_in_use_is_not_lent_again():
    pool = Pool()
    held = [pool((4, 3)) for _ in range(6)]
    assert len({id(array) for array in held}) == 6


def test_a_view_keeps_its_array():
    pool = Pool()
    array = pool((4, 3))
    array[:] = 7.0
    view = array[1:3, :2]
    del array
    for _ in range(5):
        pool((4, 3))[:] = 0.0
    assert (view == 7.0).all()


def test_an_array_that_nobody_holds_is_lent_again():
    pool = Pool()
    array = pool((4, 3), np.float32)
    place = array.ctypes.data
    del array
    assert pool((4, 3), np.float32).ctypes.data == place
