"""``curriculum-zoo publish``: weights and their card, to the Hub or into a folder."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import PublishError

__all__ = ["add_publish"]


def add_publish(commands: Any) -> None:
    """Add ``curriculum-zoo publish``."""
    command = commands.add_parser(
        "publish",
        help="put a run's weights with their card on the Hugging Face Hub",
        description="Publish a finished run on the Hub, as one commit with a tag. Log in by `hf auth login`.",
    )
    command.add_argument("source", metavar="RUN", help="a finished run's folder, or a folder of released weights")
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--to", metavar="OWNER/NAME", help="the repository on the Hub, made where it is missing")
    where.add_argument("--folder", metavar="DIR", help="lay the weights out in model_cards/ARCHITECTURE.TAG instead")
    command.add_argument("--private", action="store_true", help="make the repository private")
    command.add_argument(
        "--space", action="store_true", help="also a Space of that name on the Hub, a page to try the weights (`serve`)"
    )
    command.add_argument("--revision", metavar="TAG", help="tag of this publication; the next of v1, v2, … by default")
    command.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    command.add_argument("--update", action="store_true", help="replace what is there; the card's own text is kept")
    command.add_argument("--which", default="best", choices=("best", "last"), help="which of the run's weights")
    command.add_argument("--data", metavar="NAME", help="the name that others know the data by, as cifar10")
    command.add_argument("--licence", metavar="ID", help="of the weights, as the Hub abbreviates it; mit by default")
    command.add_argument("--runs", nargs="+", default=(), metavar="RUN", help="runs by this recipe with other seeds")
    command.add_argument("--baseline", nargs="+", default=(), metavar="RUN", help="runs to compare with")
    command.add_argument("--evaluations", nargs="+", default=(), metavar="FILE", help="what `evaluate --json` printed")
    command.set_defaults(run=_publish)


def _publish(options: argparse.Namespace) -> None:
    from ..publishing.layout import release
    from ..publishing.publish import publish
    from ..publishing.space import publish_with_space

    facts = {
        "which": options.which,
        "data": options.data,
        "license": options.licence,
        "runs": options.runs,
        "baselines": options.baseline,
        "evaluations": options.evaluations,
    }
    if options.folder and options.space:
        raise PublishError("A Space loads its weights from the Hub. Say --to OWNER/NAME, or leave --space out.")
    if options.folder:
        written = release(options.source, options.folder, update=options.update, **facts)
        print("\n".join(f"{options.folder}/{file}" for file in written) or f"{options.folder} is up to date.")
        return
    send = publish_with_space if options.space else publish
    send(
        options.source,
        options.to,
        private=options.private,
        revision=options.revision,
        dry_run=options.dry_run,
        update=options.update,
        show=print,
        **facts,
    )
