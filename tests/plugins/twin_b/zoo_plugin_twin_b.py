"""The other of two plugins that claim the same names; its own is spelled in a way that indexes normalise."""


def twin_net(pretrained=False, **kwargs):
    return "b"
