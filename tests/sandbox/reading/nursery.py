"""Started as `python -I -S -B nursery.py PROGRAM PACKAGES`: has the reading program loaded, forks it for each document.

So hundreds of documents are read in the time of a few starts. Each child is the program from its `main` on, with the
limits of the sandbox; only the interpreter's start is shared. A line asks (limits, kind, bytes to follow), a line
answers (how it ended, bytes of output and of complaints to follow).
"""

import json
import os
import resource
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Never


def load(folder: Path, packages: list[str]) -> None:
    spec = spec_from_file_location("program", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["program"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["program"])
    sys.path[:] = [entry for entry in sys.path if Path(entry) != Path(__file__).parent] + packages
    for module in folder.glob("[!_]*.py"):
        import_module(f"program.{module.stem}")


def filled(content: bytes) -> int:
    file = os.memfd_create("content")
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return file


def held(file: int) -> bytes:
    with os.fdopen(file, "rb") as reader:
        reader.seek(0)
        return reader.read()


def become_the_program(asked: dict[str, int | str], files: tuple[int, int, int]) -> Never:
    code = 1
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.chdir(str(asked["folder"]))
        resource.setrlimit(resource.RLIMIT_AS, (int(asked["memory"]), int(asked["memory"])))
        resource.setrlimit(resource.RLIMIT_CPU, (int(asked["cpu"]), int(asked["cpu"])))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(asked["output"]) + 1, int(asked["output"]) + 1))
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 - the descriptor that the child was given
        code = import_module("program.run").main(str(asked["kind"]))
    finally:
        os._exit(code)


def main() -> None:
    load(Path(sys.argv[1]), sys.argv[2:])
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        files = (filled(sys.stdin.buffer.read(asked["size"])), os.memfd_create("output"), os.memfd_create("said"))
        child = os.fork()
        if not child:
            become_the_program(asked, files)
        _, status = os.waitpid(child, 0)
        os.close(files[0])
        output, said = held(files[1]), held(files[2])
        ended = {"code": os.waitstatus_to_exitcode(status), "output": len(output), "said": len(said)}
        sys.stdout.buffer.write(json.dumps(ended).encode() + b"\n" + output + said)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
