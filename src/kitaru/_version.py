"""The version, for what must not wait for package metadata."""

from __future__ import annotations

__version__ = "0.1.0"
