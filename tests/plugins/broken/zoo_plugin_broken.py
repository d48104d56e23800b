"""A plugin whose import fails, as with a dependency that has moved on."""

raise RuntimeError("the flux capacitor is empty")
