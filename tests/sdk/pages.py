"""The pages on which people sign in can be used by everybody, and give an attacker nothing to hold on to.

Names for every field, a language, a title, one heading, colours that can be told apart in light and in dark; no scripts, nothing
from elsewhere, headers that forbid both, and answers that do not tell a wrong name from a wrong password.
"""

import html.parser
import re

from harness import Checks, Installation
from people import PASSWORD, Client, Person, field

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
check = Checks()


class Page(html.parser.HTMLParser):
    """What is in a page, and what is wrong with it."""

    def __init__(self, text):
        super().__init__()
        self.wrong, self.open, self.labels, self.fields, self.ids, self.headings, self.words = [], [], set(), [], [], [], {}
        self.language = None
        self.feed(text)
        self.close()
        if self.open:
            self.wrong.append(f"left open: {self.open}")
        for attributes in self.fields:
            name = attributes.get("id")
            if not (attributes.get("aria-label") or name in self.labels):
                self.wrong.append(f"a field without a label: {attributes}")
        for name in {name for name in self.ids if self.ids.count(name) > 1}:
            self.wrong.append(f"two of {name}")
        for reference in self.references():
            if reference not in self.ids:
                self.wrong.append(f"leads to nothing: #{reference}")
        if not self.language:
            self.wrong.append("no language")
        if not self.words.get("title", "").strip():
            self.wrong.append("no title")
        if self.headings.count("h1") != 1:
            self.wrong.append(f"{self.headings.count('h1')} main headings")
        for before, after in zip(["h1", *self.headings], self.headings):
            if int(after[1]) > int(before[1]) + 1:
                self.wrong.append(f"{after} follows {before}")

    def references(self):
        return [part for attributes in self.fields for part in attributes.get("aria-describedby", "").split()]

    def handle_starttag(self, tag, attributes):
        attributes = {name: value or "" for name, value in attributes}
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "html":
            self.language = attributes.get("lang")
        if tag == "label":
            self.labels.add(attributes.get("for"))
        if tag in ("input", "select", "textarea") and attributes.get("type") not in ("hidden", "submit"):
            self.fields.append(attributes)
            if attributes.get("type") == "password" or "code" in attributes.get("name", ""):
                if not attributes.get("autocomplete"):
                    self.wrong.append(f"a password manager cannot help: {attributes}")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)
        if tag == "img" and "alt" not in attributes or tag == "svg" and not (attributes.get("aria-label") or attributes.get("aria-hidden")):
            self.wrong.append(f"a picture without words: {tag}")
        if tag in ("script", "iframe", "object", "embed"):
            self.wrong.append(f"a {tag}")
        self.wrong += [f"{name} on {tag}" for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href", "action"):
            if re.match(r"(https?:)?//|javascript:", attributes.get(name, "")):
                self.wrong.append(f"something from elsewhere: {attributes[name]}")
        if tag == "th" and not attributes.get("scope"):
            self.wrong.append("a heading of a table without scope")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open[-1] != tag:
            self.wrong.append(f"</{tag}> where {self.open[-1:]} is open")
        else:
            self.open.pop()

    def handle_data(self, text):
        if self.open:
            self.words[self.open[-1]] = self.words.get(self.open[-1], "") + text


def luminance(colour):
    parts = [int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def colours(style):
    """Pairs that are seen on each other, in both schemes (WCAG 2.2: 4.5 for text, 3 for borders of fields)."""
    schemes = [dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6})", block)) for block in re.findall(r":root\s*{([^}]*)}", style)]
    check.want("there are colours for light and for dark", len(schemes) == 2, schemes)
    for name, scheme in zip(("light", "dark"), schemes):
        for one, other, least in (("ink", "paper", 4.5), ("ink", "card", 4.5), ("quiet", "paper", 4.5), ("bad", "paper", 4.5),
                                  ("act", "paper", 4.5), ("on-act", "act", 4.5), ("line", "paper", 3), ("line", "card", 3)):
            ratio = contrast(scheme[one], scheme[other])
            check.want(f"{name}: {one} on {other} can be read ({ratio:.1f})", ratio >= least)


