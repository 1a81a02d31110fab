"""A sandbox API as far as the E2B SDK's control plane goes, in memory; and templates, which it says nothing about but yes.

Prints its address. It asks for no credential: what stands before it does. Every request is kept under /_seen.
"""

import datetime
import json
import re
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SANDBOXES = {}
SEEN = []


def now(seconds=0):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.isoformat().replace("+00:00", "Z")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(data)

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(length)
        path = self.path.split("?")[0]
        if path == "/_seen":
            return self.answer(200, SEEN)
        SEEN.append({"method": self.command, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}})
        if path == "/health":
            return self.answer(200, {"status": "ok"})
        if path.startswith("/templates"):
            return self.answer(200, {"template": path})
        if path in ("/sandboxes", "/v2/sandboxes"):
            if self.command == "POST":
                asked = json.loads(body)
                sandbox = {
                    "templateID": asked["templateID"],
                    "sandboxID": "i" + uuid.uuid4().hex[:19],
                    "clientID": "node1",
                    "envdVersion": "0.2.4",
                    "startedAt": now(),
                    "endAt": now(asked.get("timeout", 300)),
                    "cpuCount": 2,
                    "memoryMB": 512,
                    "diskSizeMB": 1024,
                    "state": "running",
                    "metadata": asked.get("metadata") or {},
                }
                SANDBOXES[sandbox["sandboxID"]] = sandbox
                return self.answer(201, sandbox)
            if self.command in ("GET", "HEAD"):
                return self.answer(200, list(SANDBOXES.values()))
            return self.answer(405, {"code": 405, "message": "method not allowed"})
        found = re.fullmatch(r"(?:/v2)?/sandboxes/([a-z0-9]+)(/timeout)?", path)
        sandbox = found and SANDBOXES.get(found.group(1))
        if not sandbox:
            return self.answer(404, {"code": 404, "message": "not found"})
        if found.group(2) and self.command == "POST":
            sandbox["endAt"] = now(json.loads(body)["timeout"])
            return self.answer(204)
        if self.command == "GET":
            return self.answer(200, sandbox)
        if self.command == "DELETE":
            del SANDBOXES[found.group(1)]
            return self.answer(204)
        return self.answer(405, {"code": 405, "message": "method not allowed"})

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
