from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest

from kitaru import settings
from kitaru.errors import KitaruUsageError
from kitaru.retention import RetentionRule
from kitaru.settings import Settings


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in os.environ if name.startswith("KITARU_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setattr(
        "platformdirs.user_data_dir", lambda name, appauthor: str(home / "data" / name)
    )
    work = home / "work" / "deep"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    settings.forget()
    yield work
    settings.forget()


def read_anew() -> Settings:
    settings.forget()
    return settings.current()


def write_pyproject(folder: Path, text: str) -> Path:
    file = folder / "pyproject.toml"
    file.write_text(f"[tool.kitaru]\n{text}\n")
    return file


def write_project(folder: Path, text: str = "") -> Path:
    (folder / ".kitaru").mkdir()
    file = folder / ".kitaru" / "config.toml"
    file.write_text(text + "\n")
    return file


def write_user_file(home: Path, text: str) -> Path:
    file = home / "data" / "kitaru" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text + "\n")
    return file


def test_defaults_need_no_file_and_no_variable(place: Path):
    data = place.parents[1] / "data" / "kitaru"

    found = settings.current()

    assert found == Settings(
        config_dir=data,
        store_url=f"sqlite://{data}/kitaru.db",
        artifact_store=f"file://{data}/blobs",
    )
    assert set(found.sources.values()) == {"default"}


LAYERS = ["user", "project", "pyproject", "environment", "configure", "argument"]


@pytest.mark.parametrize("count", range(len(LAYERS) + 1))
def test_each_layer_wins_over_the_ones_before_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, count: int
):
    sources = ["default"]
    given = LAYERS[:count]
    home = place.parents[1]
    if "user" in given:
        sources.append(str(write_user_file(home, 'project = "user"')))
    if "project" in given:
        sources.append(str(write_project(place.parent, 'project = "project"')))
    if "pyproject" in given:
        sources.append(str(write_pyproject(place.parent, 'project = "pyproject"')))
    if "environment" in given:
        monkeypatch.setenv("KITARU_PROJECT", "environment")
        sources.append("KITARU_PROJECT")
    found = read_anew()
    if "configure" in given:
        found = settings.override(project="configure")
        sources.append("configure()")
    if "argument" in given:
        found = found.having(project="argument")
        sources.append("argument")

    assert found.project == (["default", *given][-1])
    assert found.sources["project"] == sources[-1]


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("KITARU_PROJECT", "research", "project", "research"),
        ("KITARU_CACHE", "yes", "cache", True),
        ("KITARU_CACHE", "OFF", "cache", False),
        ("KITARU_RETRIES", "3", "retries", 3),
        ("KITARU_ALLOW_PICKLE", "0", "allow_pickle", False),
        ("KITARU_MAX_WORKERS", "4", "max_workers", 4),
        ("KITARU_CAPTURE_LOGS", "false", "capture_logs", False),
        ("KITARU_DEBUG", "true", "debug", True),
        ("KITARU_LEASE_SECONDS", "30", "lease_seconds", 30.0),
        ("KITARU_LEASE_RENEW_SECONDS", "0.5", "lease_renew_seconds", 0.5),
        ("KITARU_STORE_URL", "sqlite:///var/k.db", "store_url", "sqlite:///var/k.db"),
        ("KITARU_ARTIFACT_STORE", "file:///var/b", "artifact_store", "file:///var/b"),
        ("KITARU_RETRIES", "  ", "retries", None),
    ],
)
def test_variables_become_values_of_the_fields_type(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
):
    monkeypatch.setenv(variable, text)

    assert getattr(settings.current(), field) == value


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("KITARU_RETRIES", "x", "a whole number, 0 or more, got: 'x'"),
        ("KITARU_RETRIES", "-1", "a whole number, 0 or more, got: -1"),
        ("KITARU_CACHE", "maybe", "true or false, got: 'maybe'"),
        ("KITARU_MAX_WORKERS", "0", "a whole number, 1 or more, got: 0"),
        ("KITARU_LEASE_SECONDS", "nan", "a number of seconds above 0, got: nan"),
        ("KITARU_STORE_URL", "k.db", "a URL like 'sqlite:///path/kitaru.db', got: 'k.db'"),
    ],
)
def test_bad_variable_is_named_with_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, expected: str
):
    monkeypatch.setenv(variable, text)

    with pytest.raises(KitaruUsageError) as caught:
        settings.current()

    assert str(caught.value) == f"expected {variable} to be {expected}"


