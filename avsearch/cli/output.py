"""What is said to a person: on one line, whatever a file may be called."""

from __future__ import annotations

import click

QUIET = "avsearch.quiet"  # in the meta data of a context


def one_line(text: str) -> str:
    """The text with line breaks and other control characters written out, as ``\\n``.

    A name can so neither break a table nor send commands to a terminal.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(sentence: str) -> None:
    """Say something on standard output."""
    click.echo(one_line(sentence))


def warn(sentence: str) -> None:
    """Say what a person should know on standard error, unless they asked for quiet."""
    if not is_quiet():
        complain(sentence)


def complain(sentence: str) -> None:
    """Say what went wrong on standard error."""
    click.echo(f"avsearch: {one_line(sentence)}", err=True)


def is_quiet() -> bool:
    """Whether ``--quiet`` was given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(QUIET))
