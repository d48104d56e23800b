"""A plugin that claims names which are built in."""


def fake(*args, **kwargs):
    return "not the built-in"