def test_settings_that_contradict_each_other_are_both_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KITARU_LEASE_RENEW_SECONDS", "9")

    with pytest.raises(KitaruUsageError) as caught:
        settings.current()

    assert str(caught.value) == (
        "expected `lease_renew_seconds` to be below `lease_seconds` (8, from default), got: 9"
        " (from KITARU_LEASE_RENEW_SECONDS)"
    )


def test_unknown_key_in_a_file_names_the_file_and_the_likely_key(place: Path):
    file = write_pyproject(place.parent, "retry = 3")

    with pytest.raises(KitaruUsageError) as caught:
        read_anew()

    assert str(caught.value) == (
        f"unknown key `retry` in [tool.kitaru] of '{file}'. Did you mean `retries`?"
    )


def test_key_that_was_renamed_names_its_successor(place: Path):
    write_pyproject(place.parent, 'runner = "x"')

    with pytest.raises(KitaruUsageError, match="Did you mean `stack`"):
        read_anew()


def test_bad_value_in_a_file_names_the_key_and_the_file(place: Path):
    file = write_project(place, 'retries = "many"')

    with pytest.raises(KitaruUsageError) as caught:
        read_anew()

    assert str(caught.value) == (
        f"expected `retries` in '{file}' to be a whole number, 0 or more, got: 'many'"
    )


@pytest.mark.parametrize("text", ["stack = ", "stack = \udcff"])
def test_broken_file_is_named(place: Path, text: str):
    file = write_project(place)
    file.write_text(text, errors="surrogateescape")

    with pytest.raises(KitaruUsageError, match=f"settings file '{file}' is not valid TOML"):
        read_anew()


def test_table_that_is_no_table_is_refused(place: Path):
    (place / "pyproject.toml").write_text("[tool]\nkitaru = 3\n")

    with pytest.raises(
        KitaruUsageError, match=r"expected \[tool.kitaru\] of .* to be a table, got: 3"
    ):
        read_anew()


def test_broken_pyproject_that_never_names_kitaru_is_left_alone(place: Path):
    (place / "pyproject.toml").write_text("[tool.other\n")

    assert read_anew().project == "default"


def test_only_the_nearest_pyproject_counts(place: Path):
    write_pyproject(place.parent, 'project = "outer"')
    (place / "pyproject.toml").write_text("[project]\nname = 'x'\n")

    assert read_anew().project == "default"


def test_runs_below_a_project_folder_are_kept_there(place: Path):
    project = write_project(place.parent).parent

    found = read_anew()

    assert found.config_dir == project
    assert found.store_url == f"sqlite://{project}/kitaru.db"
    assert found.sources["config_dir"] == "kitaru init"
    assert settings.find_project() == project


def test_folder_of_the_former_kitaru_is_no_project(place: Path):
    (place / ".kitaru").mkdir()
    (place / ".kitaru" / "config.yaml").write_text("active_stack_id: x\n")

    assert read_anew().sources["config_dir"] == "default"


def test_config_path_wins_over_the_project_folder(place: Path, monkeypatch: pytest.MonkeyPatch):
    write_project(place)
    monkeypatch.setenv("KITARU_CONFIG_PATH", "elsewhere")

    found = settings.current()

    assert found.config_dir == place / "elsewhere"
    assert found.artifact_store == f"file://{place}/elsewhere/blobs"


