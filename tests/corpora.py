#!/usr/bin/env python3
"""Replays public corpora of odd HTTP against a running proxy, from outside.

    tests/corpora.py DIRECTORY [--proxy target/debug/cube-proxy]

DIRECTORY holds `desync-guardian/*.yaml` and `llhttp/{request,response}/*.md`; either may be absent. The corpora are not part
of this repository. Bars:

* desync-guardian: every Severe request is refused and its connection closed; every Compliant one is understood, and the
  connection is in step after it.
* llhttp: every strict error is refused (a caller gets 4xx or 5xx and a close, an upstream's answer becomes 502 or a cut), and no
  byte of one message is ever taken for part of another.

Where the proxy refuses what a corpus calls legal, `STRICTER` says why. Needs PyYAML for desync-guardian.
"""

import argparse
import base64
import concurrent.futures
import hashlib
import json
import pathlib
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
import zlib

PATIENCE_S = 20
#: How long a message that its corpus leaves unfinished is waited for.
GLANCE_S = 0.5

#: Legal requests that the proxy refuses on purpose, by what in them is the reason.
STRICTER = {
    rb"transfer-encoding:(?![ \t]*chunked[ \t]*\r\n)": "a coding other than exactly chunked cannot be relayed as it is",
    rb"^[A-Z]+ [^ ]*[^\x21-\x7e ][^ ]* HTTP": "a target of other than visible ASCII is not a URI (RFC 3986 §2)",
    rb"^[A-Z]+  HTTP": "a request without a target (RFC 9112 §3.2)",
    rb"^[A-Z]+ [^ ]*[\"<>\\^`{|}][^ ]* HTTP": "characters that no URI may hold (RFC 3986 §2)",
    rb"^[A-Z]+ [^ ]*#[^ ]* HTTP": "a fragment is not part of a request target (RFC 9112 §3.2)",
    rb"^[A-Z]+ [^ ]*%[01]": "an encoded control character in a path",
}


# --- A proxy of our own ----------------------------------------------------------------------------------------------


def mint(user: uuid.UUID, pat: uuid.UUID) -> str:
    """A PAT by its documented form: ids, 256 random bits, CRC-32 of all before it."""
    base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

    def digits(number: int, count: int) -> str:
        text = ""
        for _ in range(count):
            number, digit = divmod(number, 62)
            text = base62[digit] + text
        return text

    ids = base64.urlsafe_b64encode(user.bytes + pat.bytes).decode().rstrip("=")
    front = f"pat_{ids}_{digits(secrets.randbits(256), 43)}"
    return front + digits(zlib.crc32(front.encode()), 6)


