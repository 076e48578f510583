"""A short soak holds, and its checker notices when something is wrong."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from soak.book import ANSWERS, EFFECTS, ENDS, EXITS, FACTS, ORDERS, Book
from soak.checking import check
from soak.evidence import Evidence
from soak.expecting import digest_of, step_value
from soak.mix import orders
from soak.sampling import growth

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 240
MINUTES = 20 / 60

Line = dict[str, Any]


def _fact(exec_id: str, flow: str, result: int, steps: int, **more: Any) -> Line:
    """Return what the record says of an execution that ended well."""
    calls = [
        {
            "position": f"step#{number}",
            "kind": "checkpoint",
            "status": "completed",
            "epoch": 1,
            "ended_at": number * 10,
            "attempts": [],
        }
        for number in range(1, steps + 1)
    ]
    return {
        "exec_id": exec_id,
        "flow": flow,
        "key": f"key of {exec_id}",
        "parent_id": None,
        "status": "completed",
        "reason": None,
        "failure": None,
        "epoch": 1,
        "recoveries": 0,
        "created_at": 1,
        "ended_at": steps * 10 + 5,
        "result": digest_of(result),
        "calls": calls,
        "waits": [],
        **more,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the books of a small soak in which all went well."""
    twice = step_value(step_value(3))
    facts = [
        _fact("alone", "sequential", twice, 2, inputs={"number": 3, "count": 2, "milliseconds": 0}),
        _fact(
            "parent",
            "family",
            twice + step_value(3),
            1,
            inputs={"number": 3, "children": 1, "milliseconds": 0},
        ),
        _fact(
            "child",
            "sequential",
            twice,
            2,
            parent_id="parent",
            key=None,
            inputs={"number": 3, "count": 2, "milliseconds": 0},
        ),
        _fact(
            "asker",
            "asks",
            step_value(step_value(3) + 4),
            2,
            inputs={"number": 3},
            waits=[{"wait_id": "number", "status": "answered", "answer": "4"}],
        ),
    ]
    book = Book(tmp_path)
    for fact in facts:
        book.add(FACTS, **fact)
        for call in fact["calls"]:
            where = {"exec_id": fact["exec_id"], "position": call["position"]}
            book.add(EFFECTS, **where, attempt=1, epoch=1, at=call["ended_at"] - 5)
        if fact["parent_id"] is None:
            exec_ids = [fact["exec_id"], fact["exec_id"]]
            order = {"key": fact["key"], "flow": fact["flow"], "arguments": fact["inputs"]}
            book.add(ORDERS, **order, exec_ids=exec_ids)
    book.add(ANSWERS, exec_id="asker", wait_id="number", value=4, outcome="accepted")
    book.add(ANSWERS, exec_id="asker", wait_id="number", value="nonsense", outcome="invalid")
    book.add(EXITS, role="worker", victim=1, problem=None)
    book.add(ENDS, verified=[], running=[], workers=[], unfinished=[])
    book.close()
    return tmp_path


