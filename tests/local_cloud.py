"""A cloud on this machine, with Pinglet deployed into it: `make cloud`, and the end-to-end test.

    python -m tests.local_cloud up      start it, deploy, add a user and servers, print the URL
    python -m tests.local_cloud down    end it and leave nothing behind

ministack plays AWS's part without containers: it runs the very packages that would be uploaded, on
this machine's Python, against a real Postgres. It is for correctness, not for speed.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

import boto3

from tests.infra.npm import ROOT, need_tools, serverless
from tests.postgres import Postgres, free_port

REGION = "eu-central-1"
VENV = ROOT / ".venv-cloud"
REQUIREMENTS = ROOT / "tests" / "cloud-requirements.txt"
RUNNING = ROOT / "build" / "cloud.json"  # how `down` finds what `up` left running
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
SERVERS = 5


def need_ministack() -> None:
    """Have the local cloud's own virtual environment."""
    ready = VENV / "installed"
    if ready.exists() and ready.read_text() == REQUIREMENTS.read_text():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    install = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-qq"]
    install += ["--disable-pip-version-check", "--requirement", str(REQUIREMENTS)]
    subprocess.run(install, check=True)
    ready.write_text(REQUIREMENTS.read_text())


class LocalCloud:
    """A running cloud, with a Postgres beside it."""

    stage = "local"

    def __init__(self) -> None:
        need_tools()
        need_ministack()
        self.folder = Path(tempfile.mkdtemp(prefix="pinglet-cloud-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.keys = {
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
        }
        self.postgres = Postgres()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.postgres.start()
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        cloud = {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_REGION": REGION,
            "STATE_DIR": str(self.folder / "state"),
            "TMPDIR": str(self.folder),
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(VENV / "bin" / "ministack")],
                stdout=log,
                stderr=log,
                env=ours | cloud,
                start_new_session=True,  # with the functions' processes, which end with it
            )
        self._await_ready()

    def _await_ready(self) -> None:
        give_up = time.monotonic() + 250
        while not self._answers():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(self.log()[-2000:])
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            # Our own address.
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5):  # noqa: S310
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """End all of it; leave no file."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGTERM)
                self.process.wait(10)
            except ProcessLookupError:
                pass
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.postgres.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return what the cloud and the functions have said."""
        return (self.folder / "log").read_text(errors="replace")

    def client(self, service: str) -> Any:
        """Return a boto3 client of this cloud."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    # Pinglet in it

    def keep_secret(self) -> None:
        """Put the database's URL where the deploy looks for it."""
        self.client("secretsmanager").create_secret(
            Name="pinglet/database", SecretString=self.postgres.url()
        )

    def deploy(self, *what: str) -> str:
        """Deploy, all or what is said; return what the framework says."""
        parameters = {
            "architecture": ARCHITECTURES[os.uname().machine],
            "coverage": "unwatched",
            "hosts": "*",  # the host that a browser uses has a name made up in the deploy
            "loopback": "1",
        }
        arguments = [part for item in parameters.items() for part in ("--param", "=".join(item))]
        # Looking every 300 ms instead of every 5 s: this cloud is done in a second.
        return self._serverless("deploy", *what, *arguments, SLS_AWS_MONITORING_FREQUENCY="300")

    def remove(self) -> str:
        """Remove what was deployed."""
        return self._serverless("remove", SLS_AWS_MONITORING_FREQUENCY="300")

    def _serverless(self, command: str, *arguments: str, **environment: str) -> str:
        return serverless(
            command,
            "--stage",
            self.stage,
            *arguments,
            NODE_NO_WARNINGS="1",
            **self.keys,
            **environment,
        )

    def invoke(self, function: str, event: object) -> Any:
        """Invoke a function and return its answer. Raises RuntimeError with what it raised."""
        reply = self.client("lambda").invoke(
            FunctionName=f"pinglet-{self.stage}-{function}", Payload=json.dumps(event)
        )
        answer = json.loads(reply["Payload"].read())
        if reply.get("FunctionError"):
            raise RuntimeError(answer)
        return answer

    def manage(self, *command: str, given: str = "") -> str:
        """Run a command of `flask` in the cloud; return its output."""
        done = self.invoke("manage", {"command": list(command), "input": given})
        if done["exit_code"]:
            raise RuntimeError(done["output"])
        output: str = done["output"]
        return output

    @property
    def api(self) -> str:
        """The API's URL for scripts: a path of the cloud's, where no name server knows its host."""
        return f"{self.url}/_aws/execute-api/{self._api_id()}/%24default/"

    @property
    def site(self) -> str:
        """The pages' URL: browsers, and curl, take any name under localhost for this machine."""
        return f"http://{self._api_id()}.execute-api.localhost:{self.port}"

    def _api_id(self) -> str:
        (api,) = self.client("apigatewayv2").get_apis()["Items"]
        api_id: str = api["ApiId"]
        return api_id

    def queue(self, name: str) -> str:
        """Return the URL of a queue of the stack's."""
        found = self.client("sqs").list_queues(QueueNamePrefix=f"pinglet-{self.stage}-{name}")
        url: str = found["QueueUrls"][0]
        return url


