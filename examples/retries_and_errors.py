"""Failures: attempts that are repeated, errors that the flow catches, and runs that are retried.

The service that fails here is a set of flags, so that the example can repair it.
"""

from __future__ import annotations

import kitaru
from kitaru import KitaruClient, KitaruUserCodeError, RetryPolicy, checkpoint, flow

down = {"printer"}


@checkpoint(retries=RetryPolicy(max_attempts=3, delay=0.05, retry_on=ConnectionError))
def fetch(name: str) -> str:
    call = kitaru.current_call()
    assert call is not None
    if call.attempt < 3:  # a line that drops twice
        raise ConnectionError("the line dropped")
    return f"the text of {name}, at attempt {call.attempt}"


@checkpoint(retries=RetryPolicy(max_attempts=5, give_up_on=ValueError))
def translate(text: str, language: str) -> str:
    if language == "Klingon":
        raise ValueError(f"nobody speaks {language} here")
    return f"{text}, in {language}"


@checkpoint
def publish(text: str) -> str:
    if "printer" in down:
        raise OSError("the printer is on fire")
    return f"printed: {text}"


@flow
def issue(name: str) -> str:
    text = fetch(name)
    try:
        text = translate(text, "Klingon")
    except ValueError as error:  # the checkpoint's own exception, after its last attempt
        print(f"caught: {error}")
        text = translate(text, "English")
    return publish(text)


if __name__ == "__main__":
    handle = issue.run("The Bee")
    try:
        handle.wait()
    except KitaruUserCodeError as error:
        print(f"failed: {error.__cause__!r}")

    down.clear()  # somebody repairs what was broken ...
    KitaruClient().executions.retry(handle.exec_id)
    print(handle.wait())  # ... and only `publish` runs again
    for call in handle.execution.checkpoints:
        print(f"  {call.call_id}: {call.status} at attempt {len(call.attempts)}")
