"""The wheel holds the whole package: what git ignores, the wheel leaves out."""

from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]


def test_every_module_of_the_package_is_in_the_wheel():
    included = {Path(file.distribution_path) for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    modules = {path.relative_to(ROOT) for path in (ROOT / "curriculum_zoo").rglob("*.py")}
    assert len(modules) > 100
    assert modules - included == set()
