"""The command line as a process: exit codes, the two outputs, signals, pipes, and no torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avsearch.cli import VERBS


def said(done):
    """Return a process's standard error: one sentence, no traceback."""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("avsearch: ")
    assert line.endswith((".", "?"))
    return line


def loaded(statement: str) -> set[str]:
    """The modules that are loaded after a statement, in a process of its own."""
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.split()
    )


@pytest.mark.parametrize(
    "statement",
    [
        "import avsearch",
        "import avsearch.cli",
        "import avsearch.cli.index, avsearch.cli.query, avsearch.cli.forget",
        "import avsearch; avsearch.open, avsearch.Media, avsearch.Hit",
        "import avsearch.api",
    ],
)
def test_light_things_load_no_torch(statement):
    assert not loaded(statement) & {"torch", "torchaudio", "facenet_pytorch", "silero_vad"}


def test_a_service_without_standard_error_can_index(gallery, copy_of_index):
    command = [sys.executable, "-m", "avsearch", "index", gallery, "--index", copy_of_index]
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    assert subprocess.run(shell, capture_output=True, check=False).returncode == 0


def test_help_is_there_and_light(spawn, run):
    for verb in VERBS:
        result = run(verb, "--help")
        assert (result.exit_code, result.stderr) == (0, "")
        assert f"Usage: avsearch {verb}" in result.stdout
    main = spawn("--help").stdout.decode()
    assert all(f"  {verb} " in main for verb in VERBS)
    timed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "avsearch", "--help"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    names = {line.rpartition("|")[2].strip() for line in timed.splitlines()}
    assert "avsearch.cli" in names
    assert not names & {"torch", "numpy", "faiss", "sqlalchemy"}


def test_version(spawn):
    done = spawn("--version")
    assert (done.returncode, done.stdout) == (0, b"avsearch, version 0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-v"], "Missing command. See 'avsearch --help'."),
        (["find"], "No such command 'find'. See 'avsearch --help'."),
        (["--nothing"], "No such option '--nothing'. See"),
        (["index"], "Missing argument 'GALLERY'. See 'avsearch index --help'."),
        (["index", "nowhere"], "nowhere is not a folder; name the folder of your media."),
        (["index", ".", "--faces", "all"], "'all' is not one of 'detect', 'whole'."),
        (["query", "nowhere.wav"], "There is no index in"),
        (["query", b"caf\xe9.wav"], "There is no index in"),
        (["info", "--index", "nowhere"], "nowhere; make one with avsearch index GALLERY."),
        (["forget"], "Missing argument 'PERSON'."),
    ],
)
def test_a_wrong_request_is_one_sentence_and_exit_2(spawn, arguments, words):
    done = spawn(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in said(done)


def test_index_and_query_as_processes(spawn, voice, face, model, tmp_path):
    """Warnings are errors, there is no terminal and so no bar, and JSON is all there is."""
    folder = tmp_path / "gallery" / "Actor_01"
    folder.mkdir(parents=True)
    (folder / "voice.ogg").write_bytes(voice.read_bytes())
    done = spawn("index", folder.parent, "--model", model, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.decode("utf-8"))["people"] == 1
    assert done.stdout.count(b"\n") == 1
    done = spawn("query", face, "--json", env={"LC_ALL": "C"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(json.loads(done.stdout.decode("utf-8"))["hits"]) == 1


def test_names_in_any_letters_are_json_in_utf_8(spawn, run, gallery, model, tmp_path):
    folder = tmp_path / "gallery" / "Zoë 🎤"
    folder.mkdir(parents=True)
    (folder / "face.png").write_bytes((gallery / "Actor_02" / "face.png").read_bytes())
    assert run("index", folder.parent, "--model", model).exit_code == 0
    for environment in ({}, {"PYTHONIOENCODING": "latin-1"}):
        done = spawn("query", "--person", "Zoë 🎤", "--want", "face", "--json", env=environment)
        assert json.loads(done.stdout.decode("utf-8"))["hits"][0]["person"] == "Zoë 🎤"
        done = spawn("query", "--person", "Zoë 🎤", "--want", "face", env=environment)
        assert done.returncode == 0
        assert (b"Zo\xeb \\U0001f3a4" if environment else "Zoë 🎤".encode()) in done.stdout


def test_a_named_pipe_is_not_waited_for(spawn, indexed, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    done = spawn("query", "pipe.wav", "--index", indexed)
    assert done.returncode == 2
    assert "pipe.wav: is a pipe" in said(done)


def test_a_reader_that_has_seen_enough_is_no_error(indexed):
    """As in ``avsearch query ... | head -1``, with an answer longer than a pipe holds."""
    program = (
        "import sys; sys.argv = ['avsearch', 'info']\n"
        "import avsearch.cli, avsearch.cli.info as info\n"
        "info.printable = lambda path: 'x' * 10_000_000\n"
        "avsearch.cli.main()"
    )
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, cwd=indexed
    ) as process:
        os.close(writer)
        assert os.read(reader, 10)
        os.close(reader)
        assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_files_are_no_error(indexed, closed):
    command = f"{sys.executable} -m avsearch info --index {indexed} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_that_is_full_is_said(indexed):
    with Path("/dev/full").open("wb", buffering=0) as full:
        done = subprocess.run(
            [sys.executable, "-m", "avsearch", "info", "--index", indexed, "--json"],
            stdout=full, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert "No space left on device" in said(done)


@pytest.fixture
def many(voice, tmp_path):
    """A gallery that takes some seconds."""
    folder = tmp_path / "many" / "ann"
    folder.mkdir(parents=True)
    for number in range(30):
        (folder / f"{number:03}.ogg").write_bytes(voice.read_bytes())
    return folder.parent


def _interruptible():
    """A shell's background job ignores the interrupt, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(many, model, tmp_path):
    """A process that is in the middle of indexing, and stands still there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "avsearch", "index", many, "--model", model],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        preexec_fn=_interruptible,
    )  # fmt: skip
    folder = tmp_path / ".avsearch"
    until = time.monotonic() + 60
    while time.monotonic() < until:
        process.send_signal(signal.SIGSTOP)
        if (folder / "catalog.sqlite").exists() and (folder / "lock").read_text():
            break
        process.send_signal(signal.SIGCONT)
        time.sleep(0.02)
    assert process.poll() is None
    return process


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_and_run_again(run, many, model, tmp_path, how):
    process = started(many, model, tmp_path)
    busy = run("index", many, "--model", model)
    assert busy.exit_code == 2
    assert "is being written to by process" in busy.stderr
    process.send_signal(how)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert (process.returncode, out) == (130, b"")
        assert err.strip() == b"avsearch: Stopped; what was finished is kept."
    assert run("verify").exit_code == 0
    report = json.loads(run("index", many, "--json").stdout)
    assert report["added"] + report["unchanged"] == report["voices"] == 30
    assert run("verify").exit_code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_index_folder_that_may_not_be_written_to_is_said(spawn, gallery, model, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o555)
    done = spawn("index", gallery, "--model", model, "--index", tmp_path / "closed")
    assert done.returncode == 2
    assert "cannot be written to (Permission denied)" in said(done)


def test_a_lock_that_cannot_be_made_is_said(run, gallery, model, copy_of_index):
    (copy_of_index / "lock").unlink()
    (copy_of_index / "lock").mkdir()  # stands in for a folder that may not be written to
    result = run("forget", "Actor_01", "--index", copy_of_index)
    assert result.exit_code == 2
    assert "cannot be written to" in result.stderr
    result = run("query", "--person", "Actor_01", "--index", copy_of_index)
    assert result.exit_code == 0  # readers need no lock
