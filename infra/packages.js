// Builds the packages before they are deployed, so that `npx serverless deploy` is one command.
// `serverless package` takes those that are there: it works without a network.
const { spawnSync } = require("node:child_process");
const { existsSync } = require("node:fs");

const OURS = ".venv-3.13/bin/python"; // `make package` has made it
const PYTHON = process.env.PYTHON || (existsSync(OURS) ? OURS : "python3.13");

module.exports = class Packages {
  constructor(serverless) {
    this.hooks = {
      "before:package:initialize": () => build(serverless),
      "before:deploy:function:initialize": () => refuse(serverless)
    };
  }
};

function build(serverless) {
  const { processedInput, service } = serverless;
  const there = ["build/pinglet.zip", "build/prober.zip"].every((path) => existsSync(path));
  if (there && processedInput.commands[0] !== "deploy") return;
  const command = ["-m", "infra.build", "--arch", service.provider.architecture];
  const { status } = spawnSync(PYTHON, command, { stdio: "inherit" });
  if (status === 0) return;
  throw new serverless.classes.Error(`${PYTHON} can't build the packages; another may be named in PYTHON`);
}

// It would pack what was built last, and stop half way: it can't read the roles that we define.
function refuse(serverless) {
  throw new serverless.classes.Error("Pinglet is deployed whole: npx serverless deploy");
}
