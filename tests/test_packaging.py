"""What an installed Kitaru consists of."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    # The builder itself instead of pip: it needs no network, no isolated environment and no copy.
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", directory],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = directory.glob("*.whl")
    return built


def contents(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def described(wheel: Path, name: str) -> str:
    with ZipFile(wheel) as archive:
        (entry,) = [entry for entry in archive.namelist() if entry.endswith(f".dist-info/{name}")]
        return archive.read(entry).decode()


def package_metadata(wheel: Path) -> Message:
    return Parser().parsestr(described(wheel, "METADATA"))


def test_wheel_holds_the_package_with_its_data_and_nothing_else(wheel: Path) -> None:
    expected = {
        path.relative_to(SOURCE).as_posix()
        for path in (SOURCE / "kitaru").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    found = {name for name in contents(wheel) if ".dist-info/" not in name}

    assert found == expected
    assert "kitaru/py.typed" in found
    assert any(name.endswith(".sql") for name in found)


def test_wheel_runs_on_any_platform_and_carries_its_licence(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "Apache License" in described(wheel, "licenses/LICENSE")
    assert package_metadata(wheel)["License-Expression"] == "Apache-2.0"


def test_wheel_installs_the_command(wheel: Path) -> None:
    assert "kitaru = kitaru.cli.main:run" in described(wheel, "entry_points.txt")


def test_wheel_asks_for_the_core_dependencies_only(wheel: Path) -> None:
    required = package_metadata(wheel).get_all("Requires-Dist", [])

    always = [requirement for requirement in required if "extra ==" not in requirement]
    assert {re.split(r"[^\w-]", requirement)[0] for requirement in always} == {
        "aiosql",
        "cloudpickle",
        "cyclopts",
        "jsonschema",
        "msgspec",
        "platformdirs",
        "psutil",
        "pydantic",
        "rich",
    }


def test_wheel_offers_the_server_and_postgres_as_extras(wheel: Path) -> None:
    required = package_metadata(wheel).get_all("Requires-Dist", [])

    extras = {
        extra: {re.split(r"[^\w-]", one)[0] for one in required if f"extra == '{extra}'" in one}
        for extra in package_metadata(wheel).get_all("Provides-Extra", [])
    }

    assert extras == {
        "all": {"fastapi", "prometheus-client", "psycopg", "uvicorn"},
        "postgres": {"psycopg"},
        "server": {"fastapi", "prometheus-client", "psycopg", "uvicorn"},
    }


def test_every_dependency_is_pinned_by_name_and_version_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [entry for group in project["dependency-groups"].values() for entry in group]
    wanted = project["project"]["dependencies"] + [g for g in groups if isinstance(g, str)]

    names = {pin.partition("==")[0] for pin in pins}

    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+( ; [^:/]+)?", pin)] == []
    assert {re.split(r"[^\w-]", requirement)[0] for requirement in wanted} - names == set()
