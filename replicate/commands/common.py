"""Options and argument types that several commands share."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from replicate.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])


def _slugs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Shell completion of PAPER: slugs, and folders."""
    from click.shell_completion import CompletionItem

    from replicate import catalog

    found = [CompletionItem(f.name) for f in catalog.folders() if f.name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="dir")]


class Budget(click.ParamType):  # type: ignore[type-arg]
    """``90s``, ``15m``, ``2h``, ``1h30m``: seconds."""

    name = "time"
    _pattern = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, always positive."""
        if isinstance(value, (int, float)):
            return float(value)
        found = self._pattern.fullmatch(value.strip().lower())
        parts = [float(part or 0) for part in found.groups()] if found else []
        if not parts or sum(parts) <= 0:
            self.fail(f"{value!r} is not a time; write 90s, 15m or 2h", param, ctx)
        return parts[0] * 3600 + parts[1] * 60 + parts[2]


class ScaleName(click.ParamType):  # type: ignore[type-arg]
    """One of the scales, known only when it is needed: the words live with the tasks, which take time to import."""

    name = "scale"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """``[smoke|quick|...]``."""
        from replicate.tasks.base import SCALES

        return f"[{'|'.join(SCALES)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself, or an error with near misses."""
        from replicate.errors import unknown
        from replicate.tasks.base import SCALES

        if value not in SCALES:
            raise unknown("scale", str(value), SCALES)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Scales that begin so."""
        from click.shell_completion import CompletionItem

        from replicate.tasks.base import SCALES

        return [CompletionItem(scale) for scale in SCALES if scale.startswith(incomplete)]


def paper_argument(function: F) -> F:
    """PAPER, a slug or a folder."""
    return click.argument("paper", shell_complete=_slugs)(function)


def papers_argument(required: bool = True) -> Callable[[F], F]:
    """PAPER..., slugs or folders."""
    return click.argument("papers", nargs=-1, required=required, shell_complete=_slugs, metavar="PAPER...")


def scale_option(default: str | None = "quick") -> Callable[[F], F]:
    """--scale."""
    return click.option("--scale", type=ScaleName(), default=default, show_default=default is not None)


def results_option(function: F) -> F:
    """--results."""
    return click.option(
        "--results", type=click.Path(file_okay=False, path_type=Path), help="Folder of records [default: results]."
    )(function)


def json_option(function: F) -> F:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(function)


def plan_options(function: F) -> F:
    """The options by which plan and run choose what is done."""
    for option in reversed(
        (
            click.option("--arms", help="Some arms only: a,b (a part of the planned study)."),
            click.option("--seeds", type=click.IntRange(1), help="Number of seeds [default: the paper's]."),
            click.option("--first-seed", type=click.IntRange(0), help="Start of another block of seeds."),
            click.option("--set", "sets", multiple=True, metavar="ARM.OPTION=VALUE", help="Change an option."),
            click.option("--workers", type=click.IntRange(1), help="Trials at once [default: fill the cores]."),
            click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
            click.option("--threads", type=click.IntRange(1), help="Torch threads of a trial [default: profile's]."),
            click.option("--data", "data", multiple=True, metavar="NAME=PATH", help="Folder of a dataset."),
        )
    ):
        function = option(function)
    return function


def pairs(values: tuple[str, ...], option: str) -> dict[str, Path]:
    """``NAME=PATH`` values as a dict; each path must exist."""
    found = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not (name and equals and path):
            raise UserError(f"{option} {value!r}: expected NAME=PATH, for example coco=/mnt/coco")
        if not Path(path).expanduser().exists():
            raise UserError(f"{option} {name}: there is no {path}")
        found[name] = Path(path).expanduser()
    return found


def words(text: str | None) -> list[str] | None:
    """``a,b`` as a list."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def emit(value: Any) -> None:
    """Print JSON."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def terminal_width() -> int | None:
    """Columns of the terminal; None when the output goes elsewhere and nothing should be cut."""
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None
