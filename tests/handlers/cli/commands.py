"""Commands typed into the application's own command line, in this process."""

from click.testing import Result
from flask.testing import FlaskCliRunner


def run(cli: FlaskCliRunner, *arguments: str, stdin: str = "") -> Result:
    result: Result = cli.invoke(args=arguments, input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(cli: FlaskCliRunner, *arguments: str, stdin: str = "") -> str:
    """Run a command that must succeed; return what it wrote to standard output."""
    result = run(cli, *arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(cli: FlaskCliRunner, *arguments: str, code: int = 1, stdin: str = "") -> str:
    """Run a command that must be refused; return what it wrote to standard error."""
    result = run(cli, *arguments, stdin=stdin)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Error: " in result.stderr
    return result.stderr
