"""The program as it is started: alone with what is bound for it, in silence, and straying nowhere."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from operalta.sandbox import errors
from operalta.sandbox.reading.program import run as program_run
from operalta.sandbox.reading.rules import DocumentKind
from operalta.sandbox.reading.service import (
    DISTRIBUTIONS,
    PROGRAM,
    ProgramReport,
    arguments_for,
    program_needs,
    read_document,
)
from tests.sandbox.reading import samples
from tests.sandbox.reading.running import RunUnderLimits

HONEST = {
    "a.pdf": samples.pages(samples.packed(samples.text_operators("Honest words"))),
    "a.docx": samples.word(),
    "a.pptx": samples.slides(),
    "a.xlsx": samples.workbook("<row><c t='str'><v>Honest words</v></c></row>"),
    "a.csv": b"Honest words",
    "a.md": b"Honest words",
    "a.html": b"Honest words",
    "a.txt": b"Honest words",
    "a.png": samples.png(4, 5),
    "a.jpg": samples.jpeg(4, 5),
    "a.gif": samples.gif(4, 5),
    "a.webp": samples.webp(4, 5),
    "a.bmp": samples.bmp(4, 5),
    "a.tiff": samples.tiff(4, 5),
}


@pytest.mark.parametrize("name", HONEST)
async def test_started_as_in_the_sandbox_it_reads_every_kind(start: RunUnderLimits, name: str) -> None:
    found = await read_document(start, name, HONEST[name])
    assert found.text in {"Honest words", "May\n\nHonest words"} or found.facts == {"width": 4, "height": 5}
    assert start.complaints == b""
    assert not list(start.folder.iterdir())


def test_there_is_a_reader_for_every_kind() -> None:
    assert set(program_run.READERS) == {kind.value for kind in DocumentKind}


def test_what_is_bound_is_all_that_it_needs(tmp_path: Path) -> None:
    needs = program_needs()
    folder, packages = tmp_path / "elsewhere", tmp_path / "packages"
    shutil.copytree(needs.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for package in needs.packages:
        shutil.copytree(package, packages / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    arguments = (*arguments_for("pdf", folder)[:-1], str(packages))
    ended = subprocess.run(
        (sys.executable, *arguments), input=HONEST["a.pdf"], capture_output=True, cwd=tmp_path, env={}, check=False
    )
    assert ended.returncode == 0
    assert b"Honest words" in ended.stdout
    assert {path.name for path in tmp_path.rglob("*") if path.suffix == ".pyc"} == set()


def test_nothing_native_is_bound() -> None:
    needs = program_needs()
    assert {package.name for package in needs.packages} == set(DISTRIBUTIONS)
    for place in (needs.folder, *needs.packages):
        assert not [
            path for path in place.rglob("*") if path.suffix in {".so", ".pyd", ".dylib"} or ".so." in path.name
        ]


def test_it_imports_the_standard_library_its_packages_and_itself_alone() -> None:
    allowed = sys.stdlib_module_names | set(DISTRIBUTIONS)
    for path in PROGRAM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1
                names = [node.module or ""] if not node.level else []
            assert {name.partition(".")[0] for name in names} <= allowed, path.name


@pytest.mark.parametrize(
    "strays",
    [
        "open('/etc/hostname')",
        "open('seen', 'w')",
        "open(program.__file__, 'a')",
        "__import__('socket').socket()",
        "__import__('subprocess').run(['true'])",
        "__import__('os').system('true')",
        "__import__('os').fork()",
    ],
)
def test_it_ends_where_a_parser_strays(tmp_path: Path, strays: str) -> None:
    code = (
        "import sys; from importlib.util import *\n"
        f"spec = spec_from_file_location('program', {str(PROGRAM / '__init__.py')!r})\n"
        "program = sys.modules['program'] = module_from_spec(spec); spec.loader.exec_module(program)\n"
        "from program.run import forbid_straying; import socket, subprocess; forbid_straying()\n"
        f"{strays}\nprint('stayed')"
    )
    ended = subprocess.run(
        (sys.executable, "-I", "-S", "-B", "-c", code), capture_output=True, cwd=tmp_path, env={}, check=False
    )
    assert (ended.returncode, ended.stdout) == (program_run.STRAYED, b"")
    assert not list(tmp_path.iterdir())


def test_a_kind_that_it_does_not_know_is_no_document(start: RunUnderLimits) -> None:
    assert start.run(arguments_for("exe"), b"MZ").exit_code == program_run.BAD_USE


@pytest.mark.parametrize(
    ("report", "refusal"),
    [
        (ProgramReport(None, b"", "time"), errors.DocumentTooLarge),
        (ProgramReport(None, b"", "memory"), errors.DocumentTooLarge),
        (ProgramReport(None, b'{"refused":"encrypted"}', "output"), errors.DocumentTooLarge),
        (ProgramReport(None, b"", "killed"), errors.DocumentDamaged),
        (ProgramReport(1, b"Traceback", "finished"), errors.DocumentDamaged),
        (ProgramReport(program_run.STRAYED, b"", "finished"), errors.DocumentDamaged),
        (ProgramReport(3, b'{"refused":"encrypted"}\n', "finished"), errors.DocumentProtected),
        (ProgramReport(0, b'{"refused":"encrypted"}\n', "finished"), errors.DocumentDamaged),
    ],
)
async def test_however_it_ends_people_are_told_what_to_do(report: ProgramReport, refusal: type[Exception]) -> None:
    async def run(*_: object) -> ProgramReport:
        return report

    with pytest.raises(refusal) as told:
        await read_document(run, "a.pdf", HONEST["a.pdf"])
    assert type(told.value) is refusal
    assert "Traceback" not in str(told.value)


async def test_what_is_no_document_never_reaches_the_program() -> None:
    async def run(*_: object) -> ProgramReport:
        raise AssertionError

    for name, content in (("a.exe", b"MZ"), ("a.pdf", b"GIF89a"), ("a.txt", b"x" * (25 * 1024 * 1024 + 1))):
        with pytest.raises((errors.KindNotRead, errors.NotWhatItsNameSays, errors.DocumentTooLarge)):
            await read_document(run, name, content)
