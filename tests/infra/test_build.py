"""The packages: the same to the last byte, within budget, with all they need and nothing else."""

import sys
import zipfile
from pathlib import Path

import pytest

from handlers.http.pages import LIBRARIES
from infra import build
from tests.infra.npm import ROOT, need_tools
from tests.pins import packages as pinned

pytestmark = pytest.mark.xdist_group("npm")  # one packs at a time: they share a folder


needs_its_python = pytest.mark.skipif(
    f"{sys.version_info[0]}.{sys.version_info[1]}" != build.PYTHON,
    reason=f"the packages are built by Python {build.PYTHON}, which is tested as well",
)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both packages for arm64."""
    need_tools()
    return build.build("arm64", tmp_path_factory.mktemp("packages"))


@needs_its_python
def test_a_package_built_again_is_the_same_to_the_last_byte(
    packages: list[Path], tmp_path: Path
) -> None:
    again = build.build("arm64", tmp_path)
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in packages]


@needs_its_python
def test_the_packages_hold_the_files_that_are_kept(packages: list[Path]) -> None:
    for package in packages:
        assert pinned.contents(package) == pinned.kept(f"{package.stem}-files.txt")


@needs_its_python
def test_packages_are_within_their_budgets(packages: list[Path]) -> None:
    for package in packages:
        assert package.stat().st_size <= 1e6 * build.BUDGETS_MB[package.name], package.name


@needs_its_python
def test_the_prober_is_packed_with_one_library_and_without_the_database(
    packages: list[Path],
) -> None:
    names = _names(packages[1])
    tops = {name.split("/")[0].partition("-")[0] for name in names}
    assert tops == {"core", "handlers", "infra", "msgspec"}
    assert not any("models" in name or "database" in name for name in names)


@needs_its_python
def test_a_package_holds_bytecode_for_all_its_source_and_the_terms_of_its_libraries(
    packages: list[Path],
) -> None:
    for package in packages:
        names = _names(package)
        sources = {name for name in names if name.endswith(".py")}
        compiled = {name for name in names if name.endswith(".pyc")}
        assert len(sources) == len(compiled)
    assert "rds.pem" in _names(packages[0])
    assert any(name.startswith("flask-") and "METADATA" in name for name in _names(packages[0]))
    assert not any("wsgi_handler" in name for name in _names(packages[0]))


@needs_its_python
def test_the_pages_are_packed_with_all_they_load_and_its_terms(packages: list[Path]) -> None:
    names = set(_names(packages[0]))
    ours = {
        f"handlers/http/static/{path.name}" for path in (ROOT / "handlers/http/static").iterdir()
    }
    assert ours <= names
    assert f"node_modules/{LIBRARIES['chart.js'].path.as_posix()}" in names
    assert "node_modules/chart.js/LICENSE.md" in names
    assert not any(name.startswith("infra/") and name.endswith(".js") for name in names)


def _names(package: Path) -> list[str]:
    with zipfile.ZipFile(package) as archive:
        return archive.namelist()


def test_the_lock_holds_what_the_functions_require_and_nothing_of_the_terminal() -> None:
    locked = {line.split("==")[0] for line in build.LOCK.read_text().splitlines() if "==" in line}
    wanted = {line.split(">=")[0] for line in build.requirements()}
    assert wanted <= locked
    assert not locked & build.LOCAL_ONLY
