"""How the documentation is built: ``PYTHONPATH=. sphinx-build -W docs OUTPUT``."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.pycode import ModuleAnalyzer

if TYPE_CHECKING:
    from docutils.nodes import Element, TextElement
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "actor-tree"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["examples"]  # shown by literalinclude
html_theme = "furo"
html_title = "actor-tree"

PACKAGES = (
    *("actors", "actors.events", "supervision", "supervision.events"),
    *("actors.testing", "actors.testing.links", "actors.testing.answers"),
)
"""Where users import names from."""

# Every name that a page or a docstring mentions must lead somewhere.
nitpicky = True
default_role = "any"
nitpick_ignore_regex = [
    # Other people's documentation: built without a network, nothing is looked up.
    ("py:.*|any", r"(trio|attrs|httpx|hypothesis|os|pathlib|random|signal|socket)\..*"),
    ("py:.*|any", r"(collections|contextlib|typing|types)\..*"),
    (
        "py:.*",
        r"(Awaitable|Callable|Coroutine|Mapping|Sequence|Hashable|Random|SearchStrategy)",
    ),
    ("py:.*", r"(Any|Literal|Self|Generic|optional|AbstractAsyncContextManager)"),
    # Type variables.
    ("py:.*", r"(.*\.)?[A-Z](_co|_contra)?"),
]

python_use_unqualified_type_names = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "exclude-members": "handlers"}


def _where_it_is_public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: TextElement
) -> Element | None:
    """Resolve a name by its last part: ``actors._core.refs.Ref`` is ``actors.Ref``.

    Annotations name the module that defines a class, users the package.
    """
    name = node.get("reftarget", "").rpartition(".")[2]
    domain = env.domains.python_domain
    for package in PACKAGES:
        if found := domain.objects.get(f"{package}.{name}"):
            builder, source = app.builder, node["refdoc"]
            node["reftarget"] = f"{package}.{name}"
            role = "data" if found.objtype == "data" else "obj"
            return domain.resolve_xref(
                env, source, builder, role, node["reftarget"], node, text
            )
    return None


def _google_style(_app: Sphinx, what: Any, *rest: Any) -> None:
    """Read the sections of a docstring; not of an attribute's, which is a sentence.

    As an extension, napoleon takes what stands before its first colon for a type.
    """
    lines: list[str] = rest[-1]
    if what not in {"attribute", "data", "property"}:
        lines[:] = GoogleDocstring(lines, what=what).lines()


def _read_sources(package: str) -> None:
    """Let the docstrings of attributes be found.

    They are only in the source, and of a public class Sphinx reads that of the package,
    which is its ``__module__``; so put there what all modules below say.
    """
    public = ModuleAnalyzer.for_module(package)
    public.analyze()
    path = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(path, f"{package}."):
        analyzer = ModuleAnalyzer.for_module(module.name)
        analyzer.analyze()
        public.attr_docs |= analyzer.attr_docs
        public.annotations |= analyzer.annotations
        public.tagorder |= analyzer.tagorder


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    _read_sources("actors")
    _read_sources("supervision")
    app.connect("autodoc-process-docstring", _google_style)
    app.connect("missing-reference", _where_it_is_public)
