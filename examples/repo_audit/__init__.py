"""An audit of a Python source tree as a durable flow. Start reading in `flow.py`."""

from __future__ import annotations
