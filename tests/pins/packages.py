"""What would be deployed: the templates, and the files in the packages.

`python -m tests.pins.packages` writes them anew; tests/infra/test_template.py compares them.
"""

import json
import re
import tempfile
import zipfile
from pathlib import Path

from infra import build
from tests.infra.npm import serverless

KEPT = Path(__file__).parent / "kept"
CHOICES = {
    "external": (),
    "external-runtime": (
        "--param",
        "secret=arn:aws:secretsmanager:eu-central-1:111111111111:secret:pinglet-AbCdEf",
    ),
    "rds": (),
    "aurora": (),
}
OURS = ("core/", "handlers/", "infra/")


def template(file: Path) -> str:
    """Return a packaged template without when it was packaged."""
    text = json.dumps(json.loads(file.read_text()), indent=1, sort_keys=True)
    return re.sub(r"/[0-9]+-[0-9TZ:.-]+/", "/<time>/", text) + "\n"


def contents(package: Path) -> str:
    """Return our own files in a package but for their bytecode, and what else stands at its top."""
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
    ours = [name for name in names if name.startswith(OURS) and not name.endswith(".pyc")]
    others = {name.partition("/")[0] for name in names if not name.startswith(OURS)}
    named = {re.sub(r"-[0-9][^/]*\.dist-info$", ".dist-info", name) for name in others}
    shown = {re.sub(r"^[0-9a-f]{20}__mypyc", "<hash>__mypyc", name) for name in named}
    return "".join(f"{name}\n" for name in [*sorted(ours), "", *sorted(shown)])


def kept(name: str) -> str:
    """Return what was."""
    return (KEPT / name).read_text(encoding="utf-8")


def main() -> None:
    """Build the packages, package a template for each choice of database, and keep them."""
    for package in build.build("arm64", build.ROOT / "build"):
        (KEPT / f"{package.stem}-files.txt").write_text(contents(package), encoding="utf-8")
    for choice, more in CHOICES.items():
        with tempfile.TemporaryDirectory() as folder:
            parameters = ("--param", f"database={choice}", *more)
            serverless("package", "--stage", "prod", "--package", folder, *parameters)
            written = template(Path(folder, "cloudformation-template-update-stack.json"))
        (KEPT / f"template-{choice}.json").write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
