from __future__ import annotations

import pytest

from kitaru.client import KitaruClient
from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.store import Store
from tests.client.journal import Book, kept


@pytest.fixture
def book(store: Store) -> Book:
    book = Book.begin(store)
    saved = [
        book.artifact("ask#1", "notes", ["a", "b"]),
        book.artifact("ask#1", "draft", 1, kind="output", attempt_failed=True),
    ]
    book.call("ask", type="llm_call", output=kept("owls hoot"), saved=saved)
    book.call("count", output=kept(3))
    return book


def test_outputs_and_saved_values_are_artifacts(client: KitaruClient, book: Book):
    found = client.artifacts.list(book.id)

    assert [(a.artifact_id, a.name, a.kind, a.save_type) for a in found] == [
        (f"{book.id}/ask/output", "ask", "response", "step_output"),
        (f"{book.id}/ask/id-of-notes", "notes", "report", "manual"),
        (f"{book.id}/ask/id-of-draft", "draft", "output", "manual"),
        (f"{book.id}/count/output", "count", None, "step_output"),
    ]
    assert [a.load() for a in found] == ["owls hoot", ["a", "b"], 1, 3]
    assert (found[1].tags, found[1].producing_call) == (("draft",), "ask")
    assert [a.attempt_failed for a in found] == [False, False, True, False]
    assert found == list(client.executions.get(book.id).list_artifacts())


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"name": "notes"}, ["notes"]),
        ({"kind": "response"}, ["ask"]),
        ({"producing_call": "count"}, ["count"]),
        ({"limit": 2}, ["ask", "notes"]),
    ],
)
def test_artifacts_filter(
    client: KitaruClient, book: Book, filters: dict[str, str], names: list[str]
):
    found = client.artifacts.list(book.id, **filters)  # pyright: ignore[reportArgumentType] - filters only

    assert [artifact.name for artifact in found] == names


def test_artifact_is_found_by_its_id(client: KitaruClient, book: Book):
    found = client.artifacts.get(f"{book.id}/ask/id-of-notes")

    assert found.load() == ["a", "b"]
    assert found.describe() == ["a", "b"]
    assert found.metadata["size"] > 0


@pytest.mark.parametrize("suffix", ["/ask/nothing", ""])
def test_unknown_artifact_says_how_ids_read(client: KitaruClient, book: Book, suffix: str):
    with pytest.raises(KitaruNotFoundError, match="no artifact has the id"):
        client.artifacts.get(book.id + suffix)


def test_limit_below_one_is_refused(client: KitaruClient, book: Book):
    with pytest.raises(KitaruUsageError):
        client.artifacts.list(book.id, limit=0)
