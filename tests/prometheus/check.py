"""Asks a Prometheus whether it has scraped the fleet, and what its rules say."""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ORIGIN = sys.argv[1]
PATIENCE_S = 60
# What must be there after a stream and an answer, and how much of it at least.
WANTED = {
    'up{job="cube-proxy"}': 1,
    'up{job="cube-admin"}': 1,
    "cube_proxy_ready": 1,
    'sum(cube_proxy_requests_total{ending="complete"})': 2,
    "sum(gen_ai_server_time_to_first_token_seconds_count)": 1,
    'sum(gen_ai_client_token_usage_sum{token_type="output"})': 1,
    "cube_proxy_feed_connected": 1,
    "cube_admin_database_up": 1,
    'cube_admin_nodes{state="connected"}': 1,
    "cube_admin_feed_streams": 1,
    'cube_admin_usage_records_total{outcome="stored"}': 2,
    'sum(cube_admin_requests_total{status_class="2xx"})': 1,
    "histogram_quantile(0.5, sum by (le) (cube_admin_change_duration_seconds_bucket))": 0,
}


def get(path, **query):
    """The data of an answer of Prometheus's API."""
    url = f"{ORIGIN}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as response:
        answer = json.load(response)
    assert answer["status"] == "success", answer
    return answer["data"]


def missing():
    """Which of WANTED is not there yet."""
    try:
        found = {expression: get("query", query=expression)["result"] for expression in WANTED}
    except (urllib.error.URLError, ConnectionError) as error:
        return [str(error)]
    return [e for e, result in found.items() if not result or not float(result[0]["value"][1]) >= WANTED[e]]


def unsound_rules():
    """Rules that have not been evaluated, or could not be, or fire. On a busy machine one may be pending: that is what its `for` is for."""
    rules = [rule for group in get("rules")["groups"] for rule in group["rules"]]
    assert rules, "no rules were read"
    said = [(r["name"], r["health"], r["state"], r.get("lastError")) for r in rules]
    return [rule for rule in said if rule[1] != "ok" or rule[2] == "firing"]


deadline = time.monotonic() + PATIENCE_S
while left := missing() or unsound_rules():
    if time.monotonic() > deadline:
        sys.exit(f"after {PATIENCE_S} s: {left}")
    time.sleep(0.5)
print(f"prometheus: {len(WANTED)} figures are there, every alert can be evaluated, none fires")
