"""Sphinx configuration: MyST pages whose code cells are executed, reference pages from docstrings."""

import subprocess
import sys
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

from powergrid.core.registry import Registry

sys.path.insert(0, str(Path(__file__).parent))
import device_pages

project = "PowerGrid"
author = "The PowerGrid developers"
copyright = "The PowerGrid developers"
release = installed_version("powergrid-marl")
version = release

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}
exclude_patterns = ["_build", "jupyter_execute", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_title = f"PowerGrid {release}"

# Pages with code are executed at every build, so no page shows outdated output.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 180
nb_merge_streams = True
nb_render_markdown_format = "myst"  # the default knows no tables
# A dollar sign is money here; formulas are in math directives.
myst_enable_extensions = ["colon_fence", "deflist", "amsmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes and units stand in the docstrings; annotations say only "array"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
copybutton_exclude = ".linenos, .gp, .go"
# Fields of different columns share names on purpose (p_mw is p_mw everywhere), so a bare name has several targets.
suppress_warnings = ["ref.python"]


def leave_out(app, what, name, item, skip, options):
    """Skip members without information: fields that the class docstring already lists, bound methods of registries, and
    columns of a device, which are documented with the module that defines them."""
    is_tuple_field = type(item).__name__ == "_tuplegetter"
    is_register = getattr(item, "__func__", None) is Registry.register
    is_column = what == "class" and isinstance(item, type) and issubclass(item, tuple)
    return True if is_tuple_field or is_register or is_column else None


def drop_stale_pages():
    """Delete generated pages of modules that no longer exist, so that a build after a rename has no warnings."""
    for page in (Path(__file__).parent / "reference" / "generated").glob("*.rst"):
        try:
            exists = find_spec(page.stem) is not None
        except ModuleNotFoundError:
            exists = False
        if not exists:
            page.unlink()


def draw_voltages(app):
    """Draw the hourly voltages of every phase for `howto/three-phase.md` at every build."""
    here = Path(__file__).parent
    script, picture = here.parent / "bench" / "phase_voltages.py", here / "howto" / "phase-voltages.png"
    subprocess.run([sys.executable, script, "--days", "61", "--out", picture], check=True)


def setup(app):
    """Connect the handlers above, and write the pages of the device types before Sphinx collects its sources."""
    drop_stale_pages()
    app.connect("autodoc-skip-member", leave_out)
    app.connect("builder-inited", lambda app: device_pages.write())
    app.connect("builder-inited", draw_voltages)
