"""The documentation runs, its links lead somewhere, and nothing that people use is missing."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cyclopts import App

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DEPLOYMENT = sorted((ROOT / "deploy").iterdir())
FENCE = re.compile(r"(?P<fence>`{3,})(?P<language>\w*)")
MARKER = re.compile(r"<!-- (?P<what>notest|continue)(?:: (?P<reason>\S.*))? -->")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"#{1,6} (?P<title>.+)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    marker: re.Match[str] | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def is_marked(self, what: str) -> bool:
        return self.marker is not None and self.marker["what"] == what


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text("utf-8").splitlines()
    start = 0
    opened: re.Match[str] | None = None
    for number, line in enumerate(lines):
        if opened is None:
            opened = FENCE.match(line)
            start = number
        elif line.startswith(opened["fence"]):
            above = MARKER.fullmatch(lines[start - 1].strip()) if start else None
            text = "\n".join(lines[start + 1 : number])
            yield Block(page, start + 1, opened["language"], text, above)
            opened = None


def scripts(pages: Iterable[Path]) -> Iterator[tuple[Block, str]]:
    """Yield each Python block that runs, with everything it continues put before it."""
    for page in pages:
        former = ""
        for block in blocks(page):
            if block.language != "python" or block.is_marked("notest"):
                continue
            former = f"{former}\n\n{block.text}" if block.is_marked("continue") else block.text
            yield block, former


def prose(page: Path) -> list[str]:
    """Return a page's lines without its fenced blocks."""
    text = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return text.splitlines()


def anchors(page: Path) -> set[str]:
    found: dict[str, int] = {}
    for line in prose(page):
        if heading := HEADING.match(line):
            slug = re.sub(r"[^\w\- ]", "", heading["title"].lower()).strip().replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
    return {
        slug if n == 0 else f"{slug}-{n}" for slug, last in found.items() for n in range(last + 1)
    }


def everything_said() -> str:
    return "\n".join(page.read_text("utf-8") for page in PAGES)


def mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


# --- examples ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "script"), [pytest.param(*script, id=str(script[0])) for script in scripts(PAGES)]
)
def test_python_block_runs_as_a_script(block: Block, script: str, config_dir: Path) -> None:
    file = config_dir.parent / "example.py"
    file.write_text(script, "utf-8")

    ended = subprocess.run(
        [sys.executable, "-W", "error", file],
        cwd=config_dir.parent,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, f"{block} failed:\n{ended.stdout}\n{ended.stderr}"


def test_block_that_does_not_run_says_why() -> None:
    silent = [
        str(block)
        for page in PAGES
        for block in blocks(page)
        if block.is_marked("notest") and block.marker and not block.marker["reason"]
    ]

    assert silent == []


def test_readme_shows_a_flow_that_runs() -> None:
    assert any(block.page == ROOT / "README.md" for block, _ in scripts(PAGES))


def test_markers_continue_and_leave_out_blocks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        dedent(
            """
            ```python
            a = 1
            ```

            <!-- notest: needs a network -->
            ```python
            nonsense
            ```

            ```console
            $ kitaru
            ```

            <!-- continue -->
            ```python
            b = a
            ```

            ```python
            c = 3
            ```
            """
        ),
        "utf-8",
    )

    found = [(block.line, script) for block, script in scripts([page])]

    assert found == [(2, "a = 1"), (16, "a = 1\n\nb = a"), (20, "c = 3")]


# --- commands ---------------------------------------------------------------------------------


def command_line() -> App:
    from kitaru.cli.main import app

    return app


def leaves(app: App, path: tuple[str, ...] = ()) -> Iterator[str]:
    names = [name for name in app if not name.startswith("-")]
    if not names:
        yield " ".join(path)
    for name in names:
        yield from leaves(app[name], (*path, name))


def shown_commands() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        for block in blocks(page):
            if block.language not in ("console", "bash"):
                continue
            for line in block.text.splitlines():
                if line.startswith(("$ kitaru ", "kitaru ")):
                    words = shlex.split(line.removeprefix("$ "), comments=True)
                    yield f"{block}: {line}", words[1:]


def deployed_commands() -> Iterator[tuple[str, list[str]]]:
    for file in DEPLOYMENT:
        for line in file.read_text("utf-8").splitlines():
            if line.startswith("ExecStart="):
                program, *words = shlex.split(line.removeprefix("ExecStart="))
                assert program.endswith("/kitaru"), line
                yield f"{file.name}: {line}", words
            elif line.startswith("CMD ["):
                yield f"{file.name}: {line}", json.loads(line.removeprefix("CMD "))


