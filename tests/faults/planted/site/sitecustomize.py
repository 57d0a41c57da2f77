"""Plants the faults in ``SLIMFRONT_FAULTS`` into Ray's workers, which start from nothing: first on their path."""

import importlib.abc
import importlib.util
import json
import os
import sys
from typing import Any


class _WhenImported(importlib.abc.MetaPathFinder):
    """Plants them once the module is there that most of them change."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "search.drive":
            return None
        sys.meta_path.remove(self)
        found = importlib.util.find_spec(name)
        if found is None or found.loader is None:
            return found
        execute = found.loader.exec_module

        def executed(module: Any) -> None:
            execute(module)
            sys.modules[name] = module
            from tests.faults.planted.faults import plant

            plant(json.loads(os.environ["SLIMFRONT_FAULTS"]))

        found.loader.exec_module = executed  # type: ignore[method-assign]
        return found


if os.environ.get("SLIMFRONT_FAULTS"):
    sys.meta_path.insert(0, _WhenImported())
