"""S1.5: a script may end before its runs do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STOPPED_LOOP = """
import asyncio
from kitaru import checkpoint, flow

@checkpoint
async def step(number: int) -> int:
    await asyncio.sleep(0.01)
    return number

@flow
async def steps() -> None:
    print("result", [await step(number) for number in range(3)], flush=True)

async def main() -> None:
    steps.run()

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
print("last line", flush=True)
"""


def test_flow_on_a_loop_that_the_script_has_stopped_is_finished(
    tmp_path: Path, config_dir: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(STOPPED_LOOP)

    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "KITARU_CONFIG_PATH": str(config_dir)},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "last line\nresult [0, 1, 2]\n"), done.stderr
