"""P7: checkpoints through a server on loopback, which has its executions in Postgres.

Clients are processes with the store `http://...`; the server, Postgres and they share the machine's cores.
One after the other shows what a way through the server costs, sixteen at once how much it does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.measuring import KITARU, LIMIT, LIMIT_ON_POSTGRES, Bench, Figure, Row, Subject, Unit
from benchmarks.server import Server, processor_seconds, server_on

_CLIENTS = 16
_AT_MOST_SECONDS = 0.003
_AT_LEAST_A_SECOND = 1_000.0


def measure(bench: Bench) -> list[Row]:
    store_url = bench.postgres.migrated()
    with ExitStack() as stack:
        server = stack.enter_context(server_on(store_url, bench.new_directory()))
        raw = stack.enter_context(bench.subject(LIMIT_ON_POSTGRES, url=bench.postgres.empty()))
        direct = stack.enter_context(bench.subject(KITARU, url=store_url))
        client = stack.enter_context(bench.subject(KITARU, url=server.url))
        calls = bench.size.calls
        raw.do("commit", calls)
        for subject in (direct, client):
            subject.do("sequence", calls)
        single = bench.in_turn(
            {
                LIMIT: lambda: raw.do("commit", calls),
                KITARU: lambda: client.do("sequence", calls),
                "direct": lambda: direct.do("sequence", calls),
            }
        )
        threads = _Crowd(bench, server, [client], "sequences")
        in_threads = [threads.a_second() for _ in range(bench.size.rounds)]
        others = [
            stack.enter_context(bench.subject(KITARU, url=server.url)) for _ in range(_CLIENTS - 1)
        ]
        processes = _Crowd(bench, server, [client, *others], "sequence")
        in_processes = [processes.a_second() for _ in range(bench.size.rounds)]
    return [
        Row(
            number="P7",
            work="one more checkpoint through a server on Postgres",
            at_most=_AT_MOST_SECONDS,
            figures={KITARU: Figure(single[KITARU].seconds)},
        ),
        Row(
            work="the same on that Postgres directly",
            limit=single[LIMIT],
            figures={KITARU: single["direct"]},
        ),
        *_crowd_rows(f"{_CLIENTS} threads of one process", in_threads, threads),
        *_crowd_rows(f"{_CLIENTS} processes", in_processes, processes),
    ]


class _Crowd:
    """Sixteen clients at once.

    Args:
        clients: Their processes.
        operation: Of each.
    """

    def __init__(
        self, bench: Bench, server: Server, clients: Sequence[Subject], operation: str
    ) -> None:
        self._clients = clients
        self._operation = operation
        self._calls = bench.size.calls
        self._parts = {
            "the server": (server.pid, False),
            "Postgres": (bench.postgres.pid, True),
            **{f"client {client.pid}": (client.pid, False) for client in clients},
        }
        self.processor_seconds: dict[str, list[float]] = {}
        self._all_do(10)  # so that everybody has a connection

    def a_second(self) -> float:
        """Return how many checkpoints there were in a second, in one round."""
        before = self._used()
        began = time.perf_counter()
        count = self._all_do(self._calls)
        seconds = time.perf_counter() - began
        for name, used in self._used().items():
            self.processor_seconds.setdefault(name, []).append((used - before[name]) / count)
        return count / seconds

    def _all_do(self, calls: int) -> int:
        for client in self._clients:
            client.begin(self._operation, calls)
        for client in self._clients:
            client.end()
        return _CLIENTS * calls

    def _used(self) -> dict[str, float]:
        found = {"the clients": 0.0}
        for name, (pid, with_children) in self._parts.items():
            part = "the clients" if name.startswith("client ") else name
            found[part] = found.get(part, 0.0) + processor_seconds(pid, with_children=with_children)
        return found


def _crowd_rows(who: str, found: Sequence[float], crowd: _Crowd) -> list[Row]:
    return [
        Row(
            number="P7",
            work=f"checkpoints through it from {who}",
            at_least=_AT_LEAST_A_SECOND,
            unit=Unit.PER_SECOND,
            figures={KITARU: Figure(found)},
        ),
        *(
            Row(work=f"processor time of {name} for each of these", figures={KITARU: Figure(used)})
            for name, used in crowd.processor_seconds.items()
        ),
    ]
