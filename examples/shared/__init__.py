"""A server, a worker and whoever asks, in processes that share nothing but a URL and a token."""

from __future__ import annotations
