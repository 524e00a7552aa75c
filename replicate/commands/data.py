"""data list, prepare, verify, where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replicate.commands.common import emit, json_option, pairs, terminal_width
from replicate.errors import UserError


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from replicate.datasets import registry

    return [name for name in registry.names() if name.startswith(incomplete)]


def data_option(function: Any) -> Any:
    """--data."""
    return click.option("--data", "data", multiple=True, metavar="NAME=PATH", help="Folder of a dataset.")(function)


@click.group(epilog="Example: replicate data where scenes")
def data() -> None:
    """Datasets: list, prepare, verify, where."""


@data.command("list", epilog="Example: replicate data list")
@data_option
@json_option
def list_(data: tuple[str, ...], as_json: bool) -> None:
    """All datasets: licence, size, and whether they are on this machine."""
    from replicate.datasets import registry
    from replicate.tables import columns

    given = pairs(data, "--data")
    rows = []
    for name in registry.names():
        card = registry.card(name)
        rows.append((name, card.size_mb, _state(name, given), card.title, card.licence))
    if as_json:
        emit([{"name": n, "title": t, "licence": li, "size_mb": s, "state": st} for n, s, st, t, li in rows])
    elif not rows:
        click.echo("no datasets are known")
    else:
        click.echo(columns(rows, ("name", "MB", "here", "title", "licence"), terminal_width()))


def _state(name: str, given: dict[str, Path]) -> str:
    from replicate.datasets import registry
    from replicate.tasks.base import DataError

    try:
        return registry.where(name, given).provider
    except DataError:
        return "prepare" if registry.card(name).preparable else "give a folder"


@data.command(epilog="Example: replicate data prepare fashion_mnist")
@click.argument("names", nargs=-1, required=True, shell_complete=_names, metavar="NAME...")
@data_option
def prepare(names: tuple[str, ...], data: tuple[str, ...]) -> None:
    """Fetch datasets with the ordinary package client, check them and unpack them into the cache."""
    from replicate.datasets import prepare as preparing
    from replicate.datasets import registry

    for name in names:
        registry.card(name)  # an unknown name stops before anything is fetched
    for name in names:
        found = preparing.prepare(name, lambda line: click.echo(line, err=True), pairs(data, "--data"))
        click.echo(f"{name}: {found.root} ({found.provider})")


@data.command(epilog="Example: replicate data verify scenes")
@click.argument("names", nargs=-1, shell_complete=_names, metavar="NAME...")
@data_option
@json_option
def verify(names: tuple[str, ...], data: tuple[str, ...], as_json: bool) -> int:
    """Recompute the checksums of datasets (default: all that are here)."""
    from replicate.datasets import prepare as preparing
    from replicate.datasets import registry

    given = pairs(data, "--data")
    chosen = names or tuple(n for n in registry.names() if _state(n, given) not in ("prepare", "give a folder"))
    for name in names:
        registry.card(name)
    wrong = {name: preparing.verify(name, given) for name in chosen}
    if as_json:
        emit(wrong)
    else:
        for name, problems in wrong.items():
            click.echo(f"ok    {name}" if not problems else f"FAIL  {'; '.join(problems)}")
    return 1 if any(wrong.values()) else 0


@data.command(epilog="Example: replicate data where coco --data coco=/mnt/coco")
@click.argument("name", shell_complete=_names)
@data_option
@json_option
def where(name: str, data: tuple[str, ...], as_json: bool) -> None:
    """Where a dataset is on this machine, or how to get it."""
    from replicate.datasets import registry
    from replicate.tasks.base import DataError

    registry.card(name)
    try:
        found = registry.where(name, pairs(data, "--data"))
    except DataError as error:
        raise UserError(str(error)) from error
    if as_json:
        emit({"name": name, "provider": found.provider, "root": str(found.root)})
    else:
        click.echo(f"{found.root} ({found.provider})")
