"""S3: the same execution goes on, and what is recorded does not run again."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
from collections.abc import Iterator

import pytest

import kitaru
from kitaru import KitaruDivergenceError, checkpoint, flow
from kitaru.model import ExecutionStatus
from tests.engine.kit import Interruption, calls, events, execution, go_on, leave, retry, runner
from tests.stores import FILE


def test_recovered_sync_flow_gets_recorded_values_and_runs_only_the_rest(
    interruption: Interruption,
) -> None:
    ran: list[int] = []

    @checkpoint
    def step(number: int) -> int:
        ran.append(number)
        return number * 10

    @flow
    def steps() -> list[int]:
        results = [step(1), step(2)]
        interruption()
        return [*results, step(3)]

    handle = steps.run()
    leave(handle)
    assert execution(handle).status is ExecutionStatus.PENDING  # S1.2

    go_on(steps, handle)

    assert handle.wait() == [10, 20, 30]  # S3.1
    assert ran == [1, 2, 3]  # S2.7
    assert execution(handle).epoch == 2


def test_recovered_async_flow_gets_recorded_values_and_runs_only_the_rest(
    interruption: Interruption,
) -> None:
    ran: list[int] = []

    @checkpoint
    async def step(number: int) -> int:
        ran.append(number)
        return number * 10

    @flow
    async def steps() -> list[int]:
        results = await asyncio.gather(step(1), step(2))
        interruption()
        return [*results, await step(3)]

    handle = steps.run()

    go_on(steps, handle)

    assert handle.wait() == [10, 20, 30]  # S3.1
    assert sorted(ran) == [1, 2, 3]  # S2.7


def test_call_inserted_before_recorded_ones_runs_and_they_keep_their_records(
    interruption: Interruption,
) -> None:
    ran: list[str] = []

    @checkpoint
    def step(name: str) -> str:
        ran.append(name)
        return name.upper()

    @flow
    def before() -> list[str]:
        results = [step("a"), step("b")]
        interruption()
        return [*results, step("c")]

    @flow
    def after() -> list[str]:
        return [step("a"), step("b"), step("new"), step("c")]

    handle = before.run()

    go_on(after, handle, code_changed=True)

    assert handle.wait() == ["A", "B", "NEW", "C"]
    assert ran == ["a", "b", "new", "c"]


def test_reordered_calls_find_their_records_by_what_they_were_asked(
    interruption: Interruption,
) -> None:
    ran: list[str] = []

    @checkpoint
    def step(name: str) -> str:
        ran.append(name)
        return name.upper()

    @flow
    def before() -> list[str]:
        results = [step("a"), step("b")]
        interruption()
        return [*results, step("c")]

    @flow
    def after() -> list[str]:
        return [step("b"), step("a"), step("c")]

    handle = before.run()

    go_on(after, handle, code_changed=True)

    assert handle.wait() == ["B", "A", "C"]  # S3.2b
    assert ran == ["a", "b", "c"]


def test_changed_code_that_contradicts_the_record_fails_naming_call_argument_and_ways_out(
    interruption: Interruption,
) -> None:
    ran: list[str] = []

    @checkpoint
    def ask(prompt: str) -> str:
        ran.append(prompt)
        return prompt.upper()

    @flow
    def before() -> str:
        answer = ask("summarise")
        interruption()
        return ask(answer)

    @flow
    def after() -> str:
        return ask(ask("translate"))

    handle = before.run()

    go_on(after, handle, code_changed=True)

    with pytest.raises(KitaruDivergenceError) as caught:  # S3.2c
        handle.wait()
    text = str(caught.value)
    for part in ("'ask'", "'prompt'", "summarise", "translate", "on_divergence=", "ignore="):
        assert part in text
    assert "kitaru.now()" in text
    assert ran == ["summarise"]


@pytest.mark.parametrize(
    ("policy", "expected", "ran_in_all"),
    [("reuse", "SUMMARISE", ["summarise"]), ("rerun", "TRANSLATE", ["summarise", "translate"])],
)
def test_on_divergence_decides_about_a_record_that_contradicts_changed_code(
    policy: str, expected: str, ran_in_all: list[str], interruption: Interruption
) -> None:
    ran: list[str] = []

    @checkpoint
    def ask(prompt: str) -> str:
        ran.append(prompt)
        return prompt.upper()

    @checkpoint
    def end() -> None: ...

    @flow
    def before() -> str:
        answer = ask("summarise")
        interruption()
        end()
        return answer

    @flow
    def after() -> str:
        answer = ask("translate")
        end()
        return answer

    handle = before.run()

    go_on(after, handle, code_changed=True, on_divergence=policy)

    assert handle.wait() == expected
    assert ran == ran_in_all
    [event] = [e for e in events(handle) if json.loads(e.payload)["action"] == policy]
    assert event.kind == "divergence"
    assert event.position == "ask#1" if policy == "reuse" else "ask#2"


def test_fail_policy_refuses_even_where_the_code_is_the_same(interruption: Interruption) -> None:
    prompts = iter(["monday", "tuesday"])

    @checkpoint
    def ask(prompt: str) -> str:
        return prompt

    @flow(on_divergence="fail")
    def dated() -> str:
        answer = ask(next(prompts))
        interruption()
        ask("end")
        return answer

    handle = dated.run()

    go_on(dated, handle)

    with pytest.raises(KitaruDivergenceError):
        handle.wait()


def test_merely_nondeterministic_flow_uses_the_record_and_tells(interruption: Interruption) -> None:
    prompts = iter(["it is monday", "it is tuesday"])
    ran: list[str] = []

    @checkpoint
    def ask(prompt: str) -> str:
        ran.append(prompt)
        return prompt

    @flow
    def dated() -> str:
        answer = ask(next(prompts))
        interruption()
        return ask(answer)

    handle = dated.run()

    go_on(dated, handle)

    assert handle.wait() == "it is monday"  # S3.2c
    assert ran == ["it is monday", "it is monday"]
    [event] = [event for event in events(handle) if event.kind == "divergence"]
    assert json.loads(event.payload)["arguments"] == {
        "prompt": {"recorded": "'it is monday'", "now": "'it is tuesday'"}
    }


def test_divergence_that_the_flow_swallows_fails_it_all_the_same(
    interruption: Interruption,
) -> None:
    @checkpoint
    def ask(prompt: str) -> str:
        return prompt

    @flow
    def before() -> str:
        answer = ask("a")
        interruption()
        return ask(answer)

    @flow
    def after() -> str:
        try:
            return ask("b")
        except Exception:  # noqa: BLE001 - what users write
            return "swallowed"

    handle = before.run()

    go_on(after, handle, code_changed=True)

    with pytest.raises(KitaruDivergenceError):
        handle.wait()


def test_diverged_run_goes_on_once_the_code_is_back(interruption: Interruption) -> None:
    ran: list[str] = []

    @checkpoint
    def ask(prompt: str) -> str:
        ran.append(prompt)
        return prompt

    @flow
    def before() -> list[str]:
        answer = ask("a")
        interruption()
        return [answer, ask("end")]

    @flow
    def after() -> list[str]:
        return [ask("b"), ask("end")]

    handle = before.run()
    go_on(after, handle, code_changed=True)
    with pytest.raises(KitaruDivergenceError):
        handle.wait()

    retry(before, handle)

    assert handle.wait() == ["a", "end"]
    assert ran == ["a", "end"]


def test_record_that_a_completed_run_never_asked_for_is_reported_and_kept(
    interruption: Interruption,
) -> None:
    @checkpoint
    def step(name: str) -> str:
        return name

    @checkpoint
    def gone() -> None: ...

    @flow
    def before() -> str:
        gone()
        interruption()
        return step("a")

    @flow
    def after() -> str:
        return step("a")

    handle = before.run()

    go_on(after, handle, code_changed=True)

    assert handle.wait() == "a"
    [event] = events(handle)  # S3.4
    assert (event.kind, event.position) == ("divergence", "gone#1")
    assert json.loads(event.payload)["action"] == "unasked"
    assert "gone#1" in calls(handle)


def test_recorded_time_and_chance_come_out_the_same(interruption: Interruption) -> None:
    seen: list[tuple[object, ...]] = []

    @checkpoint
    def step() -> None: ...

    @flow
    def dated() -> None:
        seen.append((kitaru.now(), kitaru.random(), kitaru.uuid4()))
        step()
        interruption()
        step()

    handle = dated.run()

    go_on(dated, handle)

    handle.wait()
    assert len(seen) == 2
    assert seen[0] == seen[1]  # S3.5


def test_recorded_time_stays_with_its_task_when_another_task_comes_first(
    interruption: Interruption,
) -> None:
    """The values have no arguments that could tell them apart: only the place does."""
    seen: list[float] = []
    first = True

    @checkpoint
    async def use(name: str, number: float) -> None:
        seen.append(number)

    async def early() -> None:
        if not first:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await use("early", kitaru.random())

    async def late() -> None:
        if first:
            await asyncio.Event().wait()
        await use("late", kitaru.random())

    @flow
    async def racing() -> None:
        tasks = [asyncio.create_task(early()), asyncio.create_task(late())]
        await tasks[0]
        interruption()
        await asyncio.gather(*tasks)

    handle = racing.run()
    leave(handle)
    first = False

    go_on(racing, handle)

    handle.wait()
    assert len(seen) == 2, "the recorded call of the early task ran again"
    assert seen[0] != seen[1], "the late task got the number of the early one"


def test_call_without_arguments_stays_with_its_task_when_another_task_comes_first(
    interruption: Interruption,
) -> None:
    rolled = iter(range(100))
    used: list[tuple[str, int]] = []
    first = True

    @checkpoint
    async def roll() -> int:
        return next(rolled)

    @checkpoint
    async def use(name: str, number: int) -> int:
        used.append((name, number))
        return number

    async def early() -> int:
        if not first:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return await use("early", await roll())

    async def late() -> int:
        if first:
            await asyncio.Event().wait()
        return await use("late", await roll())

    @flow
    async def racing() -> list[int]:
        tasks = [asyncio.create_task(early()), asyncio.create_task(late())]
        await tasks[0]
        interruption()
        return await asyncio.gather(*tasks)

    handle = racing.run()
    leave(handle)
    first = False

    go_on(racing, handle)

    assert handle.wait() == [0, 1]  # S3.3
    assert used == [("early", 0), ("late", 1)]


def test_worker_that_takes_another_item_from_a_queue_does_not_get_the_wrong_record(
    interruption: Interruption,
) -> None:
    """Two tasks share an iterator: which task takes which item is chance, not program order."""
    ran: list[int] = []
    slow = 0

    @checkpoint
    async def double(item: int) -> int:
        ran.append(item)
        return item * 2

    async def work(number: int, items: Iterator[int], results: dict[int, int]) -> None:
        for _ in range(3 if number == slow else 1):
            await asyncio.sleep(0)
        for item in items:
            results[item] = await double(item)
            interruption()

    @flow
    async def queued() -> dict[int, int]:
        items = iter(range(4))
        results: dict[int, int] = {}
        await asyncio.gather(*[work(number, items, results) for number in range(2)])
        return dict(sorted(results.items()))

    handle = queued.run()
    leave(handle)
    assert "1/double#1" in calls(handle)
    slow = 1

    go_on(queued, handle)

    assert handle.wait() == {0: 0, 1: 2, 2: 4, 3: 6}
    assert len(set(ran)) == 4
    assert not any(call.ordered for call in calls(handle).values())


def test_calls_in_tasks_are_not_ordered() -> None:
    @checkpoint
    async def step(number: int) -> int:
        return number

    async def branch(number: int) -> int:
        return await step(await step(number))

    @flow
    async def branches() -> None:
        await asyncio.gather(branch(1), branch(2))

    handle = branches.run()

    handle.wait()
    assert not any(call.ordered for call in calls(handle).values())  # S3.3


def test_tasks_that_are_created_in_another_order_get_their_own_records(
    interruption: Interruption,
) -> None:
    """As with `as_completed` over coroutines, which makes its tasks in the order of a set."""
    order = [0, 1, 2]
    ran: list[int] = []

    @checkpoint
    async def double(number: int) -> int:
        ran.append(number)
        return number * 2

    @checkpoint
    async def add(number: int, to: int) -> int:
        return number + to

    async def branch(number: int) -> tuple[int, int]:
        doubled = await double(number)
        if number != 0:
            interruption()
        return number, await add(number, doubled)

    @flow
    async def branches() -> list[tuple[int, int]]:
        found = await asyncio.gather(*[branch(number) for number in order])
        return sorted(found)

    handle = branches.run()
    leave(handle)
    order.reverse()

    go_on(branches, handle)

    assert handle.wait() == [(0, 0), (1, 3), (2, 6)]  # S3.3
    assert sorted(ran) == sorted(set(ran))


def test_results_taken_as_they_complete_stay_with_their_calls(interruption: Interruption) -> None:
    """S3.3: in the second run the futures are all done at once and come in another order."""
    gates = [threading.Event() for _ in range(3)]
    processed: list[int] = []

    @checkpoint
    def fetch(number: int) -> int:
        gates[number].wait(10)
        return number

    @checkpoint
    def process(number: int) -> int:
        processed.append(number)
        if number > 0:
            gates[number - 1].set()
        return number * 10

    @flow
    def racing() -> dict[int, int]:
        futures: dict[concurrent.futures.Future[int], int] = {
            fetch.submit(number): number for number in range(3)
        }
        results = {}
        for future in concurrent.futures.as_completed(futures):
            results[futures[future]] = process(future.result())
            if len(results) == 2:
                interruption()
        return dict(sorted(results.items()))

    gates[2].set()
    handle = racing.run()
    leave(handle)
    assert processed == [2, 1]

    go_on(racing, handle)

    assert handle.wait() == {0: 0, 1: 10, 2: 20}
    assert processed == [2, 1, 0]
    ordered = {position: call.ordered for position, call in calls(handle).items()}
    assert ordered["process#1"] is False
    assert ordered["fetch#1"] is True


def test_first_completed_leaves_what_follows_unordered(interruption: Interruption) -> None:
    @checkpoint
    async def fetch(number: int) -> int:
        return number

    @checkpoint
    async def process(number: int) -> int:
        return number * 10

    @flow
    async def racing() -> int:
        tasks = [asyncio.create_task(fetch(number)) for number in range(2)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = await process(done.pop().result())
        await asyncio.gather(*tasks)
        return first

    handle = racing.run()

    handle.wait()
    found = calls(handle)
    assert found["process#1"].ordered is False  # S3.3


@pytest.mark.slow
def test_thousands_of_recorded_calls_are_recovered(
    interruption: Interruption, store_kind: str
) -> None:
    ran, count = 0, 10_000 if store_kind == FILE else 2_000

    @checkpoint
    def step(number: int) -> int:
        nonlocal ran
        ran += 1
        return number

    @flow
    def long() -> int:
        total = sum(step(number) for number in range(count))
        interruption()
        return total + step(-1)

    handle = long.run()

    go_on(long, handle)

    assert handle.wait() == sum(range(count)) - 1
    assert ran == count + 1
    assert runner().in_flight() == []
