"""The openai SDK over HTTPS: a completion and a stream, believing the authority in SSL_CERT_FILE and nobody else."""

import json
import os

from openai import OpenAI

demo = json.loads(os.environ["CUBE_DEMO"])
with OpenAI(base_url=f"{demo['https']}/proxy/{demo['domain']}/v1", api_key=demo["pat"], max_retries=0) as client:
    asked = {"model": demo["model"], "messages": [{"role": "user", "content": "hi"}]}
    whole = client.chat.completions.create(**asked)
    assert whole.choices[0].message.content, whole
    words = [chunk.choices[0].delta.content for chunk in client.chat.completions.create(stream=True, **asked) if chunk.choices]
    assert len([word for word in words if word]) > 1, words
