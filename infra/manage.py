"""Run a command of `flask` in the cloud: python -m infra.manage FUNCTION COMMAND...

    python -m infra.manage pinglet-prod-manage db upgrade
    python -m infra.manage pinglet-prod-manage servers import - <servers.csv

Standard input goes along where it is a file or a pipe; the output and the exit code come back.
It calls `aws lambda invoke`, so it uses whatever login that has.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Invoke; return the command's exit code, or 1 when the function itself failed."""
    if len(arguments) < 2:
        print(__doc__)
        return 2
    function, *command = arguments
    given = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    with tempfile.TemporaryDirectory() as folder:
        event, answer = Path(folder, "event.json"), Path(folder, "answer.json")
        event.write_text(json.dumps({"command": command, "input": given}), encoding="utf-8")
        invoke = ["aws", "lambda", "invoke", "--function-name", function]
        invoke += ["--cli-binary-format", "raw-in-base64-out", "--cli-read-timeout", "900"]
        # By a file: a password must not stand in the list of processes.
        invoke += ["--payload", f"file://{event}", str(answer)]
        subprocess.run(invoke, check=True, stdout=subprocess.DEVNULL)
        done = json.loads(answer.read_text(encoding="utf-8"))
    if "exit_code" not in done:
        print(json.dumps(done), file=sys.stderr)
        return 1
    print(done["output"], end="")
    code: int = done["exit_code"]
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
