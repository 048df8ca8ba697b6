"""One thing ahead and one behind."""

import threading
import time

import pytest

from spider_utils.common.beside import one_ahead, one_behind


def wait_for(condition):
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)


def test_the_next_thing_is_made_while_one_is_worked_on_and_no_more():
    made = []

    def items():
        for number in range(4):
            made.append(number)
            yield number

    worked_on = []
    for item in one_ahead(items()):
        wait_for(lambda item=item: len(made) > item + 1)
        time.sleep(0.02)
        worked_on.append(item)
        assert made == list(range(min(item + 2, 4)))
    assert worked_on == [0, 1, 2, 3]


def test_an_error_of_the_making_comes_in_its_turn():
    def items():
        yield 1
        raise ValueError("two")

    things = one_ahead(items())
    assert next(things) == 1
    with pytest.raises(ValueError, match="two"):
        next(things)
    assert list(one_ahead([])) == [] and list(one_ahead([None, 0])) == [None, 0]


def test_calls_are_made_in_their_order_one_at_a_time_and_all_by_the_end():
    running, done, most = [], [], []

    def note(number):
        running.append(number)
        most.append(len(running))
        time.sleep(0.01)
        running.remove(number)
        done.append((number, threading.current_thread() is threading.main_thread()))

    with one_behind() as beside:
        for number in range(4):
            beside(note, number)
    assert done == [(number, False) for number in range(4)] and max(most) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_of_a_call_stops_the_next_or_comes_at_the_end(count):
    called = []

    def fail(number):
        called.append(number)
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"), one_behind() as beside:
        for number in range(count):
            beside(fail, number)
    assert called == [0]
