"""One of two plugins that claim the same names."""


def twin_net(pretrained=False, **kwargs):
    return "a"
