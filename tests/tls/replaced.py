"""The certificate is replaced under 200 running streams of the openai SDK: none is lost, and who connects afterwards is shown the new one.

    replaced.py COMMAND…    the command makes the new certificate, under the authority in SSL_CERT_FILE
"""

import asyncio
import hashlib
import json
import os
import ssl
import subprocess
import sys
from urllib.parse import urlsplit

from openai import AsyncOpenAI

# More events than anybody waits for: a stream is left when it has gone on for a while after the replacement, however long that took.
STREAMS, EVENTS, PACE_US, AFTERWARDS = 200, 1000, 200_000, 10
demo = json.loads(os.environ["CUBE_DEMO"])
at = urlsplit(demo["https"])


def shown():
    pem = ssl.get_server_certificate((at.hostname, at.port), ca_certs=os.environ["SSL_CERT_FILE"])
    return hashlib.sha256(pem.encode()).hexdigest()


async def main():
    before, begun, replaced = shown(), 0, asyncio.Event()

    async def stream(client):
        nonlocal begun
        words = afterwards = 0
        answer = await client.chat.completions.create(
            model=demo["model"], messages=[{"role": "user", "content": "hi"}], stream=True,
            extra_headers={"x-mock-events": str(EVENTS), "x-mock-pace-us": str(PACE_US)},
        )
        async for chunk in answer:
            if chunk.choices and chunk.choices[0].delta.content:
                begun += words == 0
                words += 1
                afterwards += replaced.is_set()
                if afterwards == AFTERWARDS:
                    await answer.close()
                    break
        return afterwards

    async def replace():
        while begun < STREAMS:
            await asyncio.sleep(0.01)
        subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
        while await asyncio.to_thread(shown) == before:
            await asyncio.sleep(0.05)
        replaced.set()

    base_url = f"{demo['https']}/proxy/{demo['domain']}/v1"
    async with AsyncOpenAI(base_url=base_url, api_key=demo["pat"], max_retries=0) as client, asyncio.timeout(120):
        *afterwards, _ = await asyncio.gather(*(stream(client) for _ in range(STREAMS)), replace())
    assert set(afterwards) == {AFTERWARDS}, f"words after the new certificate was shown: {afterwards}"


asyncio.run(main())
