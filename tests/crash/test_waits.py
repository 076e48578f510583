"""Waiting flows whose process dies or is stopped, and whose answers come from elsewhere."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kitaru.errors import KitaruStateError
from kitaru.model import ExecutionStatus, Resolution, WaitRecord, WaitStatus
from kitaru.store.contract import Store
from tests.crash.sweep import (
    CONTINUE,
    KILLED,
    PATIENCE_SECONDS,
    Case,
    Cases,
    State,
    check_answers,
    check_files,
    check_nothing_ran_again,
    end,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Processes = list[subprocess.Popen[str]]


@pytest.fixture
def case(cases: Cases, tmp_path: Path) -> Case:
    """Return a case whose recovery goes on until nothing is left, and answers nothing itself."""
    (tmp_path / "answers").write_text("{}")
    return cases.new(tmp_path, "questions")


def _open_wait(store: Store) -> WaitRecord | None:
    found = store.list_open_waits("default", limit=10)
    return found[0] if found else None


def _start_and_wait(case: Case, processes: Processes, flow: str = "asked") -> subprocess.Popen[str]:
    """Start a flow, and wait until it has asked and holds nothing."""

    def is_waiting(store: Store) -> bool:
        found = store.list_unfinished(limit=10)
        # A parent holds its lease for as long as its child is in the same process.
        waiting = [
            e for e in found if e.status is ExecutionStatus.WAITING or flow == e.flow == "family"
        ]
        return waiting == found and _open_wait(store) is not None

    process = case.start(case.script(), flow)
    processes.append(process)
    case.wait_for_line("accepted")
    case.until(is_waiting)
    assert process.poll() is None, process.communicate()
    return process


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)


def _answer(case: Case, value: str) -> None:
    ended = case.run("answer", arguments=[value])
    assert ended.status == 0, ended.output


def _identities(case: Case) -> list[str]:
    return [effect.identity for effect in case.effects()]


@contextlib.contextmanager
def _answering(case: Case, may_answer: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Answer whatever is asked, each time with another answer, from this process."""
    over = threading.Event()

    def work() -> None:
        number = 0
        with case.store() as store:
            while not over.wait(0.005):
                wait = _open_wait(store) if may_answer() else None
                if wait is not None:
                    number += 1
                    _resolve(case, store, wait, f"answer {number}")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _resolve(case: Case, store: Store, wait: WaitRecord, value: str) -> None:
    now = time.time_ns() // 1_000
    resolution = Resolution(
        status=WaitStatus.ANSWERED, answer=json.dumps(value), by="ann@desk", via="test"
    )
    with contextlib.suppress(KitaruStateError):
        store.resolve_wait(wait.exec_id, wait.position, resolution, now=now)
        said = {"exec_id": wait.exec_id, "position": wait.position, "answer": value}
        with (case.folder / "answered").open("a") as file:
            file.write(json.dumps({**said, "is_last": True}) + "\n")


def _check(case: Case, before: list[tuple[State, int]]) -> None:
    for execution in case.state().executions:
        assert execution.status is ExecutionStatus.COMPLETED, execution
        assert execution.lease_owner is None
    check_nothing_ran_again(case, before)
    check_answers(case, [then for then, _ in before])
    check_files(case)


@pytest.mark.parametrize("flow", ["asked", "asked and gone", "family", "family and gone"])
def test_answer_to_a_killed_process_is_taken_up_by_a_third(
    case: Case, processes: Processes, flow: str
) -> None:
    _kill(_start_and_wait(case, processes, flow))
    before = [(case.state(), len(case.effects()))]

    _answer(case, "yes")

    asked = next(e for e in case.state().executions if e.flow == "asked")
    assert asked.status is ExecutionStatus.PENDING  # S4.5
    assert asked.lease_owner is None
    ended = case.run(CONTINUE)
    assert ended.status == 0, ended.output
    assert case.results()["asked"] == ["after yes"]
    _check(case, before)


@pytest.mark.parametrize(
    "point",
    [
        "wait.before_ask",
        "wait.after_ask",
        "wait.after_claim",
        "wait.before_commit",
        "wait.after_commit",
    ],
)
def test_runner_killed_anywhere_in_a_wait_loses_no_answer_of_another_process(
    case: Case, point: str
) -> None:
    with case.store(), _answering(case):
        died = case.run(at=(point, 1), arguments=["asked"])
        assert died.status == KILLED, died.output
        before = [(case.state(), len(case.effects()))]
        ended = case.run(CONTINUE)
        assert ended.status == 0, ended.output

    [answer] = case.lines("answered")
    assert case.results() == {"asked": [f"after {answer['answer']}"]}
    assert _identities(case) == ["before", f"after {answer['answer']}"]
    _check(case, before)


