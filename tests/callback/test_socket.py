"""A real WebSocket client and a real WebSocket server, with the passthrough listener between them."""

import os
import unittest

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

PROXY = os.environ["PROXY"].replace("http://", "ws://")


class Socket(unittest.TestCase):
    def test_frames_travel_both_ways(self):
        for where, fields in (
            ("/echo?api_key=secret-key-1&x=1", {}),
            ("/echo?access_token=secret-key-2", {}),
            ("/echo", {"X-API-Key": "readonly-key-1"}),
        ):
            with connect(f"{PROXY}{where}", additional_headers=fields) as socket:
                self.assertEqual(socket.recv(), "/echo?x=1" if "x=1" in where else "/echo", "what went on of the URL")
                for message in ("hello", "x" * 300_000, b"\0\1\2"):
                    socket.send(message)
                    self.assertEqual(socket.recv(), message)
                socket.ping().wait(5)

    def test_whoever_may_not_pass_is_not_switched(self):
        for where in ("/echo", "/echo?api_key=nonsense"):
            with self.assertRaises(InvalidStatus) as caught:
                connect(f"{PROXY}{where}")
            self.assertEqual(caught.exception.response.status_code, 401)


if __name__ == "__main__":
    unittest.main()
