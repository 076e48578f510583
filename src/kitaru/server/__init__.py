"""The control plane as a service: the store, the blobs and the client over HTTP.

It needs FastAPI and uvicorn (`pip install 'kitaru[server]'`), sees bytes and names, and never decodes a
user's value or runs a user's code.
"""

from __future__ import annotations

from kitaru.server.app import create_app

__all__ = ["create_app"]
