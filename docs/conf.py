"""Settings of the documentation: ``make docs`` builds it."""

import avsearch

project = "avsearch"
author = "the avsearch authors"
version = release = avsearch.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = f"avsearch {release}"
html_copy_source = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
add_module_names = False
python_use_unqualified_type_names = True
nitpicky = False
exclude_patterns = ["_build"]
