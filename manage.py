#!/usr/bin/env python
"""Command line of Token Pools: ``manage.py help`` lists the commands."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  the sentence is for those who have it
    sys.exit("This is Python %d.%d; Token Pools needs 3.11 or newer." % sys.version_info[:2])  # noqa: UP031


def main() -> None:
    """Run one management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from django.core.management import execute_from_command_line

    from portal.lib.errors import DomainError

    try:
        execute_from_command_line(sys.argv)
    except DomainError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
