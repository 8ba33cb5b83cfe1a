"""Libraries of extras, imported at their first use."""

from __future__ import annotations

import importlib
import types

from indexer.errors import LibraryUnusable


def load(module: str, user: str, extra: str | None = None) -> types.ModuleType:
    """Import a module of a library.

    Args:
        module: the module.
        user: the feature or file that needs it, for messages.
        extra: the extra that installs it; None if no extra does.

    Raises:
        LibraryUnusable: the library is not installed or does not load.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:
        from indexer.runtime.load_failures import (  # takes long to import
            absent_module,
            load_failure,
        )

        absent = absent_module(error)
        if absent is not None and f"{module}.".startswith(f"{absent}."):
            what = f"'avsearch[{extra}]'" if extra else absent
            raise LibraryUnusable(
                f"{user} needs {absent}, which is not installed: pip install {what}."
            ) from error
        failure = load_failure(error) or f"{user} needs {module}, which does not load: {error!r}."
        raise LibraryUnusable(failure) from error
