"""Started as `python -I -S -B <folder> KIND PACKAGES`; see the package."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

PACKAGE = "reading_program"


def _start() -> int:
    # The folder may be bound under any name, and its modules speak of each other as those of one package.
    folder = Path(__file__).parent
    spec = spec_from_file_location(PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        return 2
    package = module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    # Last, so that no package stands in for a part of the standard library.
    sys.path[:] = [entry for entry in sys.path if Path(entry) != folder] + sys.argv[2:3]
    from importlib import import_module

    return import_module(f"{PACKAGE}.run").main(sys.argv[1] if len(sys.argv) > 1 else "")


if __name__ == "__main__":
    sys.exit(_start())
