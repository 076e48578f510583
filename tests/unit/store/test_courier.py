from __future__ import annotations

import threading

from kitaru.store.courier import Courier

PATIENCE = 30.0


def test_errands_run_in_order_in_one_daemon_thread() -> None:
    courier = Courier("errands")
    done: list[tuple[int, str, bool]] = []
    last = threading.Event()

    def note(number: int) -> None:
        thread = threading.current_thread()
        done.append((number, thread.name, thread.daemon))

    for number in range(100):
        courier.send(lambda number=number: note(number))
    courier.send(last.set)

    assert last.wait(PATIENCE)
    assert done == [(number, "errands", True) for number in range(100)]


def test_thread_ends_when_there_is_nothing_to_do_and_comes_back() -> None:
    courier = Courier("errands", idle_seconds=0.0)
    threads: list[threading.Thread] = []

    for _ in range(20):
        ran = threading.Event()
        courier.send(lambda: threads.append(threading.current_thread()))
        courier.send(ran.set)
        assert ran.wait(PATIENCE)
        threads[-1].join(PATIENCE)

    assert not any(thread.is_alive() for thread in threads)
    assert len(threads) == 20
