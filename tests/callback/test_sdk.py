"""The real E2B SDK through the passthrough listener: its callback is the seed's, its API the scripted one."""

import json
import os
import unittest
import urllib.request

from e2b import Sandbox
from e2b.exceptions import AuthenticationException

PROXY = os.environ["PROXY"]
API = os.environ["SANDBOX_API"]
READ_ONLY = {"api_key": "readonly-key-1"}


def seen():
    with urllib.request.urlopen(f"{API}/_seen") as answer:
        return json.load(answer)


class Sdk(unittest.TestCase):
    def test_a_sandbox_lives_from_creation_to_its_end(self):
        sandbox = Sandbox.create("base", timeout=60, metadata={"of": "a test"})
        self.assertTrue(sandbox.sandbox_id)
        listed = [one.sandbox_id for one in Sandbox.list().next_items()]
        self.assertIn(sandbox.sandbox_id, listed)
        info = sandbox.get_info()
        self.assertEqual((info.sandbox_id, info.metadata), (sandbox.sandbox_id, {"of": "a test"}))
        sandbox.set_timeout(3600)
        self.assertGreater(sandbox.get_info().end_at, info.end_at)
        self.assertTrue(sandbox.kill())
        self.assertFalse(Sandbox.kill(sandbox.sandbox_id))

    def test_a_read_only_key_reads_and_nothing_else(self):
        sandbox = Sandbox.create("base", timeout=60)
        self.assertIn(sandbox.sandbox_id, [one.sandbox_id for one in Sandbox.list(**READ_ONLY).next_items()])
        self.assertEqual(Sandbox.get_info(sandbox.sandbox_id, **READ_ONLY).sandbox_id, sandbox.sandbox_id)
        for change in (
            lambda: Sandbox.create("base", timeout=60, **READ_ONLY),
            lambda: Sandbox.set_timeout(sandbox.sandbox_id, 5, **READ_ONLY),
            lambda: Sandbox.kill(sandbox.sandbox_id, **READ_ONLY),
        ):
            with self.assertRaises(AuthenticationException) as caught:
                change()
            self.assertIn("Authentication rejected by callback", str(caught.exception))
        self.assertTrue(sandbox.kill())

    def test_an_unknown_key_does_nothing(self):
        before = len(seen())
        with self.assertRaises(AuthenticationException):
            Sandbox.create("base", timeout=60, api_key="nonsense")
        self.assertEqual(len(seen()), before, "the API heard of it")

    def test_the_key_stays_at_the_proxy(self):
        Sandbox.list().next_items()
        last = seen()[-1]
        self.assertNotIn("x-api-key", last["headers"])
        self.assertNotIn("secret-key", json.dumps(last))


if __name__ == "__main__":
    unittest.main()
