"""The package as users get it: built from the tracked files, installed in a new environment, used outside the checkout."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]


def run(*command: str | Path, folder: Path) -> str:
    """Run a program and return its output. The assertion message includes its errors."""
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a copy of all files that are tracked or would be: without caches, databases and build results."""
    copy = tmp_path_factory.mktemp("source")
    for name in run("git", "ls-files", "-coz", "--exclude-standard", folder=CHECKOUT).split("\0"):
        if (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, copy / name)
    return copy


def build(source: Path, folder: Path, *kind: str) -> Path:
    """Build distributions into a folder with the hatchling of the test environment. Returns the folder."""
    run(sys.executable, "-m", "build", "--no-isolation", *kind, "--outdir", folder, source, folder=folder.parent)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the wheel built directly from the source."""
    (wheel,) = build(source, tmp_path_factory.mktemp("wheel"), "--wheel").iterdir()
    return wheel


@pytest.fixture(scope="module")
def sdist_and_its_wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The paths of the sdist and of the wheel built from it."""
    folder = build(source, tmp_path_factory.mktemp("sdist"))
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_contains_the_package_and_its_migrations_and_nothing_else(wheel: Path, source: Path) -> None:
    names = names_in(wheel)
    package = {name for name in names if ".dist-info/" not in name}

    expected = {f"fine_tuning_store/{path.relative_to(source)}" for path in (source / "migrations").rglob("*") if path.is_file()}
    expected |= {path.relative_to(source).as_posix() for path in (source / "fine_tuning_store").rglob("*") if path.is_file()}
    assert package == expected
    assert {"fine_tuning_store/py.typed", "fine_tuning_store/migrations/env.py", "fine_tuning_store/migrations/script.py.mako"} < package
    assert any(name.startswith("fine_tuning_store/migrations/versions/0001_") for name in package)
    assert {name.split("/")[0] for name in names} == {"fine_tuning_store", f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_sdist_contains_the_whole_source_and_builds_the_same_wheel(
    sdist_and_its_wheel: tuple[Path, Path], wheel: Path, source: Path
) -> None:
    sdist, its_wheel = sdist_and_its_wheel
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}

    assert {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()} <= names
    assert {"README.md", "LICENSE", "pyproject.toml", "alembic.ini", "migrations/env.py", "tests/conftest.py", "PKG-INFO"} <= names
    assert names_in(its_wheel) == names_in(wheel)


@dataclass
class Installed:
    """The package in a virtual environment: its interpreter, and where code and migrations are expected."""

    python: Path
    package: Path
    migrations: Path


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request: pytest.FixtureRequest, source: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the wheel, or the source in editable mode, with dependencies but without extras."""
    folder = tmp_path_factory.mktemp(request.param)
    run(sys.executable, "-m", "venv", folder, folder=folder)
    python = folder / "bin" / "python"
    what = [wheel] if request.param == "wheel" else ["--editable", source]
    run(python, "-m", "pip", "install", "--disable-pip-version-check", *what, folder=folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    package = site_packages / "fine_tuning_store"
    if request.param == "wheel":
        return Installed(python, package, package / "migrations")
    assert not package.exists()  # a copy there would go stale
    return Installed(python, source / "fine_tuning_store", source / "migrations")


USE = """
import json, sys

executed = set()
sys.addaudithook(lambda event, arguments: executed.add(arguments[0].co_filename) if event == "exec" else None)

from sqlalchemy import inspect
from fine_tuning_store import FineTuningStore

results = {}
with FineTuningStore.from_url("sqlite:///jobs.db") as store:
    store.schema.upgrade()
    store.schema.downgrade("base")
    results["at base"] = [inspect(store.engine).get_table_names(), store.schema.current()]
    store.schema.upgrade()
    results["at head"] = store.schema.current() == store.schema.head()
    results["differences"] = store.schema.check()
    job = store.jobs.create(organization_id="org-1", model="gpt-4o-mini", training_file="file-abc")
    results["read back"] = store.jobs.get(job.id) == job
results["executed"] = sorted(executed)
print(json.dumps(results))
"""


def test_an_installed_package_migrates_and_stores_a_job_outside_its_source(installed: Installed, tmp_path: Path) -> None:
    results: dict[str, Any] = json.loads(run(installed.python, "-I", "-W", "error", "-c", USE, folder=tmp_path))

    assert results["at base"] == [[], None]
    assert (results["at head"], results["differences"], results["read back"]) == (True, [], True)
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.db"]
    executed = {Path(name) for name in results["executed"]}
    assert installed.package / "__init__.py" in executed
    migrations = {path for path in executed if "migrations" in path.parts}
    assert migrations == {installed.migrations / "operations.py", *(installed.migrations / "versions").glob("*.py")}


IN_CODE = """
import sys
from alembic import command
from alembic.config import Config
from fine_tuning_store.schema import migrations_path

config = Config("host_one_history/alembic.ini")
config.set_main_option("version_locations", f"host_one_history/versions\\n{migrations_path() / 'versions'}")
getattr(command, sys.argv[1])(config, sys.argv[2])
"""
WITH_HOST_VERSION_TABLE = """
import os
from fine_tuning_store import FineTuningStore

