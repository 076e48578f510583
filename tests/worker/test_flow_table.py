"""Which flows a worker was started with, and under which names it knows them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.worker.flow_table import load_flows

FLOWS = """
from kitaru import checkpoint, flow

@checkpoint
def one(): return 1

@flow
def first(): return one()

@flow(name="second-flow")
async def second(): return 2
"""


@pytest.fixture(autouse=True)
def _at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield

    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.mark.parametrize("target", ["served_flows", "served_flows.py"])
def test_file_and_module_serve_each_other(tmp_path: Path, target: str) -> None:
    (tmp_path / "served_flows.py").write_text(FLOWS)

    table = load_flows([target])

    assert table.names == ("first", "second-flow")
    for root, ref in (
        (str(tmp_path), "served_flows:first"),
        ("", f"{tmp_path}/served_flows.py:first"),
        ("/elsewhere", f"{tmp_path}/served_flows.py:second"),
    ):
        found = table.find(root, ref)
        assert found is not None
        assert found.name in {"first", "second-flow"}
    assert len(table.known) == 4


@pytest.mark.parametrize("target", ["served_flows", "served_flows.py"])
def test_module_of_that_name_in_another_folder_is_another_one(tmp_path: Path, target: str) -> None:
    (tmp_path / "served_flows.py").write_text(FLOWS)
    other = tmp_path / "other"
    other.mkdir()
    (other / "served_flows.py").write_text(FLOWS)

    table = load_flows([target])

    assert table.find(str(other), "served_flows:first") is None
    assert table.find("", "served_flows:first") is None or target == "served_flows"


def test_flows_that_a_module_imports_are_served_as_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "served_flows.py").write_text(FLOWS)
    (tmp_path / "all_flows.py").write_text("from served_flows import first\n")

    table = load_flows(["all_flows"])

    assert table.names == ("first",)
    assert table.find(str(tmp_path), "served_flows:first") is not None


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("nowhere.py", KitaruNotFoundError, r"the file 'nowhere.py' does not exist"),
        ("nowhere.flows", KitaruNotFoundError, r"module 'nowhere.flows' cannot be imported"),
        ("empty_flows", KitaruUsageError, r"module 'empty_flows' has no flows"),
        ("broken_flows", KitaruUsageError, r"cannot be imported: ZeroDivisionError"),
        ("served_flows:first", KitaruUsageError, r"A worker serves all flows of 'served_flows'"),
    ],
)
def test_module_that_cannot_be_served_is_named(
    tmp_path: Path, target: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "empty_flows.py").write_text("x = 1\n")
    (tmp_path / "broken_flows.py").write_text("1 / 0\n")

    with pytest.raises(error, match=message):
        load_flows([target])
