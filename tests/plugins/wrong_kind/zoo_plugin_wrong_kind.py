"""A plugin whose targets are of the wrong kind, each in its own way."""

NUMBER = 42


def dict_net(pretrained=False, **kwargs):
    return {"layers": 3}


def dict_images(argument, **kwargs):
    return {"images": []}


class NotACurriculum:
    """Has what a curriculum has but is none."""

    def stage(self, epoch):
        return epoch