with FineTuningStore.from_url(os.environ["DATABASE_URL"], host_version_table="alembic_version") as store:
    print(store.schema.current() == store.schema.head(), *store.schema.check())
"""


def test_an_application_runs_the_stores_revisions_in_its_own_history(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use alembic.ini if the wheel is installed. In a checkout the revisions are elsewhere, so that only a Config made in code works."""
    monkeypatch.setenv("DATABASE_URL", "sqlite:///jobs.db")
    shutil.copytree(CHECKOUT / "examples" / "host_one_history", tmp_path / "host_one_history")
    python: tuple[str | Path, ...] = (installed.python, "-I", "-W", "error")
    in_code = (*python, "-c", IN_CODE)
    from_ini = (*python, "-m", "alembic", "-c", "host_one_history/alembic.ini")

    for alembic in (in_code, from_ini) if installed.package.parent.name == "site-packages" else (in_code,):
        run(*alembic, "upgrade", "heads", folder=tmp_path)
        assert run(*python, "-c", WITH_HOST_VERSION_TABLE, folder=tmp_path) == "True\n"
        run(*alembic, "downgrade", "base", folder=tmp_path)


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_an_empty_application_gets_its_first_revisions_in_its_own_folder(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Follow docs/alembic.md."""
    if installed.package.parent.name != "site-packages":
        pytest.skip("the page is about an installed wheel")
    page = CHECKOUT / "docs" / "alembic.md"
    (ini,), (env,), (commands,) = (code_blocks(page, language) for language in ("ini", "py", "sh"))
    monkeypatch.setenv("DATABASE_URL", "sqlite:///jobs.db")
    alembic = installed.python.with_name("alembic")
    before = sorted(installed.package.rglob("*.py"))

    run(alembic, "init", "migrations", folder=tmp_path)
    settings = (tmp_path / "alembic.ini").read_text()
    assert settings.count("path_separator = os\n") == 1
    (tmp_path / "alembic.ini").write_text(settings.replace("path_separator = os\n", ini))
    (tmp_path / "migrations" / "env.py").write_text(env)
    shutil.copy(CHECKOUT / "examples" / "host_one_history" / "models.py", tmp_path)
    for line in commands.splitlines():
        run(alembic, *shlex.split(line)[1:], folder=tmp_path)
    run(alembic, "revision", "-m", "empty", folder=tmp_path)
    run(alembic, "upgrade", "heads", folder=tmp_path)
    refused = subprocess.run(
        [alembic, "revision", "-m", "wrong", "--head", "fine_tuning_store@head"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert "leave out --head" in refused.stderr + refused.stdout
    assert sorted(installed.package.rglob("*.py")) == before
    first, empty = sorted((tmp_path / "migrations" / "versions").glob("*.py"), key=lambda path: path.stat().st_mtime)
    assert "create_table('charges'" in first.read_text()
    assert not re.search(r"(import|from) +fine_tuning_store|fine_tuning_store\.", first.read_text())
    assert "pass" in empty.read_text()
    monkeypatch.setenv("DATABASE_URL", "sqlite:///another.db")  # a first deployment
    run(alembic, "upgrade", "heads", folder=tmp_path)
    run(alembic, "check", folder=tmp_path)
    run(alembic, "downgrade", "base", folder=tmp_path)


def test_without_its_extra_the_command_line_says_how_to_install_it(installed: Installed, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed.python.with_name("fine-tuning-store"), "db", "state"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    message = "the command line is an extra: pip install 'fine-tuning-store[cli]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


COST = """
from time import process_time
began = process_time()
import sqlalchemy.orm

start = process_time()
from fine_tuning_store import FineTuningStore
print(process_time() - start, start - began)
"""
MODULES = """
import sys, fine_tuning_store
print(*sys.modules)
"""


def test_importing_the_package_takes_little_more_time_than_importing_sqlalchemy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    run(sys.executable, "-c", COST, folder=tmp_path)  # compiles modules that were not compiled yet

    costs = [tuple(map(float, run(sys.executable, "-c", COST, folder=tmp_path).split())) for _ in range(15)]

    package_cost, sqlalchemy_cost = map(min, zip(*costs, strict=True))  # seconds of CPU time of the process
    assert package_cost <= 0.15 * max(1, sqlalchemy_cost / 0.18), costs  # above 0.18 s for SQLAlchemy, the machine is slow or busy


def test_importing_the_package_loads_neither_alembic_nor_a_driver_nor_a_command_line(tmp_path: Path) -> None:
    loaded = {name.split(".")[0] for name in run(sys.executable, "-c", MODULES, folder=tmp_path).split()}

    assert {"fine_tuning_store", "sqlalchemy"} < loaded
    assert not loaded & {"alembic", "mako", "typer", "click", "rich", "psycopg", "psycopg2", "asyncpg", "pymysql", "aiomysql", "aiosqlite"}
