#!/usr/bin/env python3
"""Signs people in at a provider that is not ours.

    check.py PAGES ISSUER DRIVER        origins of cube-admin, the provider and chromedriver

1. By plain requests with a cookie jar: there and back, refused there, an address that is not verified, a code that comes twice.
2. In Chromium: the button, the provider's own form, and a session at the end, with our policy for pages and its rules for cookies in force.
"""

import http.cookiejar
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

PAGES, ISSUER, DRIVER = sys.argv[1:]


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing: each step is looked at."""

    def redirect_request(self, *_):
        return None


class Person:
    """A browser without script."""

    def __init__(self):
        jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(Stay, urllib.request.HTTPCookieProcessor(jar))

    def ask(self, url, form=None):
        """Status, `Location` and text of one request."""
        body = None if form is None else urllib.parse.urlencode(form).encode()
        try:
            answer = self.opener.open(urllib.request.Request(url, data=body), timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        return answer.status, answer.headers.get("location"), answer.read().decode()

    def leave(self):
        """The provider's address that the button leads to."""
        page = self.ask(f"{PAGES}/ui/sign-in?next=%2Fui%2Faccount")[2]
        assert "Sign in with the mock" in page, page
        way = page.split('id="elsewhere" href="')[1].split('"')[0]
        status, there, _ = self.ask(PAGES + way)
        assert status == 303 and there.startswith(ISSUER), there
        assert self.ask(there)[0] == 200, "the provider takes the request"
        return there

    def let_in(self, form):
        """The way back."""
        status, back, text = self.ask(self.leave(), form)
        assert status == 302 and back.startswith(f"{PAGES}/ui/oidc/callback?"), (status, back, text)
        return back


def by_requests():
    ada = Person()
    back = ada.let_in({"sub": "ada"})
    status, home, text = ada.ask(back)
    assert (status, home) == (303, "/ui/account"), (status, home, text)
    page = ada.ask(PAGES + home)[2]
    assert "ada@example.org" in page and "Ada" in page, page
    assert ada.ask(back)[0] == 401, "a code comes twice"

    refused = Person()
    status, _, text = refused.ask(refused.let_in({"action": "deny"}))
    assert status == 401 and "let nobody in" in text, (status, text)
    eve = Person()
    status, _, text = eve.ask(eve.let_in({"sub": "eve"}))
    assert status == 401 and "opens nothing here" in text, (status, text)
    # The address is taken, and the provider knows its owner by another name.
    thief = Person()
    urllib.request.urlopen(
        urllib.request.Request(
            f"{ISSUER}/users/thief",
            data=json.dumps({"email": "ada@example.org", "email_verified": True}).encode(),
            headers={"content-type": "application/json"},
            method="PUT",
        ),
        timeout=30,
    )
    assert thief.ask(thief.let_in({"sub": "thief"}))[0] == 401
    again = Person()
    assert again.ask(again.let_in({"sub": "ada"}))[:2] == (303, "/ui/account"), "the second time it is the same one"


def driver(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(DRIVER + path, data=data, method=method, headers={"content-type": "application/json"})
    try:
        return json.load(urllib.request.urlopen(request, timeout=60))["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{path}: {error.read().decode()}") from error


def until(what, wanted):
    """Waits for something that a page does in its own time."""
    patience = time.monotonic() + 20
    while not wanted():
        assert time.monotonic() < patience, what()
        time.sleep(0.1)


def in_chromium():
    options = {"binary": "/usr/bin/chromium", "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"]}
    wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
    session = "/session/" + driver("POST", "/session", wanted)["sessionId"]
    try:
        address = lambda: driver("GET", f"{session}/url")
        script = lambda text: driver("POST", f"{session}/execute/sync", {"script": text, "args": []})

        def element(selector):
            found = driver("POST", f"{session}/element", {"using": "css selector", "value": selector})
            return f"{session}/element/{next(iter(found.values()))}"

        driver("POST", f"{session}/url", {"url": f"{PAGES}/ui/account"})
        until(address, lambda: address() == f"{PAGES}/ui/sign-in?next=%2Fui%2Faccount")
        driver("POST", element("#elsewhere") + "/click", {})
        until(address, lambda: address().startswith(f"{ISSUER}/oauth2/authorize?"))
        driver("POST", element("input[name=sub]") + "/value", {"text": "ada"})
        driver("POST", element("form button[type=submit]") + "/click", {})
        until(address, lambda: address() == f"{PAGES}/ui/account")
        assert "ada@example.org" in script("return document.documentElement.innerHTML")
        assert script("return document.cookie") == "", "no cookie is for scripts"
    finally:
        driver("DELETE", session)


by_requests()
in_chromium()
print("signed in at another's provider: by requests and in Chromium")
