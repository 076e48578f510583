from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from kitaru import settings
from kitaru.blobs import open_blobs
from kitaru.model import Claim, ExecutionStatus, StoredValue
from kitaru.store import Store, open_store
from tests.cli.conftest import Kitaru
from tests.client.journal import START, Book, kept


def test_init_makes_a_project_that_keeps_what_runs_below_it(
    here: Path, kitaru: Kitaru, monkeypatch: pytest.MonkeyPatch
):
    done = kitaru("init", "-o", "json").json
    monkeypatch.delenv("KITARU_CONFIG_PATH")

    folder = here / ".kitaru"
    assert done == {"command": "init", "item": {"project_folder": str(folder), "created": True}}
    assert (folder / ".gitignore").read_text().splitlines()[1:] == [
        "*",
        "!.gitignore",
        "!config.toml",
    ]
    assert settings.current().config_dir == folder
    assert settings.current().sources["config_dir"] == "kitaru init"


def test_init_twice_changes_nothing(here: Path, kitaru: Kitaru):
    kitaru("init", "sub/project")
    config = here / "sub" / "project" / ".kitaru" / "config.toml"
    config.write_text("retries = 3\n")

    done = kitaru("init", "sub/project")

    assert done.out == f"Already a Kitaru project: {config.parent}\n"
    assert config.read_text() == "retries = 3\n"


def test_init_where_nothing_can_be_made_says_so(here: Path, kitaru: Kitaru):
    (here / "file").write_text("")

    done = kitaru("init", "file")

    assert done.code == 2
    assert "cannot be made a project" in done.err


