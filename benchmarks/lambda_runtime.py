"""Lambda's part, played on this machine: a package unpacked in an empty folder, AWS's own client.

awslambdaric is what runs a function on Lambda; it asks an HTTP interface for events and posts the
answers there. This is that interface. Source:
docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import boto3

RUNTIME = (
    "awslambdaric",
    "runtime_client*.so",
    "simplejson",
    "snapshot_restore_py*",
    "boto3",
    "botocore",
    "s3transfer",
    "jmespath",
    "urllib3",
    "dateutil",
    "six.py",
)


@dataclass(frozen=True)
class Answer:
    """What came of an event: the function's value, or what it raised."""

    value: Any
    failed: bool
    at_s: float  # monotonic


class Server(ThreadingHTTPServer):
    """Doesn't mind when a client is killed."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


def _link_runtime(folder: Path) -> None:
    """Make what Lambda has besides the package: its client and boto3, nothing else."""
    folder.mkdir(parents=True)
    installed = Path(boto3.__file__).parent.parent
    for name in RUNTIME:
        for path in installed.glob(name):
            (folder / path.name).symlink_to(path)


class Runtime:
    """One container: a process that answers events one after the other."""

    def __init__(
        self,
        package: Path,
        folder: Path,
        handler: str,
        environment: dict[str, str],
        log: int | None = None,
    ) -> None:
        """`folder` is empty; the package is unpacked there. `log` as subprocess has it."""
        with zipfile.ZipFile(package) as archive:
            archive.extractall(folder / "task")
        self.folder = folder / "task"
        self.runtime = folder / "runtime"
        _link_runtime(self.runtime)
        self.handler = handler
        self.environment = environment
        self.log = log
        self.events: queue.Queue[Any] = queue.Queue()
        self.answers: queue.Queue[Answer] = queue.Queue()
        self.server = Server(("127.0.0.1", 0), _interface(self))
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0

    def __enter__(self) -> Self:
        self.thread.start()
        self.started_s = time.monotonic()
        # -S: no library of this machine's, so that one that the package lacks is missed.
        command = [sys.executable, "-S", "-P", "-m", "awslambdaric", self.handler]
        surroundings = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": "pinglet-test",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "LAMBDA_TASK_ROOT": str(self.folder),
            "PYTHONPATH": f"{self.folder}{os.pathsep}{self.runtime}",
            "PATH": os.environ["PATH"],
        }
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=surroundings | self.environment, stdout=self.log
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def invoke(self, event: object, timeout_s: float = 60) -> Answer:
        """Return what the function answers. Raises queue.Empty when it doesn't."""
        self.events.put(event)
        return self.answers.get(timeout=timeout_s)


def _interface(runtime: Runtime) -> type[BaseHTTPRequestHandler]:
    class Interface(BaseHTTPRequestHandler):
        """The runtime interface: next event, its answer, its error."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            event = json.dumps(runtime.events.get()).encode()
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", "1")
            deadline_ms = int(1000 * (time.time() + 30))
            self.send_header("Lambda-Runtime-Deadline-Ms", str(deadline_ms))
            self.send_header(
                "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:x:1:function:pinglet-test"
            )
            self.send_header("Lambda-Runtime-Trace-Id", "Root=1-0-0")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(event)))
            self.end_headers()
            self.wfile.write(event)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            failed = not self.path.endswith("/response")
            runtime.answers.put(Answer(json.loads(body), failed, time.monotonic()))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Interface