class Proxy:
    """The real binary with one domain `acme`, one model `tiny`, and an upstream at `upstream`."""

    def __init__(self, binary: str, upstream: str):
        domain, user, pat = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
        self.pat = mint(user, pat)
        digest = "sha256:" + hashlib.sha256(self.pat.encode()).hexdigest()
        operations = ["llm_read", "llm_chat_completions"]
        scopes = [
            {"entity_type": "domains", "domain_id": str(domain), "entity_id": "*", "operation": operation}
            for operation in operations
        ]
        records = [
            {"kind": "cluster", "id": "main", "dialect": "openai", "endpoints": [{"url": f"http://{upstream}"}]},
            {"kind": "domain", "id": str(domain), "alias": "acme", "status": "enabled"},
            {"kind": "model", "domain": str(domain), "name": "tiny", "cluster": "main"},
            {"kind": "user", "id": str(user), "status": "enabled"},
            {"kind": "grant", "user": str(user), "domain": str(domain), "operations": operations},
            {"kind": "pat", "id": str(pat), "user": str(user), "digest": digest, "scopes": scopes},
        ]
        self.directory = tempfile.TemporaryDirectory()
        place = pathlib.Path(self.directory.name)
        (place / "tables.ndjson").write_text("".join(json.dumps(record) + "\n" for record in records))
        (place / "proxy.toml").write_text(
            f"""
            listener.address = "127.0.0.1:0"
            ops.address = "127.0.0.1:0"
            tables.file = "{place}/tables.ndjson"
            process.lock_file = "{place}/lock"
            """
        )
        self.process = subprocess.Popen(
            [binary, "--config", str(place / "proxy.toml")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        ready = json.loads(self.process.stdout.readline())
        assert ready["event"] == "ready", ready
        host, port = ready["data"].rsplit(":", 1)
        self.address = (host, int(port))

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.directory.cleanup()

    def runs(self) -> bool:
        return self.process.poll() is None


class Exchange:
    """What came back for some bytes on a connection of their own."""

    def __init__(self, address, wire: bytes, until: bytes, patience_s: float):
        self.received, self.ended = b"", False
        with socket.create_connection(address, timeout=PATIENCE_S) as caller:
            # Sent from beside, because an answer may come before the end of a long body, and a close after it.
            threading.Thread(target=self._send, args=(caller, wire), daemon=True).start()
            try:
                caller.settimeout(patience_s)
                while until not in self.received:
                    piece = caller.recv(65536)
                    if not piece:
                        self.ended = True
                        break
                    self.received += piece
            except TimeoutError:
                pass
            except (ConnectionResetError, BrokenPipeError):
                self.ended = True

    @staticmethod
    def _send(caller: socket.socket, wire: bytes):
        try:
            caller.sendall(wire)
        except OSError:
            pass

    def statuses(self) -> list[int]:
        # A status line in a body is not followed by a field.
        heads = re.findall(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n[A-Za-z-]+:", self.received)
        return [int(status) for status in heads]

    def __str__(self) -> str:
        return f"{self.statuses()}{' closed' if self.ended else ' open'}"


# --- desync-guardian -------------------------------------------------------------------------------------------------

#: A request behind each case. Its answer echoes the id, so it is never mistaken for another's.
CANARY = b"GET /health HTTP/1.1\r\nhost: proxy\r\nx-request-id: canary\r\n\r\n"
CANARY_ANSWERED = re.compile(rb"x-request-id: *canary", re.IGNORECASE)


def text_bytes(text) -> bytes:
    """Bytes above 0x7f are single ones where the corpus could mean that."""
    text = str(text)
    return text.encode("latin-1") if all(ord(character) < 256 for character in text) else text.encode()


def desync_cases(directory: pathlib.Path):
    import yaml

    for file in sorted(directory.glob("*.yaml")):
        for case in yaml.safe_load(file.read_text()):
            yield f"{file.stem}: {case['name']}", case


def desync_request(case, path: bytes | None, extra: bytes) -> bytes:
    method = text_bytes(case["method"]) if path is None else b"POST"
    line = b" ".join([method, path if path is not None else text_bytes(case["uri"]), text_bytes(case["version"])])
    fields = [(text_bytes(field["name"]), text_bytes(field["value"])) for field in case.get("headers") or []]
    if not any(name.lower() == b"host" for name, _ in fields):
        fields.insert(0, (b"Host", b"proxy"))
    head = line + b"\r\n" + b"".join(name + b": " + value.lstrip(b" ") + b"\r\n" for name, value in fields)
    body = b""
    if case["expected"]["tier"] != "Severe":
        # The corpus has heads only; without the body that its head promises, the canary would be the body.
        length = next((value.strip() for name, value in fields if name.lower() == b"content-length"), b"")
        coded = any(name.lower() == b"transfer-encoding" for name, _ in fields)
        body = b"0\r\n\r\n" if coded else b"x" * int(length) if length.isdigit() else b""
    return head + extra + b"\r\n" + body


def run_desync(proxy: Proxy, directory: pathlib.Path, report):
    def run(name, case):
        tier = case["expected"]["tier"]
        auth = b"authorization: Bearer " + proxy.pat.encode() + b"\r\n"
        for path, extra in [(None, b""), (b"/proxy/acme/v1/chat/completions", auth)]:
            request = desync_request(case, path, extra)
            patience = PATIENCE_S if tier in ("Severe", "Compliant") else GLANCE_S
            got = Exchange(proxy.address, request + CANARY, b"canary", patience)
            statuses = got.statuses()
            canary = bool(CANARY_ANSWERED.search(got.received))
            if tier == "Severe":
                # A method or path that is merely bad may be all that is severe; a routed one is not there then.
                harmless = path is not None and request_is_clean(request)
                right = harmless or (got.ended and not canary and len(statuses) <= 1 and all(s >= 400 for s in statuses))
            elif tier == "Compliant" and path is None:
                # There is nothing at its path, which only one who has understood it can say.
                right = statuses[:1] in ([401], [404], [405]) and (canary or got.ended)
            else:
                # Free to refuse, or to serve: but once only, and in step.
                right = len(statuses) <= 1 + canary
            reason = stricter(request) if tier == "Compliant" else None
            report(right or (reason and (canary or got.ended)), f"desync-guardian/{tier}: {name}: {got}", None if right else reason)

    each(desync_cases(directory), run)


def request_is_clean(request: bytes) -> bool:
    """Whether what was severe lay in the request line, which has been replaced."""
    fields = request.split(b"\r\n", 1)[1].split(b"\r\n\r\n")[0].lower()
    return not re.search(rb"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]|content-length|transfer-encoding", fields.replace(b"\r\n", b""))


def stricter(request: bytes) -> str | None:
    return next((why for pattern, why in STRICTER.items() if re.search(pattern, request, re.IGNORECASE)), None)


# --- llhttp ----------------------------------------------------------------------------------------------------------

BLOCK = re.compile(r"<!-- meta=(\{[^\n]*?\}) -->\s*```http\n((?:(?!```).)*)```[^`]*```log\n((?:(?!```).)*)```", re.DOTALL)
#: Errors of that parser's API, not of the message: upgrades that it hands to its user.
NOT_ERRORS = {"21", "22", "23"}
#: Bytes after a message that closes its connection: dropped unread, which is no refusal.
AFTER_CLOSE = "5"


def llhttp_cases(directory: pathlib.Path, kind: str):
    for file in sorted(directory.glob("*.md")):
        for number, (meta, text, log) in enumerate(BLOCK.findall(file.read_text())):
            meta = json.loads(meta)
            if meta["type"] != kind or "pause" in meta or "skipBody" in meta:
                continue
            # The corpus's own rules: the last line end and escaped ones are not part of the message.
            text = re.sub(r"\n$", "", text)
            text = re.sub(r"\\\n", "", text).replace("\n", "\r\n")
            for escape, character in [("r", "\r"), ("n", "\n"), ("t", "\t"), ("f", "\f")]:
                text = text.replace(f"\\{escape}", character)
            text = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text)
            error = re.search(r"error code=(\d+)", log)
            error = error and error[1] not in NOT_ERRORS and error[1]
            yield f"{file.stem} {number}", (text_bytes(text), error, log)


def run_llhttp_requests(proxy: Proxy, directory: pathlib.Path, report):
    def run(name, case):
        wire, error, log = case
        got = Exchange(proxy.address, wire + CANARY, b"canary", PATIENCE_S if error else GLANCE_S)
        canary = bool(CANARY_ANSWERED.search(got.received))
        messages = log.count("message complete")
        if error == AFTER_CLOSE:
            right = got.ended and not canary
        elif error:
            # What came whole before the error may have been answered; the error closes.
            right = got.ended and not canary and len(got.statuses()) <= messages + 1
            right = right and (not got.statuses() or got.statuses()[-1] >= 400)
        else:
            right = len(got.statuses()) <= messages + 1 or got.ended
        report(right, f"llhttp/request: {name}: {got}, {messages} messages, error {error}", None)

    each(llhttp_cases(directory, "request"), run)


class Upstream:
    """Answers each connection with the bytes that the request's body names, then closes it."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = "%s:%d" % self.listener.getsockname()
        self.answers: dict[str, bytes] = {}
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection:
            connection.settimeout(PATIENCE_S)
            request = b""
            while not request.endswith(b"}"):
                piece = connection.recv(65536)
                if not piece:
                    return
                request += piece
            name = json.loads(request.split(b"\r\n\r\n", 1)[1])["case"]
            connection.sendall(self.answers[name])
            connection.shutdown(socket.SHUT_WR)
            try:
                while connection.recv(65536):
                    pass
            except OSError:
                pass


def run_llhttp_responses(proxy: Proxy, upstream: Upstream, directory: pathlib.Path, report):
    def run(name, case):
        wire, error, log = case
        upstream.answers[name] = wire
        body = json.dumps({"model": "tiny", "case": name}, separators=(",", ":")).encode()
        auth = f"authorization: Bearer {proxy.pat}\r\n".encode()
        head = b"POST /proxy/acme/v1/chat/completions HTTP/1.1\r\nhost: proxy\r\n" + auth
        request = head + b"content-length: %d\r\n\r\n" % len(body) + body
        got = Exchange(proxy.address, request + CANARY, b"canary", PATIENCE_S)
        canary = bool(CANARY_ANSWERED.search(got.received))
        statuses = [status for status in got.statuses() if status >= 200]
        head_was_whole = "headers complete" in log
        if error and error != AFTER_CLOSE and not head_was_whole:
            right = statuses[:1] == [502]
        elif error and error != AFTER_CLOSE:
            right = statuses[:1] == [502] or (got.ended and not canary)
        else:
            # Whole, or cut with the upstream; the caller's connection is never out of step.
            right = bool(statuses) and (canary or got.ended)
        # Only one answer to the one request, whatever the upstream sent behind it.
        right = right and len(statuses) <= 1 + canary
        report(right, f"llhttp/response: {name}: {got}, error {error}", None)

    each(llhttp_cases(directory, "response"), run)


# --- Running ---------------------------------------------------------------------------------------------------------


def each(cases, run):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(run, name, case) for name, case in cases]:
            done.result()


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--proxy", default=str(root / "target/debug/cube-proxy"))
    options = parser.parse_args()

    counts, faults, refused = {"replayed": 0}, [], set()
    lock = threading.Lock()

    def report(right, what, reason):
        with lock:
            counts["replayed"] += 1
            if not right:
                faults.append(what)
            elif reason:
                refused.add(f"{what}: {reason}")

    upstream = Upstream()
    proxy = Proxy(options.proxy, upstream.address)
    try:
        if (options.directory / "desync-guardian").is_dir():
            run_desync(proxy, options.directory / "desync-guardian", report)
        if (options.directory / "llhttp").is_dir():
            run_llhttp_requests(proxy, options.directory / "llhttp/request", report)
            run_llhttp_responses(proxy, upstream, options.directory / "llhttp/response", report)
        if not proxy.runs():
            faults.append("the proxy died")
    finally:
        proxy.stop()

    for line in sorted(refused):
        print(f"stricter  {line}")
    for line in sorted(faults):
        print(f"FAULT     {line}")
    print(f"{counts['replayed']} replayed, {len(faults)} faults, {len(refused)} refused on purpose")
    if not counts["replayed"]:
        print(f"no corpora in {options.directory}", file=sys.stderr)
    return 0 if counts["replayed"] and not faults else 1


if __name__ == "__main__":
    sys.exit(main())
