"""The command line: one file a verb, each of them parse, one library call, print."""

from __future__ import annotations

import importlib
import os
import sys

import click

import avsearch
from indexer.errors import AvsearchError

VERBS = {
    "index": "Take faces and voices of a gallery into an index.",
    "query": "Ask an index with a face, a voice, or a person.",
    "info": "Say what an index holds.",
    "verify": "Check an index from end to end.",
    "forget": "Remove a person for good, and prove it.",
    "demo": "Show it all on a small synthetic world.",
}


class _Verbs(click.Group):
    """Loads a verb's file only when that verb is asked for, so that help is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"avsearch.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(avsearch.__version__, prog_name="avsearch")
def group() -> None:
    """Find the faces that a voice could have, and the voices of a face."""


def main() -> None:
    """Run the command line; every error a user can cause ends in a sentence and its exit code."""
    try:
        code = group.main(prog_name="avsearch", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        verb = error.ctx.command_path if error.ctx else "avsearch"
        code = _complain(f"{error.format_message()} See '{verb} --help'.", error.exit_code)
    except AvsearchError as error:
        code = _complain(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        code = _complain("Stopped; what was finished is kept.", 130)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _complain(sentence: str, code: int) -> int:
    click.echo(f"avsearch: {sentence}", err=True)
    return code
