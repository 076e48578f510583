"""Bring the database of a case to this version's schema, as `kitaru db migrate` does.

No scenario of the sweep.
"""

from __future__ import annotations

import kit

from kitaru import settings
from kitaru.store import open_store

if __name__ == "__main__":
    kit.arm()
    open_store(settings.current().store_url).migrate()
    kit.disarm()
