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
    "index": "Take faces and voices of a gallery into an index.",
    "query": "Ask an index with a face, a voice, or a person.",
    "annotate": "Name the speakers of a recording.",
    "enrol": "Add the named speakers of a recording to an index.",
    "info": "Say what an index holds.",
    "verify": "Check an index from end to end.",
    "forget": "Remove a person for good, and prove it.",
    "export": "Write the whole index to a Parquet file.",
    "import": "Take vectors of a Parquet file into an index.",
    "train": "Train a model on people's faces and voices.",
    "evaluate": "Measure a model or an index, honestly.",
    "demo": "Show it all on a small synthetic world, or on a gallery.",
}

_GARBAGE = (
    50_000  # objects made between two searches for cycles: imports make many, and none to free
)
_VERBOSE = "avsearch.verbose"  # in the meta data of a context


def _listen(ctx: click.Context, _: click.Parameter, level: int) -> None:
    """Write what modules log to standard error, for as long as the command runs."""
    if level and not ctx.meta.get(_VERBOSE):  # it may stand before the verb and behind it
        from avsearch.cli.verbose import log_to_stderr

        ctx.meta[_VERBOSE] = True
        ctx.find_root().call_on_close(log_to_stderr(level))


def _hush(ctx: click.Context, _: click.Parameter, quiet: bool) -> None:  # noqa: FBT001 - by click
    ctx.meta[QUIET] = quiet or ctx.meta.get(QUIET, False)


_EVERYWHERE = [
    click.Option(
        ["-v", "--verbose"],
        count=True,
        expose_value=False,
        callback=_listen,
        help="Say what is done and how long it takes; twice, say more.",
    ),
    click.Option(
        ["-q", "--quiet"],
        is_flag=True,
        expose_value=False,
        callback=_hush,
        help="Say nothing on standard error but what goes wrong.",
    ),
]


class _Verbs(click.Group):
    """Loads a verb's file only when that verb is asked for, so that help is fast."""

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
        """As click does, but where nothing was asked the help says what can be."""
        if not args:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(BadRequest.exit_code)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, but for a broken pipe, which is no error of anybody's."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of our output, such as head, has seen enough
            _let_go_of_output()
            return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=False,  # whose exit code depends on the version of click
    params=_EVERYWHERE,
)
@click.version_option(avsearch.__version__, prog_name="avsearch")
def group() -> None:
    """Find the faces that a voice could have, and the voices of a face."""


def main() -> None:
    """Run the command line; every error a user can cause ends in a sentence and its exit code."""
    if not sys.warnoptions:  # what decoders say of odd files helps nobody who cannot mend them
        warnings.simplefilter("ignore")
    _take_any_text()
    gc.set_threshold(_GARBAGE)
    try:
        code = group.main(prog_name="avsearch", standalone_mode=False)
        _flush_output()
    except click.UsageError as error:
        code = _complain(_usage(error), error.exit_code)
    except AvsearchError as error:
        code = _complain(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        code = _complain("Stopped; what was finished is kept.", 130)
    except BrokenPipeError:
        _let_go_of_output()
        code = 0
    except Exception as error:
        sentence = _of_the_machine(error)
        if sentence is None:
            raise
        if isinstance(error, OSError):  # it may be the output that cannot be written
            _let_go_of_output()
        code = _complain(sentence, BadRequest.exit_code)
    sys.exit(code)


def _complain(sentence: str, code: int) -> int:
    complain(sentence)
    return code


def _usage(error: click.UsageError) -> str:
    verb = error.ctx.command_path if error.ctx else "avsearch"
    said = error.format_message()
    end = "" if said.endswith((".", "?")) else "."
    return f"{said}{end} See '{verb} --help'."


def _of_the_machine(error: Exception) -> str | None:
    """A sentence about a library that does not load, or a full disk; None for other errors."""
    from indexer.runtime.load_failures import load_failure

    if (failure := load_failure(error)) is not None:
        return failure
    if not isinstance(error, OSError):
        return None
    where = f"{printable(Path(os.fsdecode(error.filename)))}: " if error.filename else ""
    return f"{where}{os_reason(error)}."


def _take_any_text() -> None:
    """Let a terminal that knows few letters show the others as codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush_output() -> None:
    if sys.stdout is not None:  # it is None where a shell closed it
        sys.stdout.flush()


def _let_go_of_output() -> None:
    """What could not be printed is dropped, so that Python does not try again at its end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
