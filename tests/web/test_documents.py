"""Documents over the API and on the pages: read in the sandbox as they are brought, found by their words."""

import asyncio
import html

import pytest

from operalta.sandbox.errors import ShellUnavailable
from operalta.sandbox.shell.member import Member
from operalta.sandbox.shell.profile import Profile
from operalta.sandbox.shell.rules import CommandLimits
from operalta.sandbox.shell.state import ShellState, write_state
from tests.sandbox.reading import samples
from tests.sandbox.reading.hostile_archives import bomb_of_many
from tests.web.conftest import House
from tests.web.site import Answer, Site

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


async def try_a_sandbox() -> None:
    await (await Member.start(Profile(CommandLimits()))).end()


@pytest.fixture
def proven(site: Site) -> None:
    """A server whose worker has seen the sandbox hold."""
    try:
        asyncio.run(try_a_sandbox())
    except ShellUnavailable as unavailable:
        pytest.skip(unavailable.public_text)
    write_state(site.services.settings.shell_state_file, ShellState(available=True, reason="", attempts=99))


def bring(house: House, name: str, content: bytes) -> Answer:
    sent = house.founder.upload(f"/api/v1/companies/{house.slug}/files", name.encode(), content)
    assert sent.status == 201, sent.text
    return house.founder.api("GET", f"/companies/{house.slug}/files/{sent.json['id']}")


@pytest.mark.usefixtures("proven")
def test_a_document_is_read_and_found_by_its_words(house: House) -> None:
    body = samples.paragraph("Okapis", "Heading1") + samples.paragraph("The okapi eats leaves.")
    found = bring(house, "zoo/animals.docx", samples.word(body))
    assert found.json["content_type"] == DOCX
    assert found.json["reading"]["refusal"] is None
    page = house.founder.get(f"/c/{house.slug}/files/{found.json['id']}")
    assert "The okapi eats leaves." in html.unescape(page.text)
    moved = house.founder.api(
        "POST", f"/companies/{house.slug}/files/{found.json['id']}/move", {"path": "animals.docx"}
    )
    assert moved.status == 200
    house.founder.api("DELETE", f"/companies/{house.slug}/files/{found.json['id']}")
    restored = house.founder.api("POST", f"/companies/{house.slug}/files/{found.json['id']}/restore", {})
    assert restored.status == 200
    page = house.founder.get(f"/c/{house.slug}/files/{found.json['id']}")
    assert "The okapi eats leaves." in html.unescape(page.text)


@pytest.mark.usefixtures("proven")
def test_pictures_tell_their_size(house: House) -> None:
    reading = bring(house, "picture.png", samples.png(640, 480)).json["reading"]
    assert reading["facts"]["width"] == 640
    assert reading["facts"]["height"] == 480


@pytest.mark.proves("5.4.3")
@pytest.mark.usefixtures("proven")
@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("bomb.docx", bomb_of_many(), ""),
        ("lying.pdf", b"\x7fELF" + bytes(100), "is something else"),
        ("vast.png", samples.png(2**31 - 1, 2**31 - 1), ""),
    ],
    ids=["bomb", "lie", "dimensions"],
)
def test_a_hostile_document_is_kept_and_not_read(house: House, name: str, content: bytes, expected: str) -> None:
    found = bring(house, name, content)
    refusal = found.json["reading"]["refusal"]
    assert refusal
    assert expected in refusal
    page = house.founder.get(f"/c/{house.slug}/files/{found.json['id']}")
    assert refusal in html.unescape(page.text)


@pytest.mark.proves("5.3.3", "5.4.3")
def test_without_a_proven_sandbox_nothing_is_parsed(house: House, site: Site) -> None:
    write_state(site.services.settings.shell_state_file, ShellState(available=False, reason="It did not hold."))
    found = bring(house, "unread.docx", samples.word(samples.paragraph("Words.")))
    assert "cannot be read right now" in found.json["reading"]["refusal"]
    page = house.founder.get(f"/c/{house.slug}/files/{found.json['id']}")
    assert "Words." not in page.text
