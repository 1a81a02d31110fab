"""The ollama client, sync and async, on the native paths."""

import unittest

import ollama

from demo import MODEL, PAT, ROOT, wait_until_nothing_streams

MESSAGES = [{"role": "user", "content": "Say something."}]
OPTIONS = {"host": ROOT, "headers": {"Authorization": f"Bearer {PAT}"}, "timeout": 30}


class Sync(unittest.TestCase):
    def setUp(self):
        self.client = ollama.Client(**OPTIONS)
        self.addCleanup(self.client._client.close)

    def test_chat(self):
        answer = self.client.chat(model=MODEL, messages=MESSAGES)
        self.assertTrue(answer.message.content)
        self.assertTrue(answer.done)
        self.assertGreater(answer.eval_count, 0)

    def test_a_stream_ends_with_its_counts(self):
        parts = list(self.client.chat(model=MODEL, messages=MESSAGES, stream=True))
        self.assertGreater(len(parts), 1)
        self.assertFalse(any(part.done for part in parts[:-1]))
        self.assertTrue(parts[-1].done)
        self.assertGreater(parts[-1].eval_count, 0)

    def test_generate(self):
        self.assertTrue(self.client.generate(model=MODEL, prompt="Once").response)
        self.assertTrue(list(self.client.generate(model=MODEL, prompt="Once", stream=True))[-1].done)

    def test_embed(self):
        self.assertEqual(len(self.client.embed(model=MODEL, input=["a", "b"]).embeddings), 2)

    def test_models_are_listed(self):
        self.assertIn(MODEL, [model.model for model in self.client.list().models])

    def test_a_stream_that_is_left_ends_and_the_client_goes_on(self):
        for _ in range(5):
            stream = self.client.chat(model=MODEL, messages=MESSAGES, stream=True)
            next(stream)
            stream.close()
        wait_until_nothing_streams()
        self.test_chat()

    def test_refusals_carry_their_reason(self):
        with self.assertRaises(ollama.ResponseError) as raised:
            self.client.chat(model="nonsense", messages=MESSAGES)
        self.assertEqual(raised.exception.status_code, 404)
        self.assertNotIn("{", raised.exception.error)
        stranger = ollama.Client(host=ROOT)
        self.addCleanup(stranger._client.close)
        with self.assertRaises(ollama.ResponseError) as raised:
            stranger.list()
        self.assertEqual(raised.exception.status_code, 401)


class Async(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.client = ollama.AsyncClient(**OPTIONS)
        self.addAsyncCleanup(self.client._client.aclose)

    async def test_chat_and_stream(self):
        self.assertTrue((await self.client.chat(model=MODEL, messages=MESSAGES)).message.content)
        stream = await self.client.chat(model=MODEL, messages=MESSAGES, stream=True)
        parts = [part async for part in stream]
        self.assertTrue(parts[-1].done)


if __name__ == "__main__":
    unittest.main()
