#!/usr/bin/env python3
"""How long do the pages of cube-admin take when there is much to show?

    loadtest/pages.py fill DIRECTORY      puts 10,000,000 rows of usage by the hour (2,000 PATs, 40 domains, 8 weeks), 1,000,000
                                          requests and 1,000,000 actions into the database of a state directory, while nobody uses it
    loadtest/pages.py measure ORIGIN USERNAME PASSWORD [CALLS]
                                          opens every page of an administrator that many times (20) and prints median, 99th percentile
                                          and longest time in ms; fails if one is no 200 or over 100 ms at p99

The PATs and users of the fill are those of the database: `loadtest/fill.sh` makes a million. Run it once: it only adds. `docs/PERFORMANCE.md` has the numbers.
"""
import http.cookiejar
import re
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

HOUR_MS = 3_600_000
HOURS = 8 * 7 * 24
ROWS = 1_000_000

# Who used something: every 500th PAT, each in one of 40 domains.
DOMAINS = "INSERT INTO domains (id, name, alias, status, created_at, updated_at) VALUES (?, ?, ?, 'enabled', 1767225600000, 1767225600000)"
CALLERS = "CREATE TEMP TABLE caller (n INTEGER PRIMARY KEY, pat_id, user_id, domain_id)"
SERIES = "CREATE TEMP TABLE series (i INTEGER PRIMARY KEY)"
# In 93 of 100 hours each of them calls each of its four models.
HOURLY = """
INSERT INTO usage_hourly SELECT :first + hour.i * 3600000, domain_id, user_id, pat_id, 'model-' || ((n + model.i * 3) % 12),
    1 + n % 7, n % 2, 900 + n % 100, 300 + n % 50, 0, 4000, 9000, 250000, 1 + n % 7, 2000000
    FROM (SELECT i FROM series WHERE i < :hours) hour CROSS JOIN caller CROSS JOIN (SELECT i FROM series WHERE i < 4) model
    WHERE abs(random()) % 100 < 93
"""
REQUESTS = """
INSERT INTO usage (node, boot, seq, at_ms, domain_id, user_id, pat_id, operation, model, status, record)
    SELECT 'fill', 'fill', i, :first + i * :step, domain_id, user_id, pat_id, 'llm_chat_completions', 'model-1', 200, json_object(
    'seq', i, 'at_ms', :first + i * :step, 'request_id', 'fill-' || i, 'method', 'POST', 'path', '/proxy/fill/v1/chat/completions',
    'status', 200, 'ending', 'complete', 'bytes_in', 400, 'bytes_out', 900, 'duration_us', 200000, 'attempts', 1, 'estimated', json('false'),
    'core', 0) FROM series JOIN caller ON caller.n = i * 7919 % 2000
"""
ACTIONS = """
INSERT INTO audit (at_ms, actor_user, actor_pat, action, domain_id, entity_type, entity_id, outcome, details)
    SELECT :first + i * :step, user_id, CASE i % 2 WHEN 0 THEN pat_id END, 'pat.create', CASE i % 3 WHEN 0 THEN domain_id END, 'pat', 'fill-' || i,
    'ok', '{}' FROM series JOIN caller ON caller.n = i * 7919 % 2000
"""


