"""doctor and completion."""

from __future__ import annotations

from pathlib import Path

import click

from replicate.commands.common import emit, json_option, results_option


@click.command(epilog="Example: replicate doctor --json")
@results_option
@json_option
def doctor(results: Path | None, as_json: bool) -> int:
    """What this machine has and what it lacks. Exit code 1 when something will not work."""
    from replicate import machine

    found = machine.diagnose(results or machine.default_results())
    if as_json:
        emit([finding.to_json() for finding in found])
    else:
        marks = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}
        width = max(len(finding.name) for finding in found)
        for finding in found:
            click.echo(f"{marks[finding.state]} {finding.name.ljust(width)}  {finding.says}")
    return 1 if any(finding.state == "problem" for finding in found) else 0


@click.command(epilog='Example: eval "$(replicate completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell; put the example's line into ~/.bashrc (or the like)."""
    from click.shell_completion import get_completion_class

    from replicate.cli import suite

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(suite, {}, "replicate", "_REPLICATE_COMPLETE").source())
