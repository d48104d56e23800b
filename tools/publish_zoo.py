#!/usr/bin/env python3
"""Publish the released weights of model_cards/ on the Hub, and write down where they are.

    python tools/publish_zoo.py --namespace NAME [PATTERN] [--private] [--update] [--dry-run]

Each folder goes to NAME/<architecture>.<tag>, as one commit; what is there unchanged is passed over. Once a folder is
published, and not before, model_cards/index.json gets its Hub id and the commit, which weights that are not in the
wheel are then loaded from, and its card tells the place. One that fails is told and leaves the others to go on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from curriculum_zoo.errors import CurriculumZooError
from curriculum_zoo.publishing.layout import release
from curriculum_zoo.publishing.publish import Publication, publish
from curriculum_zoo.weights.released import INDEX, list_weights


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    failed = 0
    for weights in list_weights(options.pattern):
        try:
            publication = publish(
                weights.folder,
                f"{options.namespace}/{weights.name}",
                private=options.private,
                update=options.update,
                dry_run=options.dry_run,
                show=print,
            )
            if not options.dry_run:
                _write_down(weights.folder, publication)
        except CurriculumZooError as error:
            print(f"{weights.name}: {error}", file=sys.stderr)
            failed += 1
        print()
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="*", help="which ARCHITECTURE.TAG, as a shell's wildcard")
    parser.add_argument("--namespace", required=True, help="user or organisation on the Hub")
    parser.add_argument("--private", action="store_true", help="make the repositories private")
    parser.add_argument("--update", action="store_true", help="replace what has changed")
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    return parser.parse_args(arguments)


def _write_down(folder: Path, publication: Publication) -> None:
    """Tell the index and the card where the weights of a folder are now."""
    path = folder.parent / INDEX
    index = json.loads(path.read_text(encoding="utf-8"))
    index["published"][folder.name] = {"hub_id": publication.hub_id, "revision": publication.commit}
    index["published"] = dict(sorted(index["published"].items()))
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
    release(folder, folder, update=True)


if __name__ == "__main__":
    sys.exit(main())