@contextmanager
def doctored(folder: Path, chapter: str) -> Iterator[list[Line]]:
    """Give out all lines of a chapter, and write them back as they are then."""
    files = sorted(folder.glob(f"{chapter}-*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    yield lines
    for file in files:
        file.unlink()
    (folder / f"{chapter}-0-0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def broken(folder: Path) -> set[str]:
    return {verdict.promise for verdict in check(Evidence.of(folder)) if verdict.broken}


def execution(lines: list[Line], exec_id: str) -> Line:
    return next(line for line in lines if line["exec_id"] == exec_id)


def body_of(effects: list[Line], exec_id: str) -> Line:
    return execution(effects, exec_id)


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_SECONDS + 30)
def test_soak_of_a_third_of_a_minute_keeps_every_promise(tmp_path: Path) -> None:
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "soak", "--minutes", str(MINUTES), "--kill-every", "3"),
            *("--rate", "3", "--keep", "5", "--directory", str(tmp_path), "--keep-folder"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "BROKEN" not in ended.stdout
    [folder] = tmp_path.iterdir()
    evidence = Evidence.of(folder)
    assert len(evidence.orders) > 20
    assert {strike["kind"] for strike in evidence.strikes} >= {"kill"}
    assert sum(len(line["exec_ids"]) for line in evidence.pruned) > 0


def test_books_of_a_soak_that_went_well_break_no_promise(folder: Path) -> None:
    assert broken(folder) == set()


def test_killed_process_explains_that_a_body_runs_twice(folder: Path) -> None:
    with doctored(folder, "effects") as effects, doctored(folder, "strikes") as strikes:
        effect = body_of(effects, "alone")
        effects.append({**effect, "at": effect["at"] + 1, "epoch": 2, "pid": effect["pid"] + 1})
        strikes.append({"at": effect["at"], "kind": "kill", "victim": effect["pid"]})

    assert broken(folder) == set()


def test_process_that_was_killed_later_does_not_explain_it(folder: Path) -> None:
    with doctored(folder, "effects") as effects, doctored(folder, "strikes") as strikes:
        effect = body_of(effects, "alone")
        effects.append({**effect, "at": effect["at"] + 1, "epoch": 2, "pid": effect["pid"] + 1})
        strikes.append({"at": effect["at"] + 2, "kind": "kill", "victim": effect["pid"]})

    assert broken(folder) == {"a body runs twice only where a kill, stop or failure explains it"}


def test_failed_attempt_explains_the_next_one(folder: Path) -> None:
    with doctored(folder, "effects") as effects, doctored(folder, "facts") as facts:
        effect = body_of(effects, "alone")
        effects.append({**effect, "at": effect["at"] + 2, "attempt": 2})
        attempt = {"number": 1, "ended_at": effect["at"] + 1}
        execution(facts, "alone")["calls"][0]["attempts"] = [attempt]

    assert broken(folder) == set()


def _body_begins_again(folder: Path) -> None:
    with doctored(folder, "effects") as effects:
        effects.append({**body_of(effects, "alone"), "at": 11, "epoch": 2})


def _body_runs_twice(folder: Path) -> None:
    with doctored(folder, "effects") as effects:
        effects.append({**body_of(effects, "alone"), "epoch": 2})


def _body_never_ran(folder: Path) -> None:
    with doctored(folder, "effects") as effects:
        effects.remove(body_of(effects, "alone"))


def _result_is_another(folder: Path) -> None:
    with doctored(folder, "facts") as facts:
        execution(facts, "alone")["result"] = "0" * 64


def _run_is_lost(folder: Path) -> None:
    with doctored(folder, "facts") as facts:
        facts.remove(execution(facts, "alone"))


def _run_is_stuck(folder: Path) -> None:
    with doctored(folder, "facts") as facts:
        execution(facts, "alone").update(status="pending", result=None)


def _key_is_used_twice(folder: Path) -> None:
    with doctored(folder, "orders") as lines:
        lines[0]["exec_ids"] = [lines[0]["exec_ids"][0], "another"]


def _child_is_missing(folder: Path) -> None:
    with doctored(folder, "facts") as facts:
        execution(facts, "child")["parent_id"] = None


def _answer_is_another(folder: Path) -> None:
    with doctored(folder, "answers") as lines:
        line = next(line for line in lines if line["outcome"] == "accepted")
        line["value"] = -5


def _question_is_answered_twice(folder: Path) -> None:
    with doctored(folder, "answers") as lines:
        line = next(line for line in lines if line["outcome"] == "accepted")
        lines.append({**line})


def _something_still_runs(folder: Path) -> None:
    with doctored(folder, "ends") as [end]:
        end["running"] = ["some execution"]


def _store_is_damaged(folder: Path) -> None:
    with doctored(folder, "ends") as [end]:
        end["verified"] = ["row 3 is damaged"]


def _worker_ended_by_itself(folder: Path) -> None:
    with doctored(folder, "exits") as lines:
        lines[0]["problem"] = "ended by itself with 1"


def _mistake_is_logged(folder: Path) -> None:
    (folder / "worker-3.log").write_text("Traceback (most recent call last):\n  …\nKeyError: 1\n")


def _worker_has_two_names(folder: Path) -> None:
    with doctored(folder, "samples") as lines:
        lines.append({"at": 1, "figures": {}, "owners": ["host/1/2.00/a", "host/1/2.00/b"]})


def _ended_one_changes(folder: Path) -> None:
    with doctored(folder, "facts") as facts:
        fact = execution(facts, "alone")
        facts.append({**fact, "epoch": fact["epoch"] + 1})


@pytest.mark.parametrize(
    ("doctor", "promise"),
    [
        (_body_begins_again, "no recorded call's body begins again"),
        (_body_runs_twice, "a body runs twice only where a kill, stop or failure explains it"),
        (_body_never_ran, "what has an outcome has run"),
        (_result_is_another, "results follow from inputs and answers"),
        (_run_is_lost, "every accepted run ends, or waits for what nobody gave"),
        (_run_is_stuck, "every accepted run ends, or waits for what nobody gave"),
        (_key_is_used_twice, "one execution per idempotency key"),
        (_child_is_missing, "each child is started once"),
        (_answer_is_another, "answers are the ones given, one for each question"),
        (_question_is_answered_twice, "answers are the ones given, one for each question"),
        (_something_still_runs, "nothing is left running by a dead process"),
        (_store_is_damaged, "the store is whole"),
        (_worker_ended_by_itself, "processes end only when told, and then cleanly"),
        (_mistake_is_logged, "no process logs a traceback"),
        (_worker_has_two_names, "each worker is listed once"),
        (_ended_one_changes, "what is over does not change"),
    ],
)
def test_doctored_books_break_their_promise(
    folder: Path, doctor: Callable[[Path], None], promise: str
) -> None:
    doctor(folder)

    assert promise in broken(folder)


def test_folder_without_an_end_is_no_success(tmp_path: Path) -> None:
    assert broken(tmp_path) == {"the store is whole"}


def test_half_a_line_of_a_killed_process_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "strikes-1-1.jsonl").write_text('{"at": 1, "kind": "kill", "victim": 2}\n{"at": 2')

    assert [strike["at"] for strike in Evidence.of(tmp_path).strikes] == [1]


def test_mix_is_the_same_for_the_same_seed_and_has_every_kind() -> None:
    first, again, other = (list(islice(orders(seed), 600)) for seed in (1, 1, 2))

    assert first == again
    assert first != other
    assert len({order.flow for order in first}) == 17
    assert any(order.arguments.get("seconds", 0) > 60 for order in first)


def test_memory_that_grows_is_told_and_noise_is_not() -> None:
    chance = random.Random(1)
    mib = 1024 * 1024
    samples = [
        {
            "at": second * 1_000_000,
            "figures": {
                "leaky: memory": (50 + second / 10) * mib,
                "steady: memory": (50 + chance.uniform(-5, 5)) * mib,
            },
        }
        for second in range(0, 600, 2)
    ]

    found = {name: is_fine for name, _, _, is_fine in growth(samples)}

    assert found == {"leaky: memory": False, "steady: memory": True}


def test_short_run_is_shown_and_not_judged() -> None:
    samples = [{"at": s * 1_000_000, "figures": {"a: memory": s * 1e9}} for s in range(20)]

    assert [is_fine for *_, is_fine in growth(samples)] == [None]
