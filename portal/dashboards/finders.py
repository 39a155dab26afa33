"""Browser assets that installed packages carry: only the files used, under ``vendor/``; none is committed here."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.contrib.staticfiles.utils import matches_patterns
from django.core.files.storage import FileSystemStorage

# name under /static/ → (package, path inside it)
ASSETS = {
    "vendor/tabler.min.css": ("starlette_admin", "static/css/vendor/tabler.min.css"),
    "vendor/plotly.min.js": ("plotly", "package_data/plotly.min.js"),
}


def package_dir(name: str) -> Path:
    """The folder of an installed package."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {name} is not installed; run: make install")
    return Path(spec.origin).parent


class PackageStorage(FileSystemStorage):
    """Reads the listed assets where their packages lie."""

    prefix = None

    def path(self, name: str) -> str:
        """The file behind a listed name."""
        package, inside = ASSETS[Path(name).as_posix()]
        return str(package_dir(package) / inside)


class PackageFinder(BaseFinder):
    """A static-files finder over :data:`ASSETS`."""

    storage = PackageStorage()

    def check(self, **kwargs: Any) -> list[Any]:
        """Nothing to configure, nothing to check."""
        return []

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        """The asset's file, as Django's finders answer."""
        found = self.storage.path(path) if path in ASSETS else None
        if find_all or kwargs.get("all"):
            return [found] if found else []
        return found

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterable[Any]:
        """Every asset, for ``collectstatic``."""
        patterns = [*(ignore_patterns or ())]
        return [(name, self.storage) for name in ASSETS if not matches_patterns(name, patterns)]