def test_folders_with_odd_names_become_urls_that_name_them(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KITARU_CONFIG_PATH", "50 % of #1")

    found = settings.current()

    assert found.store_url == f"sqlite://{place}/50%20%25%20of%20%231/kitaru.db"
    assert found.artifact_store == f"file://{place}/50%20%25%20of%20%231/blobs"


def test_settings_follow_the_working_directory(place: Path, monkeypatch: pytest.MonkeyPatch):
    write_pyproject(place, 'project = "here"')
    before = read_anew().project
    monkeypatch.chdir(place.parent)

    assert (before, settings.current().project) == ("here", "default")


def test_unchanged_surroundings_give_the_same_object():
    assert settings.current() is settings.current()


def test_none_takes_an_override_back():
    settings.override(project="x", retries=2)

    found = settings.override(project=None)

    assert (found.project, found.retries) == ("default", 2)
    assert settings.overrides() == {"retries": 2}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"retries": -1},
            "expected `configure(retries=…)` to be a whole number, 0 or more, got: -1",
        ),
        ({"stak": "x"}, "unknown setting `stak`. Did you mean `stack`?"),
        ({"stak": None}, "unknown setting `stak`. Did you mean `stack`?"),
    ],
)
def test_bad_override_changes_nothing(values: dict[str, object], message: str):
    with pytest.raises(KitaruUsageError) as caught:
        settings.override(project="other", **values)

    assert str(caught.value) == message
    assert settings.current().project == "default"


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"stack": "ray"}, KitaruUsageError, "unknown stack 'ray'. Installed: 'local'."),
        ({"store_url": "mongodb://x"}, KitaruUsageError, "unknown kind of store 'mongodb'."),
    ],
)
def test_what_this_version_lacks_is_refused_where_it_is_named(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, str],
    error: type[Exception],
    message: str,
):
    before = settings.current()
    with pytest.raises(error) as caught:
        settings.override(**values)
    after = settings.current()
    for name, value in values.items():
        monkeypatch.setenv(settings.VARIABLES[name], value)
    with pytest.raises(error, match=re.escape(message)):
        settings.current()

    assert str(caught.value).startswith(message)
    assert "geheim" not in str(caught.value)
    assert after == before


def test_override_that_contradicts_another_setting_changes_nothing():
    with pytest.raises(KitaruUsageError, match="lease_renew_seconds"):
        settings.override(lease_seconds=1)

    assert settings.current().lease_seconds == 8.0


def test_unknown_variables_are_told_with_the_likely_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KITARU_RETRYS", "3")
    monkeypatch.setenv("KITARU_RUNNER", "x")
    monkeypatch.setenv("KITARU_TEST_POSTGRES_URL", "x")

    assert settings.unknown_variables() == {
        "KITARU_RETRYS": " Did you mean `KITARU_RETRIES`?",
        "KITARU_RUNNER": " Did you mean `KITARU_STACK`?",
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:geheim@db/k", "postgresql://***@db/k"),
        (
            "postgresql://db/k?user=a&password=geheim&x=1",
            "postgresql://db/k?user=a&password=***&x=1",
        ),
        ("s3://bucket/p?secret_access_key=geheim", "s3://bucket/p?secret_access_key=***"),
        ("sqlite:///var/a@b/kitaru.db", "sqlite:///var/a@b/kitaru.db"),
    ],
)
def test_credentials_in_urls_are_masked(url: str, shown: str):
    assert settings.masked_url(url) == shown


def test_nothing_secret_is_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KITARU_ARTIFACT_STORE", "s3://ann:geheim@bucket/k")
    monkeypatch.setenv("KITARU_AUTH_TOKEN", "geheim")

    found = settings.current()
    monkeypatch.setenv("KITARU_STORE_URL", "postgresql://ann:geheim@db/k")

    assert "geheim" not in repr(found) + repr(settings.environment())
    assert settings.environment()["KITARU_STORE_URL"] == "postgresql://***@db/k"


def test_removed_working_directory_is_survived(place: Path):
    place.rmdir()

    assert settings.current().stack == "local"


def test_retention_is_a_list_of_tables_in_files(place: Path):
    write_pyproject(
        place,
        'retries = 1\n[[tool.kitaru.retention]]\nolder_than = "30d"\n'
        '[[tool.kitaru.retention]]\nflows = ["nightly"]\nkeep = 5',
    )

    assert read_anew().retention == (
        RetentionRule(older_than=timedelta(days=30)),
        RetentionRule(flows=("nightly",), keep=5),
    )


