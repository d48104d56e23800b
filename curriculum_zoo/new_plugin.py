"""`new_plugin`: a small complete package with a curriculum and a model, to write one's own plugin from."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from .errors import PluginError
from .registry import CURRICULA, MODELS
from .version import __version__

__all__ = ["new_plugin"]

_TEMPLATES = Path(__file__).parent / "plugin_template"
_FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "{module}.py": "module.py",
    "test_{module}.py": "test_plugin.py",
}


def new_plugin(name: str, folder: str | Path = ".") -> list[Path]:
    """Write a package ``folder/name`` that installs, registers a curriculum and a model, and passes its own tests.

    Args:
        name: of the distribution, as ``my-curriculum``: letters, digits and dashes.
        folder: where the package's folder goes.

    Returns:
        The files that were written.

    Raises:
        PluginError: a name that cannot be a module's or is registered already, or a folder that is there or cannot be
            written to.
    """
    import jinja2

    module = re.sub(r"[-_.]+", "_", name).lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", module) or keyword.iskeyword(module):
        raise PluginError(f"'{name}' cannot be a package's name. Take letters, digits and dashes, a letter first.")
    for registry, entry in ((CURRICULA, module), (MODELS, f"{module}_net")):
        if entry in registry.names():
            raise PluginError(f"'{name}': the {registry.kind} name '{entry}' is registered already. Take another name.")
    target = Path(folder) / name
    if target.exists():
        raise PluginError(f"{target} is there already. Take another name, or remove it first.")
    title = "".join(part.capitalize() for part in module.split("_"))
    values = {"distribution": name, "module": module, "title": title, "version": __version__}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Python and TOML are no HTML
    )
    written = []
    try:
        target.mkdir(parents=True)
        for file, template in _FILES.items():
            path = target / file.format(module=module)
            path.write_text(environment.get_template(f"{template}.jinja").render(values), encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise PluginError(f"{target} cannot be written: {error.strerror}. Choose another folder.") from error
    return written
