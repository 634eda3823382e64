"""The saboteurs of files: folders that are not held to, names that are not looked at, links that are followed."""

from collections.abc import Generator

from operalta.assurance.stage import Stage
from tests.saboteurs.saboteurs import saboteur
from tests.saboteurs.throw_away import WEB, WORKER, patched


@saboteur("5.2.1", spares=("5.2.2", "5.2.3"), soak=True)
def agents_reach_all_folders(stage: Stage) -> Generator[None]:
    patch = """
from operalta.agents import tool_functions
async def everything(store, scope):
    return store
tool_functions.declared_for = everything
"""
    with patched(stage, WORKER, patch):
        yield


@saboteur("5.2.1", spares=("5.2.2", "5.2.3"), soak=True)
def what_programs_obey_is_written(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox import files
from operalta.workspace.files import file_store
files.check_writable = file_store.check_writable = lambda path: None
"""
    with patched(stage, WORKER, patch):
        yield


@saboteur("5.2.2", spares=("5.2.1", "5.2.3"), soak=True)
def names_are_not_decoded(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox import rules
rules._refuse_hidden_traversal = lambda text: None
"""
    with patched(stage, WEB, patch):
        yield


@saboteur("5.2.2", spares=("5.2.1",), soak=True)
def parts_of_names_are_not_looked_at(stage: Stage) -> Generator[None]:
    """The kernel still keeps everything inside; but it is asked, and so files have been touched."""
    patch = """
from operalta.sandbox import rules
rules._check_parts = lambda parts: None
"""
    with patched(stage, WEB, patch), patched(stage, WORKER, patch):
        yield


@saboteur("5.2.3", spares=("5.2.1", "5.2.2"), soak=True)
def links_are_followed(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox import openat2
openat2._BENEATH = openat2._NO_SYMLINKS = openat2._NO_MAGICLINKS = 0
"""
    with patched(stage, WEB, patch):
        yield


@saboteur("5.2.3", spares=("5.2.1", "5.2.2"), soak=True)
def files_may_have_second_names(stage: Stage) -> Generator[None]:
    patch = """
import os
from operalta.sandbox import files
look = files._require_ordinary
files._require_ordinary = lambda found: look(os.stat_result((*found[:3], 1, *found[4:])))
"""
    with patched(stage, WEB, patch):
        yield
