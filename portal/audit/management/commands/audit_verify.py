"""``manage.py audit_verify``: follow the whole chain of audit records and name the first one that does not fit."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from portal.audit.chain import Break, Head
from portal.audit.verify import anchor_break, anchors, chain_size, chain_slice, end_break, first_break

BROKEN, UNKNOWN = 1, 2
SAY_EVERY_S = 1.0


class Command(BaseCommand):
    """Exit code 0: intact; 1: broken, the first broken record is named; 2: it could not be checked."""

    help = "Verify the hash chain of the audit trail: detects altered, removed, moved, slipped-in and cut-off records."

    def add_arguments(self, parser: CommandParser) -> None:
        """An anchor noted elsewhere, and where to begin."""
        parser.add_argument(
            "--head", metavar="ID:HASH", help="a head that was printed before: it must still stand (keep it elsewhere)"
        )
        parser.add_argument("--from", dest="start", metavar="ID:HASH", help="begin after this record instead of all")

    def handle(self, *args: Any, **options: Any) -> None:
        """Follows, says how far it is, ends with the head to note."""
        noted = [_head(options["head"])] if options["head"] else []
        head = _head(options["start"]) if options["start"] else Head()
        try:
            head, found = self._follow(head)
            found = found or end_break() or first_break([*noted, *anchors()])
        except DatabaseError as error:
            text = str(error).partition("\n")[0]
            raise CommandError(f"The chain could not be checked: {text}", returncode=UNKNOWN) from error
        if found is not None:
            raise CommandError(f"BROKEN at #{found.record_id} ({found.kind}): {found.sentence}", returncode=BROKEN)
        self.stdout.write(self.style.SUCCESS(f"intact: {head.count:,} records, head {head.record_id}:{head.hash}"))

    def _follow(self, head: Head) -> tuple[Head, Break | None]:
        broken = anchor_break(head)
        if broken is not None:
            return head, broken
        total, said_at, more = chain_size(), time.monotonic(), True
        found: Break | None = None
        while more and found is None:
            head, found, more = chain_slice(head)
            if time.monotonic() - said_at >= SAY_EVERY_S or not more:
                self.stdout.write(f"{head.count:,} of {max(total, head.count):,} records follow")
                said_at = time.monotonic()
        return head, found


def _head(text: str) -> Head:
    record, _, digest = text.partition(":")
    if not record.isdigit() or len(digest) != 64:
        raise CommandError(f"{text!r} is no head; write ID:HASH as this command prints it.", returncode=UNKNOWN)
    return Head(int(record), digest)
