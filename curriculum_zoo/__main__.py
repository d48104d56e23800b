"""``python -m curriculum_zoo`` is the command line."""

from .cli import main

raise SystemExit(main())
