"""`./operalta test`: lint, format, types, import contracts, all tests. With arguments, pytest alone with them.

./operalta test                          everything, as continuous integration does
./operalta test tests/identity -k grace  some tests
./operalta test --soak                   the hours-long proofs
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from operalta.operations.privileges import CannotLeaveRoot, leave_root

ROOT = Path(__file__).resolve().parent.parent
STEPS = (
    ("lint", ["ruff", "check", "."]),
    ("format", ["ruff", "format", "--check", "."]),
    ("import contracts", ["lint-imports", "--no-cache"]),
)
# Passwords are hashed at low priority, which would starve beside anything of a higher one.
LOW_PRIORITY = ("nice", "-n", "19")


def main() -> int:
    """Run what is asked for and return the exit code of the first step that failed."""
    os.chdir(ROOT)
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="operalta-checks-") as scratch:
        environment = _environment(Path(scratch))
        parallel = [] if any(argument.startswith("-n") for argument in arguments) else ["-n", "2"]
        pytest = [*LOW_PRIORITY, "pytest", *parallel, "--dist", "loadgroup", "-p", "no:cacheprovider", *arguments]
        if arguments:
            return _step("tests", pytest, environment)
        for name, command in STEPS:
            if code := _step(name, command, environment):
                print(f"{name} failed: `{' '.join(command)}` shows it again")
                return code
        # Types take one processor a minute or more, and tests wait now and then: neither has to wait for the other.
        told = Path(scratch) / "types"
        with told.open("w") as output:
            types = subprocess.Popen([*LOW_PRIORITY, "pyright"], env=environment, stdout=output, stderr=output)
        code = _step("tests", pytest, environment)
        failed = types.wait()
        print(f"── types\n{told.read_text()}   types: {'FAILED' if failed else 'passed'}", flush=True)
        return code or failed


def _environment(scratch: Path) -> dict[str, str]:
    """Return an environment in which nothing is written into the checkout."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # Without bytecode each of the hundred processes that the tests start would compile every module anew.
    _link_installed_bytecode(scratch / "bytecode")
    return inherited | {
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "RUFF_CACHE_DIR": str(scratch / "ruff"),
        "PYTHONPYCACHEPREFIX": str(scratch / "bytecode"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(scratch / "hypothesis"),
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "HOME": str(scratch),
    }


def _link_installed_bytecode(prefix: Path) -> None:
    """Offer what was compiled when Python and its packages were installed, where Python looks under a prefix."""
    for kind in ("stdlib", "purelib"):
        for place, folders, _ in os.walk(sysconfig.get_path(kind)):
            if "__pycache__" in folders:
                offered = Path(f"{prefix}{place}")
                offered.mkdir(parents=True, exist_ok=True)
                for compiled in Path(place, "__pycache__").iterdir():
                    (offered / compiled.name).symlink_to(compiled)
            folders[:] = [name for name in folders if name not in {"__pycache__", "site-packages", "test", "tests"}]


def _step(name: str, command: list[str], environment: dict[str, str]) -> int:
    started = time.monotonic()
    print(f"── {name}", flush=True)
    code = subprocess.run(command, env=environment, check=False).returncode
    if name != "tests":
        print(f"   {name}: {'passed' if code == 0 else 'FAILED'} in {time.monotonic() - started:.0f} s", flush=True)
    return code


if __name__ == "__main__":
    try:
        leave_root(ROOT, (), {}, module="scripts.checks")
    except CannotLeaveRoot as refused:
        sys.exit(f"operalta: {refused}")
    sys.exit(main())
