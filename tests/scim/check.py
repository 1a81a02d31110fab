#!/usr/bin/env python3
"""Tries a running SCIM service from outside.

    check.py BASE KEY            BASE is …/api/scim/v2

1. scim2-tester's checks, all of them, against what the service says of itself: none may fail.
2. Entra's and Okta's request sequences as their documents print them (entra.json, okta.json): every answer has the status and the members
   that the provider reads.
"""

import json
import pathlib
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server
from scim2_tester.utils import Status

HERE = pathlib.Path(__file__).parent


def conformance(base: str, key: str) -> int:
    client = httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=30)
    results = check_server(SyncSCIMClient(client))
    bad = [result for result in results if result.status in (Status.ERROR, Status.CRITICAL)]
    for result in bad:
        print(f"{result.status.name} {result.title} ({result.resource_type}): {result.reason}", file=sys.stderr)
    counts = {status.name: sum(result.status == status for result in results) for status in Status}
    print("scim2-tester:", ", ".join(f"{count} {name.lower()}" for name, count in counts.items() if count))
    # A tester that found nothing to try proves nothing.
    if sum(result.status == Status.SUCCESS for result in results) < 100:
        print("scim2-tester tried too little", file=sys.stderr)
        return 1
    return len(bad)


def filled(value, saved):
    """The value with every {name} replaced by what was saved under that name."""
    text = json.dumps(value)
    return json.loads(re.sub(r"\{(\w+)\}", lambda match: saved.get(match[1], match[0]), text))


def holds(expected, found) -> bool:
    """Whether all that is expected is there; `null` stands for what is absent."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(holds(value, found.get(key)) for key, value in expected.items())
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(holds, expected, found))
    return expected == found


def send(base: str, key: str, step: dict):
    path, _, query = step["path"].partition("?")
    query = urllib.parse.quote(query, safe="=&")
    body = json.dumps(step["body"]).encode() if "body" in step else None
    request = urllib.request.Request(f"{base}{path}?{query}" if query else f"{base}{path}", body, method=step["method"])
    request.add_header("Authorization", f"Bearer {key}")
    request.add_header("Content-Type", "application/scim+json; charset=utf-8")
    request.add_header("Accept", "application/scim+json, application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def replay(name: str, base: str, key: str) -> int:
    steps = json.loads((HERE / name).read_text())["steps"]
    saved, bad = {}, 0
    for step in steps:
        step = filled(step, saved)
        status, text = send(base, key, step)
        answer = json.loads(text) if text else None
        if "save" in step and answer:
            saved[step["save"]] = answer.get("id", "")
        if status != step["status"] or not holds(step.get("answer"), answer) and "answer" in step:
            bad += 1
            print(f"{name}: {step['what']}: {step['method']} {step['path']}: {status} {text.decode()}", file=sys.stderr)
    print(f"{name}: {len(steps) - bad} of {len(steps)} requests answered as documented")
    return bad


def main() -> int:
    base, key = sys.argv[1:]
    return min(1, replay("entra.json", base, key) + replay("okta.json", base, key) + conformance(base, key))


if __name__ == "__main__":
    sys.exit(main())
