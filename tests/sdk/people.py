"""A person at a browser, as far as checks need one: sets up an account from its link, signs in, and asks the interface."""

import base64
import hashlib
import hmac
import html
import http.client
import json
import re
import struct
import time
import urllib.parse

PASSWORD = "seven quiet lanterns over water"


def totp(secret, at=None, step_s=30, digits=6):
    """The code of an authenticator app (RFC 6238)."""
    counter = struct.pack(">Q", int((time.time() if at is None else at) // step_s))
    digest = hmac.new(base64.b32decode(secret + "=" * (-len(secret) % 8)), counter, hashlib.sha1).digest()
    place = digest[-1] & 15
    number = struct.unpack(">I", digest[place:place + 4])[0] & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)


class Client:
    """Asks a server, with a token, a cookie or nothing."""

    def __init__(self, base, token=None):
        self.base, self.host = base, urllib.parse.urlsplit(base).netloc
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.cookies = {}

    def ask(self, method, path, body=None, seconds=30, **headers):
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(self.host, timeout=seconds)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip()
            if not value.strip() or "max-age=0" in line.lower():
                del self.cookies[name.strip()]
        return answer

    def form(self, path, **fields):
        return self.ask("POST", path, urllib.parse.urlencode(fields), Content_Type="application/x-www-form-urlencoded",
                        Origin=self.base, Sec_Fetch_Site="same-origin")


def field(page, name):
    """The value of a hidden field."""
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', page)
    if not found:
        raise SystemExit(f"FAIL the page has no field {name}: {page[:400]}")
    return html.unescape(found.group(1))


class Person(Client):
    """Somebody with an account, signed in with both factors."""

    def __init__(self, base, link, name):
        super().__init__(base)
        self.name = name
        path = urllib.parse.urlsplit(link).path
        page = self.ask("GET", path).text
        key = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
        if not key:
            raise SystemExit(f"FAIL the link of {name} leads to no key: {page[:400]}")
        self.secret = key.group(1).replace(" ", "")
        self.used_code = totp(self.secret)
        done = self.form(path, password=PASSWORD, again=PASSWORD, code=self.used_code)
        if done.status != 200:
            raise SystemExit(f"FAIL setting up {name}: {done.status} {done.text[:600]}")
        self.recovery = re.findall(r"<li>([0-9a-z-]{19})</li>", done.text)

    def sign_in(self):
        """With a recovery code: the app's code was used just now, and the next one is up to half a minute away."""
        first = self.form("/sign-in", name=self.name, password=PASSWORD)
        if first.status != 303:
            raise SystemExit(f"FAIL the password of {self.name}: {first.status} {first.text[:600]}")
        csrf = field(self.ask("GET", "/sign-in").text, "csrf")
        second = self.form("/sign-in", code=self.recovery.pop(), csrf=csrf)
        if second.status != 303:
            raise SystemExit(f"FAIL the code of {self.name}: {second.status} {second.text[:600]}")
        self.headers = {"Origin": self.base, "X-CSRF-Token": field(self.ask("GET", "/account").text, "csrf")}
        return self
