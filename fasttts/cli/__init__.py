"""The command line: `fasttts solve`, `fasttts chat` and the others.

Results go to stdout, everything else to stderr. Exit codes: 0, 2 for a usage error or any
`FastTTSError`, 130 after Ctrl-C.
"""

from typing import Annotated

import typer

from fasttts import __version__
from fasttts.cli import (
    calibrate,
    calibrate_router,
    chat,
    check,
    evaluate,
    label,
    logs,
    mcp,
    options,
    plan,
    serve,
    session,
    solve,
    train_verifier,
)
from fasttts.cli.streams import OutputError, ShieldedGroup, shield, written_out
from fasttts.config.logs import log_config

__all__ = ["app", "main"]

app = typer.Typer(
    name="fasttts",
    cls=ShieldedGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("solve")(solve.run)
app.command("chat")(chat.run)
app.command("serve")(serve.run)
app.command("eval")(evaluate.run)
app.command("check")(check.run)
app.command("label")(label.run)
app.command("train-verifier")(train_verifier.run)
app.command("mcp")(mcp.run)
app.command("plan")(plan.run)
app.command("calibrate")(calibrate.run)
app.command("calibrate-router")(calibrate_router.run)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"fasttts {__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    log_format: options.LogFormatName = None,
    log_level: options.LogLevelName = None,
) -> None:
    """Make a small local language model reason better by searching.

    Try it on the bundled demonstration models:

      fasttts solve "Tom has 3 boxes of 12 pencils each. How many pencils does Tom have now?"

      fasttts chat

      fasttts eval demo --num-problems 20
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return
    with session.reported_errors(debug=False):
        asked = {"format": log_format, "level": log_level}
        config = log_config(**{name: value for name, value in asked.items() if value is not None})
    context.with_resource(logs.written(config))


def main() -> None:
    """Entry point of the `fasttts` command.

    Raises:
        SystemExit: The command has ended; its code says how.
    """
    shield()  # for good: an error that ends the process is printed after all else
    try:
        with written_out():
            app(prog_name="fasttts")
    except OutputError as error:
        logs.tell(f"the output cannot be written: {error.strerror}")
        raise SystemExit(session.EXIT_ERROR) from error
