"""The command line: one file a verb, each of them parse, one library call, print."""

from __future__ import annotations

import gc
import importlib
import io
import keyword
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import click

import avsearch
from avsearch.cli.output import QUIET, complain
from indexer.errors import AvsearchError, BadRequest, os_reason, printable

VERBS = {
    "index": "Add the faces and voices of a gallery to an index.",
    "query": "Search an index with a face, a voice, or a person.",
    "annotate": "Name the speakers of a recording.",
    "enrol": "Add the named speakers of a recording to an index.",
    "info": "Show what an index holds.",
    "verify": "Check an index from end to end.",
    "forget": "Remove a person for good, and prove it.",
    "export": "Write the whole index to a Parquet file.",
    "import": "Add the vectors of a Parquet file to an index.",
    "train": "Train a model on people's faces and voices.",
    "evaluate": "Measure a model or an index, with an audit.",
    "demo": "Show it all on a small synthetic world, or on a gallery.",
}

# Objects made between two searches for cycles: imports make many, and none to free.
_GARBAGE = 50_000
_VERBOSE = "avsearch.verbose"  # in the meta data of a context


def _set_verbosity(ctx: click.Context, option: click.Parameter, value: int) -> None:
    """Apply ``--verbose`` or ``--quiet``, which may stand before and after the verb."""
    if option.name == "quiet":
        ctx.meta[QUIET] = bool(value) or ctx.meta.get(QUIET, False)
    elif value and not ctx.meta.get(_VERBOSE):
        from avsearch.cli.verbose import log_to_stderr

        ctx.meta[_VERBOSE] = True
        ctx.find_root().call_on_close(log_to_stderr(value))


_EVERYWHERE = [
    click.Option(
        ["-v", "--verbose"],
        count=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Log each step and how long it takes; twice, log more.",
    ),
    click.Option(
        ["-q", "--quiet"],
        is_flag=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Print nothing on standard error but errors.",
    ),
]


class _Verbs(click.Group):
    """Imports a verb's file only for that verb, so that help is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command: click.Command = importlib.import_module(f"avsearch.cli.{name}").command
        command.params += [each for each in _EVERYWHERE if each not in command.params]
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does; without arguments print the help and exit with 2."""
        if not args and not ctx.resilient_parsing:  # completion parses without arguments
            click.echo(ctx.get_help(), err=True)
            ctx.exit(BadRequest.exit_code)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke as click does; a broken pipe is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of our output, such as head, has seen enough
            _discard_output()
            return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=False,  # its exit code depends on the version of click
    params=_EVERYWHERE,
)
@click.version_option(avsearch.__version__, prog_name="avsearch")
def group() -> None:
    """Find the faces that a voice could have, and the voices of a face."""


def main() -> None:
    """Run the command line; every error a user can cause ends in a sentence and its exit code."""
    if not sys.warnoptions:  # warnings of decoders about odd files do not help users
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # letters that a terminal lacks become codes
            stream.reconfigure(errors="backslashreplace")
    gc.set_threshold(_GARBAGE)
    try:
        code = group.main(prog_name="avsearch", standalone_mode=False)
        if sys.stdout is not None:  # it is None if a shell closed it
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        code = _report(error)
    sys.exit(code)


def _report(error: Exception | KeyboardInterrupt) -> int:
    """Print a sentence about an error and return the exit code; raise an error that is a bug."""
    if isinstance(error, click.UsageError):
        verb = error.ctx.command_path if error.ctx else "avsearch"
        message = error.format_message()
        end = "" if message.endswith((".", "?")) else "."
        complain(f"{message}{end} See '{verb} --help'.")
        return error.exit_code
    if isinstance(error, AvsearchError):
        complain(str(error))
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        complain("Stopped; what was finished is kept.")
        return 130
    if isinstance(error, BrokenPipeError):
        _discard_output()
        return 0
    from indexer.runtime.load_failures import load_failure

    sentence = load_failure(error)
    if sentence is None and isinstance(error, OSError):  # such as a full disk
        where = f"{printable(Path(os.fsdecode(error.filename)))}: " if error.filename else ""
        sentence = f"{where}{os_reason(error)}."
    if sentence is None:
        raise error
    if isinstance(error, OSError):  # perhaps the output cannot be written
        _discard_output()
    complain(sentence)
    return BadRequest.exit_code


def _discard_output() -> None:
    """Drop what could not be printed, so that Python does not try again at its end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