def is_command(app: App, words: list[str]) -> bool:
    """Whether the words lead to a command that does something, arguments left aside."""
    names = [name for name in app if not name.startswith("-")]
    if not names:
        return True
    if not words or words[0].startswith("-"):
        return app.default_command is not None or words in (["--help"], ["--version"])
    return words[0] in names and is_command(app[words[0]], words[1:])


def test_shown_commands_exist() -> None:
    app = command_line()

    assert [where for where, words in shown_commands() if not is_command(app, words)] == []


def test_commands_of_services_and_images_exist() -> None:
    app, found = command_line(), list(deployed_commands())

    assert {words[0] for _, words in found} == {"serve", "worker"}
    assert [where for where, words in found if not is_command(app, words)] == []


def test_every_command_is_documented() -> None:
    text = everything_said()
    commands = [f"kitaru {leaf}" for leaf in leaves(command_line())]

    assert len(commands) > 5
    assert [command for command in commands if not mentions(text, command)] == []


# --- names ------------------------------------------------------------------------------------


def test_every_public_name_is_documented() -> None:
    import kitaru

    text = everything_said()
    # `log` or `now` are words of any text; what documents the function is `kitaru.log` or `@flow`.
    written = {name: (f"kitaru.{name}", f"@{name}") for name in kitaru.__all__ if name.islower()}

    assert [
        name
        for name in kitaru.__all__
        if not any(mentions(text, form) for form in written.get(name, (name,)))
    ] == []


def test_every_setting_is_documented_with_its_variable() -> None:
    from kitaru.settings import VARIABLES

    text = (ROOT / "docs" / "settings.md").read_text("utf-8")

    assert [name for name in VARIABLES if not mentions(text, name)] == []
    assert [name for name in VARIABLES.values() if not mentions(text, name)] == []


def test_every_variable_in_the_documentation_exists() -> None:
    from kitaru.settings import VARIABLES

    deployed = "\n".join(file.read_text("utf-8") for file in DEPLOYMENT)
    said = set(re.findall(r"\bKITARU_[A-Z_]*[A-Z]\b", everything_said() + deployed))

    # What begins so is for the tests of Kitaru itself.
    ours = {name for name in said if not name.startswith("KITARU_TEST_")}

    assert ours - set(VARIABLES.values()) == set()


def test_every_kind_of_event_is_documented() -> None:
    from kitaru.events import EventKind

    text = (ROOT / "docs" / "events.md").read_text("utf-8")

    assert [kind for kind in EventKind if f"`{kind}`" not in text] == []


def test_state_chart_shows_every_transition() -> None:
    from kitaru.transitions import TRANSITIONS

    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)", page, flags=re.MULTILINE))

    allowed = {
        (before.value, after.value)
        for before, following in TRANSITIONS.items()
        for after in following
    }

    assert drawn == allowed


# --- links and cleanliness --------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken: list[str] = []
    for link in LINK.finditer("\n".join(prose(page))):
        target = link["target"]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        destination = (page.parent / path).resolve() if path else page
        missing = not destination.exists() or not destination.is_relative_to(ROOT)
        if missing or (anchor and anchor not in anchors(destination)):
            broken.append(target)

    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        targets = [
            link["target"].partition("#")[0] for link in LINK.finditer(page.read_text("utf-8"))
        ]
        waiting += [(page.parent / target).resolve() for target in targets if ":" not in target]

    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in reached] == []


# In pieces, so that this file does not contain what it looks for.
FORBIDDEN = {
    "host of a package registry": re.compile(
        "|".join(
            re.escape(".".join(host))
            for host in [
                ("pypi", "org"),
                ("pythonhosted", "org"),
                ("npmjs", "org"),
                ("yarnpkg", "com"),
                ("deb", "debian", "org"),
                ("proxy", "golang", "org"),
            ]
        )
    ),
    "path of somebody's machine": re.compile(
        r"(?<![\w.}>-])/(?:root|home|Users|work)/(?!me/|you/)\w"
    ),
}


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_registry_or_a_machine() -> None:
    found: list[str] = []
    for path in tracked_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}: {what}: {match.group()}"
            for what, pattern in FORBIDDEN.items()
            for match in pattern.finditer(text)
        ]

    assert found == []