def look(name, answer, status, more=()):
    check.want(f"{name}: answers {status}", answer.status == status, (answer.status, answer.text[:500]))
    page = Page(answer.text)
    check.want(f"{name}: can be used by everybody, with nothing in it that should not be", not page.wrong, page.wrong)
    policy = answer.headers.get("Content-Security-Policy", "")
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";") if " " in part.strip())
    strict = directives.get("default-src") == "'none'" and "script-src" not in directives and "unsafe" not in policy
    check.want(f"{name}: runs no scripts and is framed by nobody", strict and directives.get("frame-ancestors") == "'none'", policy)
    kept = answer.headers.get("Cache-Control", "")
    check.want(f"{name}: is not kept by browsers", "no-store" in kept, kept)
    check.want(f"{name}: sends nobody where one was", answer.headers.get("Referrer-Policy") == "no-referrer", dict(answer.headers))
    for text in more:
        check.want(f"{name}: says {text!r}", text in answer.text, answer.text[:800])
    return page


with Installation() as place:
    place.settings["PUBLIC_BASE_URL"] = place.base
    with place.serve() as server:
        visitor = Client(place.base)
        link = place.query("user", "add", "--name", "olga", "--role", "admin")["set_up_url"]
        path = link[len(place.base):]
        look("sign-in", visitor.ask("GET", "/sign-in"), 200)
        look("set-up", visitor.ask("GET", path), 200)
        look("set-up, a password too short", visitor.form(path, password="short", again="short", code="000000"), 422)
        look("set-up, a wrong code", visitor.form(path, password=PASSWORD, again=PASSWORD, code="abcdef"), 422)
        look("a link that is none", visitor.ask("GET", "/set-up/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 404)
        wrong = [visitor.form("/sign-in", name=name, password="not the password at all") for name in ("olga", "nobody-of-this-name")]
        look("sign-in, refused", wrong[0], 401, ["wrong"])
        check.want("a wrong name and a wrong password are answered alike",
                   (wrong[0].status, wrong[0].body) == (wrong[1].status, wrong[1].body), [answer.text[:300] for answer in wrong])
        person = Person(place.base, link, "olga")
        check.want("ten recovery codes are shown", len(set(person.recovery)) == 10, person.recovery)
        look("a link that was used", visitor.ask("GET", path), 404)
        first = person.form("/sign-in", name="olga", password=PASSWORD)
        check.want("the password leads on", first.status == 303, first.text[:500])
        cookie = first.headers.get("Set-Cookie", "").lower()
        check.want("the cookie is for our pages only", "httponly" in cookie and "samesite=strict" in cookie and "domain" not in cookie, cookie)
        half = dict(person.cookies)
        check.want("with a password alone nothing is open", person.ask("GET", "/api/v1/me").status == 401)
        step = person.ask("GET", "/sign-in")
        look("second step", step, 200)
        used = person.form("/sign-in", code=person.used_code, csrf=field(step.text, "csrf"))
        look("second step, a code that was used", used, 401, ["used before"])
        person.sign_in()
        check.want("each step has another cookie", half != person.cookies and bool(person.cookies), (half, person.cookies))
        page = person.ask("GET", "/account")
        look("account", page, 200, ["olga", "9 are left"])
        look("account, a wrong present password", person.form("/account/password", csrf=field(page.text, "csrf"), current="wrong wrong wrong",
                                                               password=PASSWORD + " 2", again=PASSWORD + " 2"), 401)
        forged = person.ask("POST", "/account/sessions/end-others", "csrf=", Content_Type="application/x-www-form-urlencoded",
                            Origin="https://evil.example")
        check.want("a form of another site changes nothing", forged.status == 403, forged.status)
        me = person.ask("GET", "/api/v1/me")
        check.want("the interface knows who it is", me.status == 200 and me.json()["role"] == "admin", me.text)
        colours(visitor.ask("GET", "/people.css").text)
        docs = visitor.ask("GET", "/api/docs")
        check.want("the interface is described for people", docs.status == 200 and "<title>" in docs.text and 'lang="en"' in docs.text, docs.text[:300])
        out = person.form("/sign-out", csrf=field(person.ask("GET", "/account").text, "csrf"))
        check.want("signing out ends it", out.status == 303 and person.ask("GET", "/api/v1/me").status == 401, out.status)
check.finish()