def fill(directory):
    db = sqlite3.connect(f"{directory}/cube-admin.sqlite", isolation_level=None)
    for statement in ["PRAGMA foreign_keys = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -1000000", "BEGIN", CALLERS, SERIES]:
        db.execute(statement)
    db.executemany("INSERT INTO series VALUES (?)", ((nth,) for nth in range(ROWS)))
    domains = sorted(uuid.uuid4().bytes for _ in range(40))
    db.executemany(DOMAINS, [(id, f"Domain {nth}", f"fill-{id.hex()}") for nth, id in enumerate(domains)])
    pats = db.execute("SELECT id, user_id FROM pats").fetchall()[:ROWS:500]
    callers = sorted((domains[nth % 40], user, pat) for nth, (pat, user) in enumerate(pats))
    db.executemany("INSERT INTO caller VALUES (?, ?, ?, ?)", [(nth, pat, user, domain) for nth, (domain, user, pat) in enumerate(callers)])
    first = (int(time.time() * 1000) // HOUR_MS - HOURS + 1) * HOUR_MS
    # Requests are kept for 30 days, unless the settings say otherwise.
    spread = {"first": first + HOURS * HOUR_MS // 2, "step": HOURS * HOUR_MS // 2 // ROWS}
    for statement, values in [(HOURLY, {"first": first, "hours": HOURS}), (REQUESTS, spread), (ACTIONS, spread)]:
        begun = time.time()
        rows = db.execute(statement, values).rowcount
        print(f"{statement.split()[2]}: {rows} rows in {time.time() - begun:.0f} s", flush=True)
    # The next start of cube-admin makes them anew, of the hours.
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'usage\\_by\\_%' ESCAPE '\\'").fetchall():
        db.execute(f"DELETE FROM {table}")
    db.execute("COMMIT")
    db.close()


class Visitor:
    """A browser that is signed in."""

    def __init__(self, origin, username, password):
        self.origin = origin.rstrip("/")
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        csrf = re.search(r'name="csrf" value="([^"]+)"', self.get("/ui/sign-in")[1])[1]
        form = urllib.parse.urlencode({"csrf": csrf, "username": username, "password": password}).encode()
        request = urllib.request.Request(f"{self.origin}/ui/sign-in", data=form, headers={"Origin": self.origin})
        with self.opener.open(request, timeout=60) as answer:
            if answer.url != f"{self.origin}/ui/":
                sys.exit(f"cannot sign in as {username}")

    def get(self, path):
        begun = time.perf_counter()
        with self.opener.open(self.origin + path, timeout=120) as answer:
            text = answer.read().decode()
        return (time.perf_counter() - begun) * 1e3, text


def pages(visitor):
    """Every page that is a GET, with the things of this database: by section what its lists lead to."""
    found = [
        "/ui/", "/ui/pats", "/ui/pats?status=all&name=pat", "/ui/pats/new", "/ui/playground", "/ui/domains", "/ui/domains?page=2", "/ui/domains/new",
        "/ui/invitations", "/ui/permissions", "/ui/deployments", "/ui/routes", "/ui/routes/test", "/ui/nodes", "/ui/users", "/ui/users?page=300",
        "/ui/users?name=1&by=username", "/ui/users?name=nobody&by=email", "/ui/users/new", "/ui/account", "/ui/sessions", "/ui/reports",
        "/ui/api-keys", "/ui/api-keys/new", "/ui/groups",
    ]

    def first(pattern, path):
        match = re.search(pattern, visitor.get(path)[1])
        return match and match[1]

    for listing, pattern, tabs in [
        ("/ui/users?page=20", r'href="(/ui/users/[0-9a-f-]{36})"', [""]),
        ("/ui/domains?name=Domain", r'href="(/ui/domains/[0-9a-f-]{36})"', ["", "/members", "/roles", "/invitations", "/models"]),
        ("/ui/pats?status=all", r'href="(/ui/pats/[0-9a-f-]{36})"', ["", "/scopes", "/rotate", "/revoke"]),
    ]:
        if thing := first(pattern, listing):
            found += [thing + tab for tab in tabs]
    by = {}
    for group in ["user", "pat", "domain"]:
        csv = visitor.get(f"/ui/usage.csv?period=24h&by={group}")[1].splitlines()
        by[group] = next(row.split(",")[0] for row in csv[1:] if not row.startswith(","))
    for group in ["model", "domain", "user", "pat", "day", "hour"]:
        found += [f"/ui/usage?period={period}&by={group}" for period in ["24h", "7d", "30d", "90d"]]
        for narrowed in [*(f"{name}={value}" for name, value in by.items()), "model=model-1", f"domain={by['domain']}&model=model-1"]:
            found.append(f"/ui/usage?period=90d&by={group}&{narrowed}")
    found += ["/ui/usage?period=90d&by=pat&page=60", "/ui/usage.csv?period=90d&by=model", "/ui/usage.csv?period=90d&by=pat"]
    for narrowed in ["", *(f"{name}={value}" for name, value in by.items()), f"user={by['user']}&domain={by['domain']}",
                     f"user={by['user']}&pat={by['pat']}", f"user={uuid.UUID(int=1)}", f"pat={uuid.UUID(int=1)}", f"domain={by['domain']}&user={uuid.UUID(int=1)}"]:
        found += [f"/ui/audit?kind={kind}&{narrowed}" for kind in ["", "actions", "requests"]]
        later = first(r'href="(\?[^"]*after=[^"]*)"', f"/ui/audit?{narrowed}")
        if later:
            found.append("/ui/audit" + later.replace("&amp;", "&").replace("&#38;", "&"))
    return found


def measure(origin, username, password, calls="20"):
    visitor = Visitor(origin, username, password)
    slow = bad = 0
    for path in pages(visitor):
        try:
            visitor.get(path)
        except urllib.error.HTTPError as error:
            bad += 1
            print(f"{error.code}  {path}", flush=True)
            continue
        times = sorted(visitor.get(path)[0] for _ in range(int(calls)))
        p50, p99 = times[len(times) // 2], times[min(len(times) - 1, round(len(times) * 0.99))]
        slow += p99 > 100
        print(f"{p50:8.1f} {p99:8.1f} {times[-1]:8.1f}  {path}{'  over 100 ms' if p99 > 100 else ''}", flush=True)
    print(f"{slow} pages over 100 ms, {bad} not shown")
    sys.exit(bool(slow or bad))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fill", directory]:
            fill(directory)
        case ["measure", origin, username, password, *calls]:
            measure(origin, username, password, *calls)
        case _:
            sys.exit(__doc__)
