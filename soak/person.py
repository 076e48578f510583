"""`python -m soak.person FOLDER SEED`: somebody who answers questions, and sometimes says nonsense."""

from __future__ import annotations

import random
import signal
import sys
import threading
from pathlib import Path

from kitaru import KitaruClient, KitaruNotFoundError, KitaruStateError, KitaruWaitValidationError
from kitaru.client.models import PendingWait
from soak.book import ANSWERS, Book
from soak.expecting import NOBODY

_LOOK_SECONDS = 0.3
ACCEPTED, REFUSED, INVALID = "accepted", "refused", "invalid"


def main() -> None:
    folder, seed = sys.argv[1:]
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    chance = random.Random(f"person {seed}")
    book = Book(Path(folder))
    with KitaruClient() as client:
        while not over.wait(_LOOK_SECONDS):
            for asked in client.waits.list():
                if over.is_set():
                    break
                if asked.question != NOBODY and chance.random() < 0.5:
                    _answer(client, book, asked, chance)


def _answer(client: KitaruClient, book: Book, asked: PendingWait, chance: random.Random) -> None:
    is_abort = asked.name == "abort" and chance.random() < 0.5
    value = None if is_abort else "nonsense" if chance.random() < 0.1 else chance.randrange(10_000)
    try:
        if is_abort:
            client.executions.abort_wait(asked.exec_id, wait=asked.wait_id, via="soak")
        else:
            client.executions.input(asked.exec_id, wait=asked.wait_id, value=value, via="soak")
        outcome = ACCEPTED
    except KitaruWaitValidationError:
        outcome = INVALID
    except (KitaruStateError, KitaruNotFoundError):  # someone was faster, or it is over
        outcome = REFUSED
    book.add(ANSWERS, exec_id=asked.exec_id, wait_id=asked.wait_id, value=value, outcome=outcome)


if __name__ == "__main__":
    main()