def prepare(cloud: LocalCloud) -> dict[str, str]:
    """Deploy, migrate, add a user; return how to get in."""
    cloud.keep_secret()
    cloud.deploy()
    cloud.manage("db", "upgrade")
    password = secrets.token_urlsafe(12)
    cloud.manage("users", "add", "admin", "--password-stdin", given=f"{password}\n")
    token = cloud.manage("users", "token", "admin", "local cloud", "--scope", "admin").strip()
    access = {"user": "admin", "password": password, "token": token}
    return access | {"api": cloud.api, "site": cloud.site}


def serve(ready: Path) -> None:
    """Run a cloud until a signal comes; say in `ready` how to get in."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("building, deploying: half a minute, the first time two", flush=True)
    with LocalCloud() as cloud:
        access = prepare(cloud)
        rows = "".join(f"server {n},127.0.0.{n}\n" for n in range(1, SERVERS + 1))
        given = f"name,IP\n{rows}"
        cloud.manage("servers", "import", "-", "--format", "csv", given=given)
        access |= {"pid": str(os.getpid()), "log": str(cloud.folder / "log")}
        written = ready.with_suffix(".part")
        written.write_text(json.dumps(access))
        written.replace(ready)  # whole, or not there
        signal.pause()


def up() -> int:
    """Start a cloud that stays when this process ends."""
    if RUNNING.exists():
        print(f"one is running already, or was killed: make cloud-down ({RUNNING})")
        return 1
    RUNNING.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.local_cloud", "serve"]
    child = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        while not RUNNING.exists():
            if child.poll() is not None:
                return child.returncode
            time.sleep(0.2)
    except KeyboardInterrupt:
        child.terminate()
        return child.wait()
    access = json.loads(RUNNING.read_text())
    print(f"in a browser        {access['site']}/dashboard")
    print(f"user and password   {access['user']} {access['password']}")
    print(f"for scripts         {access['api']}")
    print(f"logs                {access['log']}")
    print(f"curl -H 'Authorization: Bearer {access['token']}' {access['api']}")
    return 0


def down() -> int:
    """End the cloud that `up` started."""
    if not RUNNING.exists():
        print("none is running")
        return 0
    pid = int(json.loads(RUNNING.read_text())["pid"])
    if _serves(pid):
        os.kill(pid, signal.SIGTERM)
    while _serves(pid):
        time.sleep(0.1)
    RUNNING.unlink()
    return 0


def _serves(pid: int) -> bool:
    """Whether that process runs a cloud: it may be dead, and its number be another's by now."""
    command = ["ps", "-o", "args=", "-p", str(pid)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return "tests.local_cloud serve" in done.stdout


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve(RUNNING)
    elif sys.argv[1:] in (["up"], ["down"]):
        sys.exit({"up": up, "down": down}[sys.argv[1]]())
    else:
        sys.exit(__doc__)
