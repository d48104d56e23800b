import sys
from importlib import import_module

import pytest


@pytest.mark.parametrize("library", ["lightning", "transformers"])
def test_adapter_without_its_library_says_what_to_install(library, monkeypatch):
    monkeypatch.delitem(sys.modules, f"curriculum_zoo.adapters.{library}", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"pip install 'curriculum-zoo\[{library}\]'"):
        import_module(f"curriculum_zoo.adapters.{library}")


def test_importing_the_package_of_adapters_loads_no_library(python):
    loaded = python(
        """
        import json, sys
        import curriculum_zoo.adapters
        print(json.dumps([name for name in ("torch", "timm", "lightning", "transformers") if name in sys.modules]))
        """
    )
    assert loaded == []
