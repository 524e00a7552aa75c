"""The command line. Nothing heavy is imported before a command needs it; every error is one line."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from replicate._version import __version__
from replicate.errors import UserError, near_misses

OK, SOME_FAILED, WRONG_REQUEST = 0, 1, 2
INTERRUPTED = 130

COMMANDS: dict[str, tuple[str, str]] = {
    "list": ("papers:list_", "All papers of the suite."),
    "show": ("papers:show", "What one paper claims and how it is tested."),
    "plan": ("running:plan", "Trials, hours, and which claims can be decided."),
    "run": ("running:run", "Run papers and judge their claims."),
    "check": ("papers:check", "Contract suite and exact claims of a folder, no training."),
    "report": ("results:report", "Tables and pages of what the records say."),
    "new": ("papers:new", "Make a paper folder that works at once."),
    "data": ("data:data", "Datasets: list, prepare, verify, where."),
    "rerun": ("running:rerun", "Run one recorded trial again and compare."),
    "refresh": ("running:refresh", "Carry records of changed code forward, if a canary is equal."),
    "results": ("results:results", "Merge stores, export reference records."),
    "judge": ("results:judge", "Verdicts on numbers measured elsewhere."),
    "calibrate": ("running:calibrate", "A/A test of an arm: the rate of false alarms."),
    "doctor": ("machine:doctor", "What this machine has and what it lacks."),
    "schema": ("papers:schema", "JSON schema of paper.yaml for editors."),
    "completion": ("machine:completion", "Shell completion script."),
}
"""Name -> (function in replicate.commands, one line for ``--help``)."""


class Suite(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(f"replicate.commands.{module}"), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Unknown commands get near misses."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = near_misses(args[0], COMMANDS)
            hint = "did you mean " + " or ".join(map(repr, close)) + "?" if close else "see `replicate --help`"
            raise click.UsageError(f"unknown command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, says) for name, (_, says) in COMMANDS.items()])


@click.command(
    cls=Suite,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: replicate run papers/sepc",
    no_args_is_help=False,
    invoke_without_command=True,
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, "-V", "--version", message="replicate %(version)s")
@click.pass_context
def suite(ctx: click.Context, debug: bool) -> None:
    """Replicate machine-learning papers: one command per paper, one honest verdict per claim."""
    ctx.obj = {"debug": debug}
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _one_line(error: click.ClickException) -> str:
    """Text of a usage error: near misses for options, one line, no usage block."""
    if isinstance(error, click.NoSuchOption):
        known = [o for p in error.ctx.command.params for o in p.opts if o.startswith("--")] if error.ctx else []
        close = near_misses(error.option_name, known)
        text = f"unknown option {error.option_name}"
        if close:
            text += "; did you mean " + " or ".join(close) + "?"
    else:
        text = " ".join(error.format_message().split())
        text = text[:1].lower() + text[1:]
    if isinstance(error, click.UsageError) and error.ctx is not None and "`" not in text:
        text = f"{text.rstrip('.')} (see `{error.ctx.command_path} --help`)"
    return text


def _data_error() -> type[Exception]:
    """DataError, without importing the tasks for every start."""
    base = sys.modules.get("replicate.tasks.base")
    found: type[Exception] = getattr(base, "DataError", UserError)
    return found


def call(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; errors are printed, never raised (but with ``--debug``)."""
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments
    if debug:  # taken at any place
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    try:
        code = suite.main(arguments, prog_name="replicate", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else OK
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("replicate: interrupted; the same command goes on from here", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        click.echo(f"replicate: {_one_line(error)}", err=True)
        return WRONG_REQUEST
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: close without a word
        return OK
    except Exception as error:
        if debug:
            raise
        return _say(error)


def _say(error: Exception) -> int:
    """One line for an error; what is a bug of ours says so."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (UserError, _data_error())):
        click.echo(f"replicate: {text}", err=True)
    elif isinstance(error, OSError):
        click.echo(f"replicate: {text}; finished records are intact", err=True)
    else:
        click.echo(f"replicate: {type(error).__name__}: {text} (a bug: run again with --debug and report it)", err=True)
    return WRONG_REQUEST


def main() -> NoReturn:
    """Entry point of the ``replicate`` command."""
    sys.exit(call())


def example(text: str) -> dict[str, Any]:
    """Keyword arguments of a command whose help ends with an example."""
    return {"epilog": f"Example: {text}"}
