"""Programs to read, run and copy. docs/examples.md tells what each of them shows."""

from __future__ import annotations
