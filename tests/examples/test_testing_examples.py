"""The buggy orders pass without the options; `tests/testing` has what the options make of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.conftest import ROOT

SHOWN = ["charge", "order_charged_twice", "pack", "send", "order_sent_empty", "order_stamped_now"]


@pytest.mark.parametrize("name", SHOWN)
def test_documentation_shows_the_buggy_orders_as_they_are(name: str) -> None:
    code = Path(ROOT, "examples", "testing", "buggy_orders.py").read_text("utf-8")
    page = Path(ROOT, "docs", "testing.md").read_text("utf-8")

    function = next(part for part in code.split("\n\n\n") if f"\ndef {name}(" in part)

    assert function.strip() in page