def test_retention_is_a_json_list_in_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KITARU_RETENTION", '[{"older_than": 60}]')

    assert settings.current().retention == (RetentionRule(older_than=timedelta(minutes=1)),)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("30d", "expected KITARU_RETENTION to be a list of rules"),
        ('[{"olderthan": 1}]', "unknown key `olderthan` in rule 1 of KITARU_RETENTION."),
    ],
)
def test_retention_that_makes_no_sense_is_told(
    monkeypatch: pytest.MonkeyPatch, written: str, said: str
):
    monkeypatch.setenv("KITARU_RETENTION", written)

    with pytest.raises(KitaruUsageError, match=re.escape(said)):
        settings.current()


SERVER = "https://kitaru.example.com"


def test_a_server_is_the_store_and_keeps_large_values(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KITARU_SERVER_URL", SERVER + "/")

    found = settings.current()

    assert (found.server_url, found.store_url, found.artifact_store) == (SERVER, SERVER, SERVER)
    assert found.sources["store_url"] == "KITARU_SERVER_URL"


def test_a_store_of_a_stronger_or_equal_source_stands_above_a_server(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    write_user_file(place.parents[1], f'server_url = "{SERVER}"')
    data = place.parents[1] / "data" / "kitaru"
    monkeypatch.setenv("KITARU_STORE_URL", "sqlite:///var/k.db")

    found = read_anew()
    assert (found.store_url, found.artifact_store) == ("sqlite:///var/k.db", f"file://{data}/blobs")

    monkeypatch.setenv("KITARU_SERVER_URL", "http://localhost:1")
    found = settings.current()
    assert found.store_url == "sqlite:///var/k.db"


def test_a_server_stands_above_a_store_of_a_weaker_source(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    write_pyproject(place, 'store_url = "sqlite:///var/k.db"\nartifact_store = "file:///var/b"')
    monkeypatch.setenv("KITARU_SERVER_URL", SERVER)

    found = read_anew()

    assert (found.store_url, found.artifact_store) == (SERVER, SERVER)


def test_a_token_in_a_file_goes_to_the_server_that_the_file_names_only(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    write_user_file(place.parents[1], f'server_url = "{SERVER}"\nauth_token = "mine"')
    assert read_anew().access.auth_token == "mine"

    write_pyproject(place, 'server_url = "https://elsewhere.example"')
    elsewhere = read_anew()
    assert elsewhere.store_url == "https://elsewhere.example"
    assert elsewhere.access.auth_token is None
    assert elsewhere.sources["auth_token"] == "default"

    monkeypatch.setenv("KITARU_AUTH_TOKEN", "given")
    assert read_anew().access.auth_token == "given"


def test_a_server_that_is_given_as_an_argument_gets_no_token_from_a_file(place: Path):
    write_user_file(place.parents[1], f'server_url = "{SERVER}"\nauth_token = "mine"')
    found = read_anew()

    assert found.having(server_url="http://localhost:8422").auth_token is None
    assert found.having(server_url=SERVER).auth_token == "mine"
    assert found.having(server_url="http://a", auth_token="given").auth_token == "given"


def test_a_token_is_never_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KITARU_AUTH_TOKEN", "geheim")
    found = settings.current()

    assert "geheim" not in repr(found)
    assert "geheim" not in repr(found.access)
    assert settings.environment()["KITARU_AUTH_TOKEN"] == "***"
    assert settings.shown("auth_token", found.auth_token) == "***"
    monkeypatch.setenv("KITARU_AUTH_TOKEN", "ge heim")
    with pytest.raises(KitaruUsageError) as caught:
        settings.current()
    assert "heim" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["kitaru.example.com", "ftp://a", "http://", "http://a:x", "http://u:p@a", "http://a?b=c", "http://[a"],
)  # fmt: skip
def test_what_is_no_url_of_a_server_is_refused(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("KITARU_SERVER_URL", url)

    with pytest.raises(KitaruUsageError, match="KITARU_SERVER_URL to be a URL like"):
        settings.current()


def test_another_process_is_told_of_the_server_and_the_token(monkeypatch: pytest.MonkeyPatch):
    found = settings.override(server_url=SERVER, auth_token="geheim", verify_ssl=False)

    told = settings.environment_of(found)

    assert (told["KITARU_STORE_URL"], told["KITARU_ARTIFACT_STORE"]) == (SERVER, SERVER)
    assert (told["KITARU_AUTH_TOKEN"], told["KITARU_VERIFY_SSL"]) == ("geheim", "false")
