"""A failure that the flow catches and goes on from; recovery takes the same way."""

from __future__ import annotations

import kit

from kitaru import checkpoint, flow


class RefusalError(Exception):
    def __init__(self, who: str, code: int) -> None:
        super().__init__(who, code)
        self.code = code


@checkpoint
def ask(who: str) -> str:
    kit.effect(f"ask {who}")
    if who == "primary":
        raise RefusalError(who, 503)
    return f"answer of {who}"


@flow
def fall_back() -> list[str]:
    answers = []
    for who in ("primary", "secondary"):
        try:
            answers.append(ask(who))
        except RefusalError as error:
            answers.append(f"{type(error).__name__} {error.code} {error.args}")
    answers.append(ask("third"))
    return answers


if __name__ == "__main__":
    kit.play(fall_back)
