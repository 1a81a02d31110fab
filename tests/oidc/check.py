#!/usr/bin/env python3
"""Signs people in at a provider that is not ours.

    check.py PAGES ISSUER DRIVER        origins of cube-admin, the provider and chromedriver

The superadmin `admin` has the password of the variable CUBE_ADMIN_PASSWORD.

0. The provider holds to PKCE: without a challenge by S256 it gives no code, without its verifier it takes none. So the verifier is right
   wherever somebody gets in below.
1. By plain requests with a cookie jar: there and back, refused there, an address that is not verified, a code that comes twice.
2. In Chromium: the button, the provider's own form, and a session at the end, with our policy for pages and its rules for cookies in force.
3. In Chromium: a superadmin finds that account on the user's page, and removes the link. Before and after, on the pages between and on the
   sign-in page with its button, light and dark, axe-core (the file of the variable AXE) finds nothing serious.
"""

import contextlib
import http.cookiejar
import json
import os
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


def redeem(code, **verifier):
    """Status and error of a request for tokens with a code that was meant for cube-admin."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": f"{PAGES}/ui/oidc/callback"}
    status, _, text = Person().ask(f"{ISSUER}/oauth2/token", form | {"client_id": "cube", "client_secret": "any"} | verifier)
    return status, json.loads(text).get("error")


def the_provider_holds_to_pkce():
    there = Person().leave()
    place, _, query = there.partition("?")
    asked = dict(urllib.parse.parse_qsl(query))
    assert asked["code_challenge_method"] == "S256" and len(asked["code_challenge"]) == 43, asked
    for less in [{"code_challenge": ""}, {"code_challenge_method": ""}, {"code_challenge_method": "plain"}]:
        kept = {name: value for name, value in (asked | less).items() if value}
        status, back, _ = Person().ask(f"{place}?{urllib.parse.urlencode(kept)}")
        assert status == 400 or "error=invalid_request" in (back or ""), (less, status, back)
    for verifier in [{}, {"code_verifier": "x" * 43}, {"code_verifier": asked["code_challenge"]}]:
        back = Person().let_in({"sub": "ada"})
        code = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(back).query))["code"]
        status, error = redeem(code, **verifier)
        assert status == 400 and error in ("invalid_request", "invalid_grant"), (verifier, status, error)


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
    patience = time.monotonic() + 60
    while not wanted():
        assert time.monotonic() < patience, what()
        time.sleep(0.1)


class Chromium:
    """One browser, with an empty profile."""

    def __init__(self):
        options = {"binary": "/usr/bin/chromium", "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"]}
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        self.session = "/session/" + driver("POST", "/session", wanted)["sessionId"]

    def close(self):
        driver("DELETE", self.session)

    def element(self, selector):
        found = driver("POST", f"{self.session}/element", {"using": "css selector", "value": selector})
        return f"{self.session}/element/{next(iter(found.values()))}"

    def press(self, selector):
        driver("POST", self.element(selector) + "/click", {})

    def write(self, selector, text):
        driver("POST", self.element(selector) + "/value", {"text": text})

    def go(self, path):
        driver("POST", f"{self.session}/url", {"url": PAGES + path})

    def script(self, text):
        return driver("POST", f"{self.session}/execute/sync", {"script": text, "args": []})

    def judge(self):
        """Fails on what keeps somebody out, in either theme and the window of a phone or a desk."""
        run = """const done = arguments[arguments.length - 1];
            // Colours that are still on their way from one theme to the other are nobody's choice.
            Promise.all(document.getAnimations().map((one) => one.finished)).then(() => axe.run(document, { resultTypes: ['violations'] })).then((result) => done(result.violations
              .filter((found) => ['serious', 'critical'].includes(found.impact))
              .map((found) => found.id + ': ' + found.nodes.map((node) => node.target.join(' ')).join(', '))),
              (error) => done(['axe: ' + error]))"""
        for theme, width in [("light", 1280), ("dark", 360)]:
            driver("POST", f"{self.session}/window/rect", {"width": width, "height": 900})
            self.script(f"document.querySelector('button[value={theme}]').click()")
            chosen = lambda: self.script("return document.documentElement.dataset.theme")
            until(chosen, lambda: chosen() == theme)
            with open(os.environ["AXE"], encoding="utf-8") as file:
                self.script(file.read())
            found = driver("POST", f"{self.session}/execute/async", {"script": run, "args": []})
            place = driver("GET", f"{self.session}/url")
            assert not found, f"{place}, {theme}: {found}"

    def until_at(self, start):
        """Waits for the address to begin like this."""
        address = lambda: driver("GET", f"{self.session}/url")
        until(address, lambda: address().startswith(start))

    def until_says(self, words):
        """Waits for words on the page."""
        text = lambda: self.script("return document.querySelector('main')?.innerText ?? ''")
        until(text, lambda: words in text())


def in_chromium():
    with contextlib.closing(Chromium()) as browser:
        browser.go("/ui/account")
        browser.until_at(f"{PAGES}/ui/sign-in?next=%2Fui%2Faccount")
        browser.judge()
        browser.press("#elsewhere")
        browser.until_at(f"{ISSUER}/oauth2/authorize?")
        browser.write("input[name=sub]", "ada")
        browser.press("form button[type=submit]")
        browser.until_at(f"{PAGES}/ui/account")
        assert "ada@example.org" in browser.script("return document.documentElement.innerHTML")
        assert browser.script("return document.cookie") == "", "no cookie is for scripts"


def link_in_chromium():
    with contextlib.closing(Chromium()) as browser:
        browser.go("/ui/sign-in?next=%2Fui%2Fusers")
        browser.write("#f-username", "admin")
        browser.write("#f-password", os.environ["CUBE_ADMIN_PASSWORD"])
        browser.press("form.sign-in button[type=submit]")
        browser.until_at(f"{PAGES}/ui/users")
        browser.until_says("ada@example.org")
        row = "[...document.querySelectorAll('tbody tr')].find(row => row.innerText.includes('ada@example.org'))"
        ada = browser.script(f"return {row}.querySelector('a').pathname")
        browser.go(ada)
        browser.until_says(f"Linked to an account at {ISSUER}")
        assert browser.script("return document.querySelector('#f-subject').value") == "ada"
        browser.judge()
        browser.press("a[href$='/unlink']")
        browser.until_says("Whoever is “ada”")
        browser.judge()
        browser.press("form.confirm button")
        browser.until_says(f"Not linked to an account at {ISSUER}")
        browser.judge()


the_provider_holds_to_pkce()
by_requests()
in_chromium()
link_in_chromium()
print(
    "signed in at another's provider: by requests and in Chromium; the link seen and removed;"
    " PKCE holds, and axe-core finds nothing serious"
)
