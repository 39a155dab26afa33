"""What COPY raises reaches its caller as an error of django.db, like that of any other statement."""

from __future__ import annotations

import pytest
from django.db import DataError, IntegrityError, transaction

from portal.lib.copying import copy_rows

pytestmark = pytest.mark.django_db
COLUMNS = ("at", "pool_id", "metrics")


@pytest.mark.parametrize(
    ("row", "raised"),
    [(["no moment", 1, [1.0]], DataError), ([None, 1, [1.0]], IntegrityError)],
)
def test_a_refused_copy_is_an_error_of_the_books(row: list[object], raised: type[Exception]) -> None:
    with pytest.raises(raised), transaction.atomic():
        copy_rows("pools_reading", COLUMNS, [row])
