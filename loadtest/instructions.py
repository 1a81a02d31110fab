#!/usr/bin/env python3
"""How many instructions does the proxy need for a request (row S1), or for an event of a stream (S2), and in which functions?

Runs the proxy on epoll under valgrind's callgrind before a cube-mock, once with few and once with many requests, and prints the
difference for one of them. The figures hardly depend on what else the machine does. The kernel's part is not in them, and SHA-256 is
given apart: valgrind's processor has no instructions for it. Standard library only; needs valgrind.

    cargo build --release --workspace --bin cube-proxy --bin cube-mock --features rustix/use-libc
    python3 loadtest/instructions.py --bin-dir target/release --row S1

`rustix/use-libc`: valgrind does not follow the system calls that rustix makes by itself.
"""

import argparse
import collections
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

DOMAIN, USER = "3f1c9a52-8a1e-4d6b-9a30-0c5b1f1f7a01", "8d0a7d0e-52a4-4c61-8a55-2f4f0a4c5b01"
CONNECTIONS = {"S1": 8, "S2": 4}
# Requests or events, the fewer of them for what happens only once.
COUNTS = {"S1": (400, 2000), "S2": (2000, 10000)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def records(proxy, upstream):
    """A domain with one model, and a PAT that may use all models of it."""
    command = [proxy, "pat", "new", "--user", USER, "--scope", f"llm_chat_completions@{DOMAIN}/*", "--json"]
    made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    record = made["record"]
    lines = [
        {"kind": "cluster", "id": "gpu", "dialect": "openai", "endpoints": [{"url": upstream}]},
        {"kind": "domain", "id": DOMAIN, "alias": "research", "status": "enabled"},
        {"kind": "model", "domain": DOMAIN, "name": "m", "cluster": "gpu"},
        {"kind": "user", "id": USER, "status": "enabled"},
        {"kind": "grant", "user": USER, "domain": DOMAIN, "operations": ["llm_chat_completions"]},
        json.loads(record) if isinstance(record, str) else record,
    ]
    return "".join(json.dumps(line) + "\n" for line in lines), made["pat"]


def request(pat, row, events):
    words = "Say something about proxies, please. " * 4
    messages = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": words}]
    body = json.dumps({"model": "m", "messages": messages, "temperature": 0.2, "stream": row == "S2"}).encode()
    head = (
        "POST /proxy/research/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nUser-Agent: OpenAI/Python 1.0\r\n"
        "Accept: application/json\r\nContent-Type: application/json\r\nX-Stainless-Lang: python\r\nX-Stainless-Os: Linux\r\n"
        f"Accept-Encoding: gzip, deflate\r\nX-Mock-Events: {events}\r\nX-Mock-Pace-Us: 300\r\n"
        f"Authorization: Bearer {pat}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def receive(connection, ended):
    answer = b""
    while not ended(answer):
        received = connection.recv(1 << 20)
        assert received, f"cut: {answer[-300:]!r}"
        answer += received
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:300]


def json_ended(answer):
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(blank) and len(body) >= int(length[1])


def load(port, pat, row, count):
    each = count // CONNECTIONS[row]
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS[row])]
    sent = request(pat, row, each)
    for _ in range(each if row == "S1" else 1):
        for connection in connections:
            connection.sendall(sent)
        for connection in connections:
            receive(connection, json_ended if row == "S1" else lambda answer: answer.endswith(b"0\r\n\r\n"))


def run(arguments, count, directory):
    """Instructions of each function, while the proxy starts, does so much, and ends."""
    proxy, mock = arguments.bin_dir / "cube-proxy", arguments.bin_dir / "cube-mock"
    upstream, port, ops = free_port(), free_port(), free_port()
    tables, pat = records(proxy, f"http://127.0.0.1:{upstream}")
    (directory / "tables.ndjson").write_text(tables)
    settings, out = directory / "proxy.toml", directory / f"callgrind.{count}"
    settings.write_text(
        f'[listener]\naddress = "127.0.0.1:{port}"\n[ops]\naddress = "127.0.0.1:{ops}"\n[tables]\nfile = "{directory}/tables.ndjson"\n'
        '[cores]\ncount = 1\ndriver = "epoll"\n[drain]\nmin_s = 0.0\n[process]\nallow_second_instance = true\n'
    )
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", proxy, "--config", settings]
    server = subprocess.Popen([mock, "--port", str(upstream)], stdout=subprocess.DEVNULL)
    counted = subprocess.Popen(valgrind, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(ops, counted)
        load(port, pat, arguments.row, count)
        counted.terminate()
        counted.wait(60)
    finally:
        server.kill()
        counted.kill()
    return own_costs(out)


def wait_until_ready(ops, process):
    for _ in range(600):
        assert process.poll() is None, "the proxy has ended: was it built with --features rustix/use-libc?"
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{ops}/readyz").close()
        except OSError:
            time.sleep(0.1)
    sys.exit("the proxy does not become ready")


def own_costs(path):
    """Sums callgrind's lines by function, calls left out."""
    costs, names, function, called = collections.Counter(), {}, None, False
    for line in path.read_text(errors="replace").splitlines():
        if named := re.match(r"c?fn=\((\d+)\)(?: (.*))?", line):
            number, name = named.groups()
            if name:
                names[number] = name
            if line[0] == "f":
                function = names.get(number, number)
        elif line.startswith("calls="):
            called = True
        elif cost := re.match(r"(?:[+-]?\d+|\*) (\d+)$", line):
            if not called:
                costs[function] += int(cost[1])
            called = False
    return costs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, default=pathlib.Path("target/release"))
    parser.add_argument("--row", choices=COUNTS, default="S1")
    parser.add_argument("--top", type=int, default=30, help="functions to print")
    arguments = parser.parse_args()
    few, many = COUNTS[arguments.row]
    with tempfile.TemporaryDirectory() as directory:
        before, after = (run(arguments, count, pathlib.Path(directory)) for count in (few, many))
    each = {name: (after[name] - before[name]) / (many - few) for name in after}
    hashing = sum(cost for name, cost in each.items() if "sha256" in name)
    unit = "request" if arguments.row == "S1" else "event"
    print(f"{sum(each.values()) - hashing:.0f} instructions per {unit}, and {hashing:.0f} of hashing")
    for name, cost in sorted(each.items(), key=lambda pair: -pair[1])[: arguments.top]:
        print(f"{cost:9.1f}  {name}")


if __name__ == "__main__":
    main()
