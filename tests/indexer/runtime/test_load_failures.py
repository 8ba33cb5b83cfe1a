"""Messages on libraries that are missing or do not load."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from indexer.errors import LibraryUnusable
from indexer.runtime import optional_libraries
from indexer.runtime.load_failures import load_failure
from tests.helpers.distributions import install

PARTNER = """
def load_library(path):
    try:
        raise OSError("/l/libsound.so: undefined symbol: f")
    except OSError as error:
        raise OSError(f"Could not load this library: {path}") from error
def register(name):
    raise RuntimeError(f"operator {name} does not exist")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of libraries: each test installs its ``sound`` beside ``partner-lib`` 2.0."""
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "Partner_Lib", "2.0", {"partner/__init__.py": PARTNER})
    return tmp_path


@pytest.fixture(autouse=True)
def _fresh_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sound", "sound.part", "partner", "ext"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def said_of(module: str) -> str:
    with pytest.raises(LibraryUnusable) as caught:
        optional_libraries.load(module, "This file", "torch")
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    assert "permission" not in said
    return said


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import partner; partner.load_library('x')", "/l/libsound.so: undefined symbol: f"),
        ("import partner; partner.register('a::nms')", "operator a::nms does not exist"),
        ("from partner import nothing_here", "cannot import name 'nothing_here' from 'partner'"),
        ("import partner; partner.float", "module 'partner' has no attribute 'float'"),
        ("raise ValueError('partner.dtype size changed')", "partner.dtype size changed"),
        ("raise ImportError('built for Partner 1')", "built for Partner 1"),
    ],
)
def test_two_libraries_that_do_not_go_together_are_named(
    code: str, reason: str, place: Path
) -> None:
    files = {"sound/__init__.py": "from sound import part", "sound/part.py": code}
    install(place, "sound-lib", "2.11.1", files, ["partner-lib>=2"])
    said = said_of("sound")
    assert said.startswith(f"sound-lib 2.11.1 does not load with partner-lib 2.0 ({reason}")
    assert "pip install -c constraints.txt sound-lib partner-lib." in said


def test_a_version_that_it_does_not_allow_is_named(place: Path) -> None:
    install(place, "sound", "1.0", {"sound.py": "raise OSError('no')"}, ["partner_lib ==1.*"])
    said = said_of("sound")
    assert said.startswith("sound 1.0 does not load with partner-lib 2.0 (no); sound needs partner")
    assert "needs partner-lib==1.*. " in said


def test_a_version_that_avsearch_does_not_allow_is_named(place: Path) -> None:
    install(place, "avsearch", "0", {}, ["sound ==1.0 ; extra == 'torch'", "partner-lib"])
    with (place / "avsearch-0.dist-info" / "METADATA").open("a") as file:
        file.write("Provides-Extra: search\nProvides-Extra: torch\n")
    install(place, "sound", "1.1", {"sound.py": "raise OSError('no')"})
    said = said_of("sound")
    assert said.startswith("sound 1.1 does not load (no); avsearch needs sound==1.0. ")


@pytest.mark.parametrize("kind", ["ImportError", "OSError", "RuntimeError"])
def test_nothing_is_guessed_where_no_other_library_is_known(kind: str, place: Path) -> None:
    code = f"raise {kind}('/l/partner/x.so: file too short\\nmore of it')"
    install(place, "sound", "1.0", {"sound.py": code}, ["partner-lib"])
    said = said_of("sound")
    assert said.startswith("sound 1.0 does not load (/l/partner/x.so: file too short). ")
    assert said.endswith("pip install --force-reinstall -c constraints.txt sound.")


def test_a_library_of_the_system_that_is_missing_is_named(place: Path) -> None:
    code = "raise ImportError('libGL.so.1: cannot open shared object file: No such file')"
    install(place, "sound", "1.0", {"sound.py": code})
    assert said_of("sound").endswith("; install what has libGL.so.1.")


def test_what_is_not_installed_is_named_with_how_to_install_it(place: Path) -> None:
    install(place, "sound", "1.0", {"sound.py": "import low_level"}, ["low-level", "partner-lib"])
    assert said_of("sound") == (
        "sound 1.0 needs low_level, which is not installed: pip install low-level."
    )
    needs = "needs {}, which is not installed: pip install 'avsearch[torch]'."
    assert said_of("not_there.part") == f"This file {needs.format('not_there')}"
    (place / "common").mkdir()  # of several distributions, ours not among them
    assert said_of("common.core") == f"This file {needs.format('common.core')}"


@pytest.mark.parametrize(
    ("module", "how"),
    [("cv2", "'avsearch[torch]'"), ("faiss", "'avsearch[search]'"), ("click", "click")],
)
def test_a_missing_module_names_what_installs_it(
    module: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as caught:
        __import__(module)
    assert load_failure(caught.value) == (
        f"this needs {module}, which is not installed: pip install {how}."
    )


def test_a_part_that_python_was_built_without_is_named() -> None:
    error = ModuleNotFoundError("No module named '_lzma'", name="_lzma")
    sys.modules["_lzma"] = None  # type: ignore[assignment]
    try:
        said = load_failure(error)
    finally:
        del sys.modules["_lzma"]
    assert said is not None
    assert "has no module _lzma, a part of Python" in said


def test_a_fault_of_ours_is_no_library() -> None:
    for fault in (ValueError("x"), ImportError("x", name="avsearch.x"), OSError(28, "full")):
        assert load_failure(fault) is None
    with pytest.raises(ModuleNotFoundError) as caught:
        __import__("indexer.no_such_module")
    assert load_failure(caught.value) is None


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc) is installed")
def test_the_libraries_a_compiled_module_is_linked_with_are_found(place: Path) -> None:
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").exists():
        pytest.skip(f"{include} has no Python.h")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    (place / "p.c").write_text("int present(void) { return 1; }")
    (place / "e.c").write_text(
        "#include <Python.h>\nint present(void), absent(void);\n"
        "PyMODINIT_FUNC PyInit_ext(void) { return present() + absent() ? NULL : NULL; }"
    )
    for file, *how in (
        ("p.c", "-o", "libpart.so"),
        ("e.c", "-o", f"ext{suffix}", f"-I{include}", "-L.", "-lpart", "-Wl,-rpath,$ORIGIN"),
    ):
        command = ["cc", "-shared", "-fPIC", file, *how]
        subprocess.run(command, cwd=place, check=True, capture_output=True)
    install(place, "part", "3.0", {})
    install(place, "other", "3.0", {})
    (place / "part-3.0.dist-info" / "RECORD").write_text("libpart.so,,\n")
    (place / "other-3.0.dist-info" / "RECORD").write_text("libother.so,,\n")
    install(place, "ext", "1.0", {}, ["other", "part"])
    (place / "ext-1.0.dist-info" / "RECORD").write_text(f"ext{suffix},,\n")
    said = said_of("ext")
    assert said.startswith("ext 1.0 does not load with part 3.0 (")
    assert "undefined symbol: absent" in said