def test_answer_whose_giver_died_before_it_was_durable_was_never_given(
    case: Case, processes: Processes
) -> None:
    process = _start_and_wait(case, processes)

    died = case.run("answer", at=("answer.before_commit", 1), arguments=["lost"])

    assert died.status == KILLED, died.output
    assert case.until(_open_wait).answer is None
    _answer(case, "kept")
    assert end(process)[0] == 0
    assert case.results() == {"asked": ["after kept"]}
    _check(case, [])


def test_answer_whose_giver_died_once_it_was_durable_counts(
    case: Case, processes: Processes
) -> None:
    process = _start_and_wait(case, processes)

    died = case.run("answer", at=("answer.after_commit", 1), arguments=["kept"])

    assert died.status == KILLED, died.output
    assert end(process)[0] == 0
    assert case.results() == {"asked": ["after kept"]}
    _check(case, [])


@pytest.mark.parametrize("flow", ["asked", "asked and gone"])
def test_stopped_process_leaves_its_flow_to_others_without_a_word(
    case: Case, processes: Processes, flow: str
) -> None:
    stopped = _start_and_wait(case, processes, flow)
    stopped.send_signal(signal.SIGSTOP)
    _answer(case, "yes")
    ended = case.run(CONTINUE)
    assert ended.status == 0, ended.output
    before = case.state()

    stopped.send_signal(signal.SIGCONT)

    status, output = end(stopped)
    assert status == 0, output
    told = [line for line in output.splitlines() if "answer it: kitaru" not in line]
    assert told == ["Kitaru: flow 'asked' waits for 'approve' (text)"]
    assert case.lines("result") == [{"result": "after yes"}]
    assert case.state() == before
    assert _identities(case) == ["before", "after yes"]
    assert case.effects()[1].pid != stopped.pid
    _check(case, [])


@pytest.mark.parametrize("flow", ["asked", "asked and gone"] * 2)
def test_answer_is_taken_up_by_exactly_one_of_several_processes(
    case: Case, processes: Processes, flow: str
) -> None:
    _start_and_wait(case, processes, flow)
    processes.extend(case.start(case.script(CONTINUE), CRASH_TOGETHER="1") for _ in range(2))
    case.wait_for_line("ready", 2)
    case.allow("go")

    _answer(case, "yes")

    for process in processes:
        status, output = end(process)
        assert status == 0, output
    [execution] = case.state().executions
    assert execution.epoch == 2  # one claim to start it, one to go on
    assert _identities(case) == ["before", "after yes"]
    assert case.lines("result") == [{"result": "after yes"}]
    _check(case, [])


def test_answers_that_race_with_their_deadlines_are_either_taken_or_refused(
    case: Case, processes: Processes
) -> None:
    count, chance = 25, random.Random(4)
    process = case.start(case.script(), "race", str(count))
    processes.append(process)
    case.wait_for_line("accepted")
    [accepted_run] = case.lines("accepted")
    waits = case.until(
        lambda store: w if len(w := store.list_waits(accepted_run["exec_id"])) == count else None
    )
    waits.sort(key=lambda wait: wait.wake_at or 0)

    with case.store() as store:
        for wait in waits:
            assert wait.wake_at is not None
            # Expiry is noticed within 50 ms.
            moment = wait.wake_at / 1_000_000 + chance.uniform(-0.01, 0.05)
            time.sleep(max(0.0, moment - time.time()))
            _resolve(case, store, wait, f"in time for {wait.question}")

    status, output = end(process)
    assert status == 0, output
    accepted = {line["position"]: line["answer"] for line in case.lines("answered")}
    [execution] = case.state().executions
    rows = case.state().waits[execution.id]
    expected = {wait.question: accepted.get(wait.position, "nobody") for wait in rows}
    assert case.results() == {"race": [[expected[f"{number}?"] for number in range(count)]]}
    assert {wait.position for wait in rows if wait.status is WaitStatus.ANSWERED} == set(accepted)
    _check(case, [])


def test_flows_whose_process_is_killed_fifty_times_get_every_answer_once(case: Case) -> None:
    flows, kills, chance = 20, 50, random.Random(50)
    before: list[tuple[State, int]] = []
    all_kills_done = threading.Event()

    def may_answer() -> bool:
        # So that questions are left for every death.
        return all_kills_done.is_set() or len(case.lines("answered")) < 2 * len(before) + 2

    with case.store(), _answering(case, may_answer):
        process = case.start(case.script(), "busy", str(flows))
        case.wait_for_line("accepted", flows)
        for _ in range(kills):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=chance.uniform(0.2, 0.8))
            assert process.poll() is None, process.communicate()
            _kill(process)
            before.append((case.state(), len(case.effects())))
            process = case.start(case.script(CONTINUE))
        all_kills_done.set()
        status, output = end(process)

    assert status == 0, output
    answers = {
        (line["exec_id"], line["position"]): line["answer"] for line in case.lines("answered")
    }
    results = case.results()["busy"]
    assert sorted(answer for result in results for answer in result) == sorted(answers.values())
    assert len(results) == flows
    _check(case, before)
