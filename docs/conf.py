"""Settings of the documentation: ``make docs`` builds it."""

import configparser
import re
from pathlib import Path

import avsearch

ROOT = Path(__file__).parent.parent

settings = configparser.ConfigParser()
settings.read(ROOT / "setup.cfg", "utf-8")
repository = settings["metadata"]["url"]

project = "avsearch"
author = copyright = "the avsearch authors"
version = release = avsearch.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"avsearch {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["avsearch.css"]
html_theme_options = {
    "source_repository": repository,
    "source_branch": "main",
    "source_directory": "docs/",
}

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # the model card begins below its title
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "mixed"
add_module_names = False
python_use_unqualified_type_names = True


def _prepare(app, page, source):
    """Point links to files of the repository to the site or the web; keep figures in one line."""
    text = source[0].replace("](../avsearch/weights/adsm.md", "](card.md")
    text = re.sub(r"\]\(\.\./", f"]({repository}/blob/main/", text)
    source[0] = re.sub(
        r"^\|.*", lambda row: _INTERVAL.sub(_joined, row[0]), text, flags=re.MULTILINE
    )


_INTERVAL = re.compile(r"[\d.]+ \[[-+\d., ]+\]")


def _joined(figure):
    return figure[0].replace(" ", "\N{NO-BREAK SPACE}")


_COMMON = re.compile(
    r"^\.\. option:: (?:-v|-q|--version)\b.*\n(?:(?!\.\. option).*\n)*", re.MULTILINE
)
_OPTION = re.compile(r"(?<![\w`-])--[a-z][\w-]*")


def _mark_options(app, context, lines):
    """Show options that help texts name as code."""
    for at, line in enumerate(lines):
        if not line.startswith(".. option::"):
            lines[at] = _OPTION.sub(r"``\g<0>``", line)


def _without_common_options(app, context, lines):
    """Drop the options that all commands share; the page lists them once, at the top."""
    if context.parent is not None:
        lines[:] = _COMMON.sub("", "\n".join(lines)).splitlines()
    _mark_options(app, context, lines)


def setup(app):
    """Register what happens to a page before it is read."""
    app.connect("source-read", _prepare)
    app.connect("sphinx-click-process-description", _mark_options)
    app.connect("sphinx-click-process-options", _without_common_options)
