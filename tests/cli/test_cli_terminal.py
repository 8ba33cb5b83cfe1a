"""Output on a terminal: tables by rich, paths relative to the gallery; plain text in a pipe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import avsearch

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")


def on_terminal(*arguments: object, columns: int = 200) -> str:
    """Run avsearch with a terminal as standard output, and return what it shows."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "avsearch", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while some := os.read(ours, 4096):
                shown += some
        except OSError:  # Linux: the other end is closed
            pass
        os.close(ours)
        assert process.stderr is not None
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")
    return shown.decode()


def test_a_terminal_shows_a_table_with_paths_relative_to_the_gallery(indexed, gallery, voice):
    shown = on_terminal("query", voice, "--index", indexed, "--by", "item", "--want", "voice")
    assert "─" in shown
    assert str(Path(voice.parent.name) / voice.name) in shown
    assert shown.count(str(gallery)) == 1
    assert f"Files are in {gallery}." in shown


def test_a_pipe_gets_whole_paths_and_no_rules(run, indexed, voice):
    shown = run("query", voice, "--index", indexed, "--want", "voice").stdout
    assert "─" not in shown
    assert str(voice) in shown
    assert "Files are in" not in shown


def test_info_has_the_same_facts_on_a_terminal_and_in_a_pipe(run, indexed):
    def words(text: str) -> list[str]:
        return text.split()

    assert words(on_terminal("info", "--index", indexed)) == words(
        run("info", "--index", indexed).stdout
    )


def test_a_name_is_neither_markup_nor_a_command_to_the_terminal(run, gallery, model, tmp_path):
    folder = tmp_path / "g"
    (folder / "[red]x").mkdir(parents=True)
    (folder / "[red]x" / "face.png").write_bytes((gallery / "Actor_02" / "face.png").read_bytes())
    (folder / "people.csv").write_text('person,name\n[red]x,"Bea \x1b[31m[bold]"\n')
    at = ("--index", tmp_path / "i")
    assert run("index", folder, "--model", model, *at).exit_code == 0
    shown = on_terminal("query", "--person", "[red]x", "--want", "face", *at)
    assert "[red]x" in shown
    assert "\\x1b[31m[bold]" in shown


def test_a_narrow_terminal_folds_cells_and_loses_nothing(indexed, voice):
    def letters(columns: int) -> list[str]:
        shown = on_terminal("query", voice, "--index", indexed, columns=columns)
        return sorted(re.sub(r"\x1b\[[\d;]*m|─|\s", "", shown))

    assert letters(60) == letters(200)


def test_rich_is_loaded_on_a_terminal_only(indexed):
    code = (
        "import sys; from avsearch.cli import group;"
        f"group(['info', '--index', {str(indexed)!r}], standalone_mode=False);"
        "sys.exit('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["i"], {"index", "info", "import"}),
        (["query", "--ra"], set()),
        (["query", "--re"], {"--rerank"}),
        (["query", "--want", ""], {"face", "voice", "any"}),
    ],
    ids=str,
)
def test_a_shell_completes_verbs_options_and_values(spawn, words, expected):
    environment = {
        "_AVSEARCH_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["avsearch", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = spawn(env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().split()
    assert {line.partition(",")[2] for line in lines} == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_a_shell_is_printed(spawn, shell):
    done = spawn(env={"_AVSEARCH_COMPLETE": f"{shell}_source"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"_AVSEARCH_COMPLETE" in done.stdout


def test_the_version_is_printed(run):
    assert run("--version").stdout == f"avsearch, version {avsearch.__version__}\n"
