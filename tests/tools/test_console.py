"""The commands of a page are run, compared and written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.console import examples
from tools.constraints import ROOT

PAGE = """\
Text.

```bash
echo 1.25 > numbers.txt
```

```console
$ cat numbers.txt
1.24
$ echo several \\
  words
other words

$ cat numbers.txt
```

```python
$ no command
```
"""


def run(action: str, page: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.console", action, str(page)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_commands_run_in_one_folder_and_numbers_do_not_count(tmp_path: Path) -> None:
    found = list(examples(PAGE, tmp_path, os.environ))
    assert [each.printed for each in found] == ["", "1.25\n", "several words\n", "1.25\n"]
    assert [each.holds for each in found] == [True, True, False, False]


def test_the_folder_is_left_out_of_the_output(tmp_path: Path) -> None:
    (found,) = examples("```console\n$ echo $PWD/a\na\n```\n", tmp_path, os.environ)
    assert found.holds


def test_a_command_that_fails_ends_it(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        list(examples("```console\n$ false\n```\n", tmp_path, os.environ))


def test_a_page_is_checked_and_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    checked = run("check", page)
    assert checked.returncode == 1
    assert "2 commands print something else" in checked.stderr
    assert page.read_text() == PAGE
    assert run("write", page).returncode == 0
    written = PAGE.replace(
        "other words\n\n$ cat numbers.txt\n", "several words\n$ cat numbers.txt\n1.25\n"
    )
    assert page.read_text() == written
    assert run("check", page).returncode == 0
