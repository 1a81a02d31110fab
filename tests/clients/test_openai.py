"""The openai client, sync and async, as its documentation uses it: only the base URL and the key differ."""

import unittest

import openai

from demo import MODEL, PAT, ROOT, wait_until_nothing_streams

MESSAGES = [{"role": "user", "content": "Say something."}]
# No retries: what the first answer says is what is tested.
OPTIONS = {"base_url": f"{ROOT}/v1", "max_retries": 0, "timeout": 30}


class Sync(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(api_key=PAT, **OPTIONS)
        self.addCleanup(self.client.close)

    def test_a_completion_has_text_and_usage(self):
        completion = self.client.chat.completions.create(model=MODEL, messages=MESSAGES)
        self.assertTrue(completion.choices[0].message.content)
        self.assertGreater(completion.usage.completion_tokens, 0)

    def test_a_stream_has_no_usage_chunk_that_was_not_asked_for(self):
        stream = self.client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        chunks = list(stream)
        self.assertGreater(len(chunks), 1)
        # Code that indexes choices[0] of every chunk is everywhere.
        self.assertTrue(all(chunk.choices for chunk in chunks))
        self.assertTrue("".join(chunk.choices[0].delta.content or "" for chunk in chunks))

    def test_a_stream_ends_with_the_usage_that_was_asked_for(self):
        stream = self.client.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        self.assertFalse(chunks[-1].choices)
        self.assertGreater(chunks[-1].usage.prompt_tokens, 0)
        self.assertGreater(chunks[-1].usage.completion_tokens, 0)

    def test_completions_of_plain_text(self):
        completion = self.client.completions.create(model=MODEL, prompt="Once")
        self.assertTrue(completion.choices[0].text)

    def test_embeddings(self):
        embedded = self.client.embeddings.create(model=MODEL, input=["a", "b"], encoding_format="float")
        self.assertEqual([item.index for item in embedded.data], [0, 1])
        self.assertGreater(len(embedded.data[0].embedding), 1)
        self.assertGreater(embedded.usage.prompt_tokens, 0)

    def test_models_are_listed_and_found(self):
        names = [model.id for model in self.client.models.list()]
        self.assertIn(MODEL, names)
        self.assertEqual(self.client.models.retrieve(MODEL).id, MODEL)

    def test_a_stream_that_is_left_ends_and_the_client_goes_on(self):
        for _ in range(5):
            with self.client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True) as stream:
                next(iter(stream))
        wait_until_nothing_streams()
        self.test_a_completion_has_text_and_usage()

    def test_the_request_id_of_the_proxy_is_the_clients(self):
        answer = self.client.models.with_raw_response.list()
        self.assertTrue(answer.headers["x-request-id"])
        completion = self.client.chat.completions.create(model=MODEL, messages=MESSAGES)
        self.assertTrue(completion._request_id)

    def test_refusals_raise_what_the_client_documents(self):
        stranger = self.client.with_options(api_key="pat_nonsense")
        with self.assertRaises(openai.AuthenticationError) as raised:
            stranger.chat.completions.create(model=MODEL, messages=MESSAGES)
        self.assertTrue(raised.exception.body["message"])
        with self.assertRaises(openai.NotFoundError) as raised:
            self.client.chat.completions.create(model="nonsense", messages=MESSAGES)
        self.assertEqual(raised.exception.code, "model_not_found")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("nonsense")
        elsewhere = self.client.with_options(base_url=f"{ROOT}-not/v1")
        with self.assertRaises(openai.NotFoundError):
            elsewhere.models.list()


class Async(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.client = openai.AsyncOpenAI(api_key=PAT, **OPTIONS)
        self.addAsyncCleanup(self.client.close)

    async def test_a_completion(self):
        completion = await self.client.chat.completions.create(model=MODEL, messages=MESSAGES)
        self.assertTrue(completion.choices[0].message.content)

    async def test_a_stream_with_usage(self):
        stream = await self.client.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        self.assertGreater(chunks[-1].usage.completion_tokens, 0)

    async def test_embeddings_in_the_clients_own_encoding(self):
        embedded = await self.client.embeddings.create(model=MODEL, input="a")
        self.assertGreater(len(embedded.data[0].embedding), 1)

    async def test_models(self):
        self.assertIn(MODEL, [model.id async for model in self.client.models.list()])

    async def test_many_streams_at_once_some_of_them_left(self):
        import asyncio

        async def one(number: int) -> int:
            stream = await self.client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            async with stream:
                count = 0
                async for _ in stream:
                    count += 1
                    if number % 2:
                        break
            return count

        counts = await asyncio.gather(*(one(number) for number in range(20)))
        self.assertTrue(all(count > 0 for count in counts))
        await asyncio.to_thread(wait_until_nothing_streams)


if __name__ == "__main__":
    unittest.main()
