"""A module that writes audit records opens its transactions with ``recorded``, so that the chain's lock comes last."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_deed_that_is_recorded_is_not_merely_atomic() -> None:
    found = []
    for room in ("pools", "billing", "portal"):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text()
            if "audit_record(" not in text or path.parts[-2] == "audit":
                continue
            found += [
                f"{path.relative_to(ROOT)}: {node.name}"
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.FunctionDef) and "transaction.atomic" in map(ast.unparse, node.decorator_list)
            ]
    assert found == [], "decorate these with recorded() from portal.audit.services"
