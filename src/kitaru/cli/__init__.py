"""The `kitaru` command: one module per noun, each command parse, one client call, show."""

from __future__ import annotations
