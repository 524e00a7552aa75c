"""Plain tables and durations as text. Imports nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def duration(seconds: float) -> str:
    """``35 ms``, ``42 s``, ``3 min 20 s``, ``1 h 05 min``."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def columns(rows: list[tuple[Any, ...]], head: tuple[str, ...], width: int | None = None) -> str:
    """A plain table; the last column is cut to the terminal's width when there is one."""
    table = [head, *[tuple(str(cell) for cell in row) for row in rows]]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    lines = []
    for row in table:
        cells = [
            cell.rjust(w) if _numeric(rows, i) else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        lines.append(line if width is None or len(line) <= width else line[: width - 1] + "…")
    return "\n".join(lines)


def _numeric(rows: list[tuple[Any, ...]], column: int) -> bool:
    return bool(rows) and all(isinstance(row[column], (int, float)) for row in rows)
