"""How pages are observed: hostile text in every field, read back as a browser's parser reads it."""

from html.parser import HTMLParser

from operalta.assurance.probes.access import crawl
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Person, Stage, staged

_MARK = "xsscanary"
_HOSTILE = (
    f"<script>{_MARK}()</script>",
    f"<img src=x onerror={_MARK}()>",
    f'"><svg onload={_MARK}()>',
    f"'-{_MARK}()-'",
    f"[link](javascript:{_MARK}())",
    f"<a href=javascript:{_MARK}()>x</a>",
    f"</title></textarea><iframe srcdoc='<script>{_MARK}()</script>'>",
    f"{{{{{_MARK}}}}}",
)
_DANGEROUS = frozenset({"iframe", "object", "embed", "base", "applet", "frame", "math"})
_ADDRESSES = frozenset({"href", "src", "action", "formaction", "srcdoc", "data"})


@probe("3.4.2")
async def hostile_text_stays_text(context: ProbeContext) -> Observations:
    """Store hostile text in every field that people fill, and parse every page that shows it."""
    stage = staged(context)
    seen = Observations()
    person = await stage.new_person(f"Eve {_HOSTILE[1]}")
    company = await stage.found(person, f"Evil {_HOSTILE[0]}", "startup")
    stored = await _store(stage, person, company)
    seen.expect("hostile text was stored in many fields", stored >= 10, stored)  # noqa: PLR2004 - of the fields there are
    pages = await crawl(person, company.slug)
    shown = sum(_MARK.encode() in answer.body for answer in pages.values())
    seen.expect("many pages show it", shown >= 5, f"{shown} of {len(pages)} pages")  # noqa: PLR2004 - of its rooms
    harm: list[str] = []
    for path, answer in pages.items():
        reader = _Reader()
        reader.feed(answer.body.decode())
        harm += [f"{path.replace(company.slug, '…')}: {found}" for found in reader.harm]
    seen.expect("on no page is any of it markup", not harm, "; ".join(harm[:5]) or f"{len(pages)} pages")
    policies = {answer.header("content-security-policy") for answer in pages.values()}
    strict = all("script-src 'self'" in policy and "unsafe" not in policy for policy in policies)
    seen.expect("every page forbids inline script", bool(policies) and strict, "; ".join(policies)[:200])
    return seen


async def _store(stage: Stage, person: Person, company: Company) -> int:
    """Fill every field with hostile text; return how many were taken."""
    browser, base = person.browser, f"{API}/companies/{company.slug}"
    taken = 0
    for number, text in enumerate(_HOSTILE):
        body = {"kind": "decision", "title": text[:200], "body": text, "evidence": text}
        taken += (await browser.post(f"{base}/memory", body)).status < 400  # noqa: PLR2004 - taken
        metric = {"slug": f"m{number}", "name": text[:120], "definition": text, "unit": text[:20], "source": text}
        taken += (await browser.post(f"{base}/metrics", metric)).status < 400  # noqa: PLR2004 - taken
    await stage.say(person, company, f"What do we know about {_HOSTILE[0]} and {_HOSTILE[1]} {_HOSTILE[4]}?")
    await stage.say(person, company, f"/write notes/evil.md | {' '.join(_HOSTILE)}")
    await stage.say(person, company, f"Please record a decision that {_HOSTILE[1]}")
    return taken


class _Reader(HTMLParser):
    """Notes every element and attribute that could run or load something which a page of ours does not have."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.harm: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self._in_script = tag == "script"
        if tag in _DANGEROUS or (tag == "script" and not attributes.get("src", "").startswith("/static/")):
            self.harm.append(f"<{tag}>")
        for name, value in attributes.items():
            if name.startswith("on"):
                self.harm.append(f"<{tag} {name}>")
            if name in _ADDRESSES and value.strip().lower().startswith(("javascript:", "data:", "vbscript:")):
                self.harm.append(f"<{tag} {name}={value[:30]}>")
            if tag in {"img", "script", "link"} and name in {"src", "href"} and not value.startswith("/"):
                self.harm.append(f"<{tag}> loads {value[:30]}")

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.harm.append("inline script")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_script = False
