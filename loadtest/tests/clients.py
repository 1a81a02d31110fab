"""The real `openai` and `ollama` clients (PyPI) against the mock, or against anything in front of it.

    pip install openai ollama
    python loadtest/tests/clients.py --openai http://127.0.0.1:8080/proxy/demo/v1 \
        --ollama http://127.0.0.1:8080/proxy/demo --pat pat_… --model demo-model

Each check prints one line; the exit status is the number of those that failed.
"""

import argparse
import asyncio
import sys
import traceback

import ollama
import openai


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--openai", required=True, help="base URL that ends in /v1")
    parser.add_argument("--ollama", required=True, help="base URL before /api")
    parser.add_argument("--pat", default="none")
    parser.add_argument("--model", default="demo-model")
    return parser.parse_args()


ARGS = arguments()
ASK = {"model": ARGS.model, "messages": [{"role": "user", "content": "Say something."}]}
OPENAI = openai.OpenAI(base_url=ARGS.openai, api_key=ARGS.pat, max_retries=0)
OLLAMA = ollama.Client(host=ARGS.ollama, headers={"Authorization": f"Bearer {ARGS.pat}"})


def a_chat_answers_with_text_and_usage():
    answer = OPENAI.chat.completions.create(**ASK)
    assert answer.choices[0].message.content.startswith("Hello")
    assert answer.usage.prompt_tokens == 9 and answer.usage.completion_tokens > 10


def a_streamed_chat_comes_in_pieces_and_tells_usage_when_asked():
    chunks = list(OPENAI.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("Hello") and text.endswith("produced.")
    assert len(chunks) > 20
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == len(text.split(" "))


def a_streamed_chat_tells_no_usage_unless_asked():
    chunks = list(OPENAI.chat.completions.create(**ASK, stream=True))
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks)


def a_legacy_completion_answers_whole_and_streamed():
    whole = OPENAI.completions.create(model=ARGS.model, prompt="x")
    parts = list(OPENAI.completions.create(model=ARGS.model, prompt="x", stream=True))
    assert whole.choices[0].text == "".join(part.choices[0].text for part in parts if part.choices)


def a_response_answers_whole_and_streamed():
    whole = OPENAI.responses.create(model=ARGS.model, input="x")
    events = list(OPENAI.responses.create(model=ARGS.model, input="x", stream=True))
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert whole.output_text == deltas and events[-1].response.usage.output_tokens > 10


def embeddings_are_decoded():
    answer = OPENAI.embeddings.create(model=ARGS.model, input=["a", "b"])
    assert len(answer.data) == 2 and answer.data[1].embedding[1] == 0.125


def models_are_listed():
    assert ARGS.model in [model.id for model in OPENAI.models.list()]


def audio_is_transcribed():
    answer = OPENAI.audio.transcriptions.create(model=ARGS.model, file=("a.wav", b"RIFF" * 1000))
    assert answer.text.startswith("Hello")


def a_stream_may_be_left():
    stream = OPENAI.chat.completions.create(**ASK, stream=True, extra_headers={"x-mock-pace-us": "20000"})
    next(iter(stream))
    stream.close()


def the_async_client_chats_streams_and_leaves():
    async def run():
        client = openai.AsyncOpenAI(base_url=ARGS.openai, api_key=ARGS.pat, max_retries=0)
        whole = await client.chat.completions.create(**ASK)
        text = ""
        async for chunk in await client.chat.completions.create(**ASK, stream=True):
            text += chunk.choices[0].delta.content or ""
        assert whole.choices[0].message.content == text
        stream = await client.chat.completions.create(**ASK, stream=True)
        await stream.close()
        await client.close()

    asyncio.run(run())


def an_error_is_the_clients_own_exception():
    try:
        OPENAI.chat.completions.create(**ASK, extra_headers={"x-mock-status": "429"})
    except openai.RateLimitError:
        return
    raise AssertionError("no exception")


def ollama_chats_whole_and_streamed():
    whole = OLLAMA.chat(**ASK)
    parts = list(OLLAMA.chat(**ASK, stream=True))
    assert whole.message.content == "".join(part.message.content for part in parts)
    assert parts[-1].done and parts[-1].eval_count == len(parts) - 1


def ollama_generates_whole_and_streamed():
    whole = OLLAMA.generate(model=ARGS.model, prompt="x")
    parts = list(OLLAMA.generate(model=ARGS.model, prompt="x", stream=True))
    assert whole.response == "".join(part.response for part in parts)


def ollama_embeds():
    assert len(OLLAMA.embed(model=ARGS.model, input=["a", "b"]).embeddings) == 2
    assert len(OLLAMA.embeddings(model=ARGS.model, prompt="a").embedding) == 8


def ollama_lists_and_shows():
    assert ARGS.model in [model.model for model in OLLAMA.list().models]
    assert OLLAMA.show(ARGS.model).details.family == "mock"


CHECKS = [value for value in list(globals().values()) if callable(value) and value.__module__ == __name__]
failed = 0
for check in CHECKS:
    if check is arguments:
        continue
    try:
        check()
        print("ok  ", check.__name__)
    except Exception:
        failed += 1
        print("FAIL", check.__name__)
        traceback.print_exc()
print(f"{len(CHECKS) - 1 - failed} passed, {failed} failed")
sys.exit(failed)
