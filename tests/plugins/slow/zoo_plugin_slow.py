"""A plugin that is slow to import; whoever does not ask for it does not wait."""

import time

time.sleep(6)


def slow_net(pretrained=False, **kwargs):
    from torch import nn

    return nn.Identity()
