"""Looks after executions while nobody watches: takes back what was lost, wakes what is due, has it run.

An attendant decides nothing that a store's statement does not decide again: two on one store get in nobody's
way, and one that dies leaves nothing half done. It runs no user code and reads no user's value.
"""

from __future__ import annotations

from kitaru.attendant.attendant import Attendant
from kitaru.attendant.dispatcher import Dispatcher
from kitaru.attendant.duty import Duty
from kitaru.attendant.expiry import Expiry
from kitaru.attendant.pruner import Pruner
from kitaru.attendant.reaper import Reaper
from kitaru.attendant.timers import Timers

__all__ = ["Attendant", "Dispatcher", "Duty", "Expiry", "Pruner", "Reaper", "Timers"]
