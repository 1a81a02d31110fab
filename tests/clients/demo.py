"""The demo that the client tests talk to: what `cube-demo --json` printed, and how its gauges are read."""

import json
import logging
import os
import time
import urllib.request

DEMO = json.loads(os.environ["CUBE_DEMO"])
MODEL = DEMO["model"]
PAT = DEMO["pat"]
#: What an application would call its base URL, without the path of an API.
ROOT = f"{DEMO['origin']}/proxy/{DEMO['domain']}"

PATIENCE_S = 30

# unittest turns asyncio's debug mode on, which reports every callback above 100 ms: not what is tested here.
logging.getLogger("asyncio").setLevel(logging.ERROR)


def gauge(name: str) -> float:
    """Sum of all series of a metric on the ops listener."""
    ops = DEMO["ops"] if "://" in DEMO["ops"] else f"http://{DEMO['ops']}"
    with urllib.request.urlopen(f"{ops}/metrics", timeout=PATIENCE_S) as answer:
        lines = answer.read().decode().splitlines()
    samples = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return sum(float(value) for series, value in samples if series.split("{")[0] == name)


def wait_until_nothing_streams() -> None:
    """A stream that its caller closed must end upstream, not run on unseen."""
    until = time.monotonic() + PATIENCE_S
    while gauge("cube_proxy_active_streams") > 0:
        assert time.monotonic() < until, "a cancelled stream is still active"
        time.sleep(0.01)
