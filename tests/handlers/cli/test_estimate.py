"""`flask estimate`: the bill as the command prints it."""

from flask import Flask

from handlers.cli import estimate as cli_estimate


def test_the_command_prints_the_bill(app: Flask) -> None:

    app.cli.add_command(cli_estimate.estimate_command)
    done = app.test_cli_runner().invoke(args=["estimate", "--servers", "1000", "--every", "60"])
    assert done.exit_code == 0, done.output
    assert "total" in done.output
    assert app.test_cli_runner().invoke(args=["estimate"]).exit_code == 0