def test_config_shows_each_setting_with_its_source(
    config_dir: Path, kitaru: Kitaru, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KITARU_RETRIES", "2")

    rows = {row["name"]: row for row in kitaru("config", "show", "-o", "json").json["items"]}

    assert list(rows) == list(settings.VARIABLES)
    assert rows["retries"] == {
        "name": "retries",
        "value": 2,
        "source": "KITARU_RETRIES",
        "variable": "KITARU_RETRIES",
    }
    assert rows["config_dir"]["value"] == str(config_dir)


def test_config_warns_of_variables_that_mean_nothing(
    kitaru: Kitaru, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KITARU_RETRYS", "2")

    done = kitaru("config", "show")

    assert done.code == 0
    assert "retries                  -" in done.out
    assert done.err == (
        "Warning: KITARU_RETRYS is set but means nothing to Kitaru."
        " Did you mean `KITARU_RETRIES`?\n"
    )


def test_no_command_shows_credentials(kitaru: Kitaru, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KITARU_ARTIFACT_STORE", "s3://ann:geheim@bucket/kitaru")

    outputs = [kitaru(*tokens) for tokens in (["config", "show"], ["status"], ["db", "migrate"])]

    assert all("geheim" not in done.out + done.err for done in outputs)
    assert "s3://***@bucket/kitaru" in outputs[0].out


def test_status_counts_what_is_kept(config_dir: Path, kitaru: Kitaru, store: Store):
    Book.begin(store)
    Book.begin(store).end(ExecutionStatus.COMPLETED)

    shown = kitaru("status").out
    item = kitaru("status", "-o", "json").json["item"]

    assert shown == dedent(
        f"""\
        Kitaru status
          SDK version: {item["sdk_version"]}
          Connection: embedded store
          Store: sqlite://{config_dir}/kitaru.db
          Large values: file://{config_dir}/blobs
          Config directory: {config_dir}
          Project: default
          Stack: local
          Executions: 1 running, 1 completed
          Open waits: none
          Attendant: none (`kitaru up --background` starts one)
          Workers: none

        Environment
          KITARU_ATTENDANT: false
          KITARU_CONFIG_PATH: {config_dir}
        """
    )
    assert item["executions"]["completed"] == 1


def test_info_can_be_written_to_a_file(here: Path, kitaru: Kitaru):
    done = kitaru("info", "--all", "--file", "info.json")

    found = json.loads((here / "info.json").read_text())
    assert done.out == "Wrote info.json\n"
    assert "cyclopts" in found["packages"]
    assert found["settings"]["stack"] == "local (default)"


def test_info_is_shown(kitaru: Kitaru):
    shown = kitaru("info").out

    assert shown.startswith("Kitaru installation\n  Kitaru: ")
    assert "\n  Project folder: none\n" in shown


def test_info_is_only_written_as_json(kitaru: Kitaru):
    assert kitaru("info", "--file", "info.yaml").code == 2


def test_migrate_makes_the_store(config_dir: Path, kitaru: Kitaru):
    done = kitaru("db", "migrate")

    assert done.out == f"Up to date: sqlite://{config_dir}/kitaru.db\n"
    assert (config_dir / "kitaru.db").is_file()


def keep_large_value(store: Store) -> Path:
    """Keep a value as a blob and return the blob's file."""
    blobs = settings.current().artifact_store
    digest = open_blobs(blobs).put(b"x" * 50_000)
    book = Book.begin(store, id="0197")
    book.call("fetch", output=StoredValue("kitaru/1", None, digest, 50_000))
    return next(file for file in Path(blobs.removeprefix("file://")).rglob(f"*{digest[-20:]}*"))


def test_verify_of_a_healthy_store_finds_nothing(kitaru: Kitaru, store: Store):
    keep_large_value(store)

    item = kitaru("db", "verify", "-o", "json").json["item"]

    assert item == {"store": store.url, "healthy": True, "problems": []}


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_verify_finds_large_values_that_are_missing_or_damaged(
    kitaru: Kitaru, store: Store, damage: str
):
    blob = keep_large_value(store)
    blob.chmod(0o600)
    if damage == "missing":
        blob.unlink()
    else:
        blob.write_bytes(b"y" * 50_000)

    done = kitaru("db", "verify")

    assert done.code == 1
    assert "1 thing is wrong with the store" in done.err
    assert blob.name[-20:] in done.out


@pytest.mark.parametrize("damage", ["header", "pages"])
def test_damaged_store_is_told_by_all_and_can_be_removed(
    config_dir: Path, kitaru: Kitaru, store: Store, damage: str
):
    file = config_dir / "kitaru.db"
    Book.begin(store).end(ExecutionStatus.COMPLETED)
    store.close()
    whole = file.read_bytes()
    start = 0 if damage == "header" else 100
    file.write_bytes(whole[:start] + b"\xee" * (len(whole) - start))

    verified = kitaru("db", "verify")
    problems = kitaru("db", "verify", "-o", "json").json["item"]["problems"]
    shown = [kitaru("status"), kitaru("info")]
    cleaned = kitaru("clean", "global", "--yes")

    assert (verified.code, len(problems)) == (1, len(set(problems)))
    assert problems
    assert all(f"\n  {problem}\n" in verified.out for problem in problems)
    assert "db verify" not in verified.out
    for done in shown:
        assert done.code == 0
        assert "\n  Executions: damaged: " in done.out
    assert cleaned.code == 0
    assert not file.exists()


def test_clean_removes_what_is_kept_and_leaves_the_configuration(
    config_dir: Path, kitaru: Kitaru, store: Store
):
    (config_dir / "config.toml").write_text("retries = 1\n")
    keep_large_value(store)
    store.claim_executions(Claim(owner="x", lease_expires_at=1), now=START, limit=1)
    settle(store)

    preview = kitaru("clean", "global", "--dry-run", "-o", "json").json["item"]
    item = kitaru("clean", "global", "--yes", "-o", "json").json["item"]

    assert preview["deleted_paths"] == []
    assert preview["total_bytes"] > 50_000
    assert str(config_dir / "kitaru.db") in item["deleted_paths"]
    assert sorted(path.name for path in config_dir.iterdir()) == ["config.toml"]
    assert kitaru("executions", "list").out == "Kitaru executions: none found\n"


def settle(store: Store) -> None:
    """End what runs, so that nothing keeps `clean` from its work."""
    for row in store.list_running():
        Book(store, row).end(ExecutionStatus.COMPLETED)


def test_clean_refuses_while_something_runs(kitaru: Kitaru, store: Store):
    Book.begin(store, id="0197-busy")

    done = kitaru("clean", "global", "--yes")

    assert done.code == 1
    assert done.err.startswith("Error: execution '0197-busy' is running in ")


def leave_unfinished(store: Store) -> None:
    """Keep executions that can be continued: one pending, one of another project whose lease is over."""
    Book.begin(store, id="0197-pending", claim=None)
    lost = Claim(owner="gone", lease_expires_at=START)
    Book.begin(store, id="0198-lost", at=1, project="other", claim=lost)


def test_clean_refuses_while_executions_can_be_continued(
    config_dir: Path, kitaru: Kitaru, store: Store
):
    leave_unfinished(store)

    done = kitaru("clean", "global", "--yes")

    assert (done.code, done.err) == (
        1,
        "Error: executions '0197-pending' and 1 more are not over and could still be continued."
        " `kitaru executions recover` does so, `kitaru executions cancel 0197-pending` ends it,"
        " and `--force` discards what is not over.\n",
    )
    assert (config_dir / "kitaru.db").is_file()


def test_clean_shows_what_can_be_continued_and_discards_it_when_told_to(
    config_dir: Path, kitaru: Kitaru, store: Store
):
    leave_unfinished(store)

    preview = kitaru("clean", "global", "--dry-run")
    done = kitaru("clean", "global", "--force", "--yes")

    assert preview.out.endswith(
        "Executions that are not over would be lost:\n  0197-pending\n  0198-lost\n"
    )
    assert done.code == 0
    assert not (config_dir / "kitaru.db").exists()


def test_clean_asks_before_it_removes(kitaru: Kitaru, store: Store):
    Book.begin(store).end(ExecutionStatus.COMPLETED)

    done = kitaru("clean", "global")

    assert (done.code, done.err) == (2, "Error: `--yes` is needed where nobody can be asked.\n")
    assert len(kitaru("executions", "list", "-o", "json").json["items"]) == 1


def test_clean_of_nothing_says_so(kitaru: Kitaru):
    kitaru("clean", "global", "--yes")

    assert kitaru("clean", "global").out == "There is nothing to remove.\n"


def test_clean_project_needs_a_project(kitaru: Kitaru):
    done = kitaru("clean", "project", "--yes")

    assert (done.code, done.err) == (
        1,
        "Error: no Kitaru project here or above. `kitaru init` makes one.\n",
    )


def test_clean_project_leaves_the_users_own_store_alone(
    here: Path, config_dir: Path, kitaru: Kitaru, store: Store
):
    Book.begin(store).end(ExecutionStatus.COMPLETED)
    kitaru("init")
    open_store(f"sqlite://{here}/.kitaru/kitaru.db").list_running()

    done = kitaru("clean", "project", "--yes")

    assert done.out.startswith("Removed ")
    assert (config_dir / "kitaru.db").is_file()
    assert sorted(path.name for path in (here / ".kitaru").iterdir()) == [
        ".gitignore",
        "config.toml",
    ]
    assert kept(1).size > 0
