#!/usr/bin/env python3
"""How long does a snapshot of many PATs take over the feed, how much memory does it take, and what does one revocation cost then?

Plays cube-admin: makes a fleet key and a snapshot, starts the proxy, serves the snapshot from memory, then deltas of one PAT each, and
reads what the proxy says of itself. Standard library only.

    cargo build --release -p cube-proxy
    python3 loadtest/feed.py --proxy target/release/cube-proxy --pats 1000000
"""

import argparse
import base64
import http.server
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
import zlib

DOMAIN = str(uuid.UUID(int=0xD))


def identifier(number):
    return str(uuid.UUID(int=(0x0192 << 112) | (0x7 << 76) | (0x8 << 60) | number))


def pat(number, users, revoked=False):
    """One PAT with one scope, as cube-admin writes it; its digest is of nothing."""
    digest = f"{number:064x}"
    flag = ',"revoked":true' if revoked else ""
    return (
        f'{{"kind":"pat","id":"{identifier(number)}","user":"{identifier(1 << 40 | number % users)}","name":"ci-{number}",'
        f'"digest":"sha256:{digest}","expires_at":4102444800{flag},"scopes":[{{"entity_type":"domains","domain_id":"{DOMAIN}",'
        f'"entity_id":"{DOMAIN}","operation":"llm_chat_completions"}}]}}\n'
    )


def snapshot(pats):
    users = max(1, pats // 10)
    lines = [
        '{"kind":"cluster","id":"c","dialect":"openai","endpoints":[{"url":"http://127.0.0.1:9"}]}\n',
        f'{{"kind":"domain","id":"{DOMAIN}","alias":"acme","status":"enabled"}}\n',
        f'{{"kind":"model","domain":"{DOMAIN}","name":"m","cluster":"c"}}\n',
    ]
    for number in range(users):
        user = identifier(1 << 40 | number)
        lines.append(f'{{"kind":"user","id":"{user}","status":"enabled"}}\n')
        lines.append(f'{{"kind":"grant","user":"{user}","domain":"{DOMAIN}","operations":["llm_read","llm_chat_completions"]}}\n')
    lines.extend(pat(number, users) for number in range(pats))
    return frame('{"frame":"snapshot","epoch":"e","generation":1,"at_ms":1}\n', "".join(lines)), users


def frame(heading, lines):
    body = lines.encode()
    end = f'{{"frame":"end","lines":{lines.count(chr(10))},"checksum":"crc32:{zlib.crc32(body):08x}"}}\n'
    return heading.encode() + body + end.encode()


def admin(first):
    """Serves `first` to whoever asks for the feed, then what is put into the queue; collects reports."""
    deltas, reports, times = queue.Queue(), queue.Queue(), {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            if "sent" in times:  # Away, for the proxy that is started again.
                self.send_response(503)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("connection", "close")
            self.end_headers()
            times["asked"] = time.monotonic()
            self.wfile.write(first)
            times["sent"] = time.monotonic()
            generation = 1
            while True:
                try:
                    generation, delta = deltas.get(timeout=1)
                    self.wfile.write(delta)
                except queue.Empty:
                    self.wfile.write(f'{{"frame":"heartbeat","epoch":"e","generation":{generation},"at_ms":1}}\n'.encode())

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path.startswith("/feed/v1/node"):
                reports.put((time.monotonic(), json.loads(body)))
            self.send_response(204)
            self.end_headers()

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            """A proxy that was killed hangs up."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port, deltas, reports, times


def adopted(reports, generation):
    while True:
        at, report = reports.get(timeout=300)
        if report["cores"] and min(core["generation"] for core in report["cores"]) >= generation:
            return at


def memory(pid):
    lines = open(f"/proc/{pid}/status").read().splitlines()
    of = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(of["VmRSS"]) << 10, int(of["VmHWM"]) << 10


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--proxy", default="target/release/cube-proxy")
    arguments.add_argument("--pats", type=int, default=1_000_000)
    arguments.add_argument("--deltas", type=int, default=200)
    asked = arguments.parse_args()
    print(f"making a snapshot of {asked.pats} PATs", file=sys.stderr)
    first, users = snapshot(asked.pats)
    port, deltas, reports, times = admin(first)
    with tempfile.TemporaryDirectory() as folder:
        key = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
        with open(f"{folder}/fleet.key", "w") as file:
            file.write(key)
        with open(f"{folder}/proxy.toml", "w") as file:
            file.write(
                f'[listener]\naddress = "127.0.0.1:0"\n[ops]\naddress = "127.0.0.1:0"\n[admin]\nfeed = "http://127.0.0.1:{port}"\n'
                f'fleet_key_file = "{folder}/fleet.key"\nstate_dir = "{folder}/state"\nnode = "measured"\n'
            )

        def start():
            command = [asked.proxy, "--config", f"{folder}/proxy.toml"]
            began = time.monotonic()
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            ops = json.loads(process.stdout.readline())["ops"]
            return process, ops, time.monotonic() - began

        process, ops, _ = start()
        try:
            loaded = adopted(reports, 1)
            resident, peak = memory(process.pid)
            with urllib.request.urlopen(f"http://{ops}/tables") as answer:
                assert json.load(answer)["counts"]["pats"] == asked.pats
            spent, waits = cpu(process.pid), []
            for number in range(asked.deltas):
                generation = number + 2
                heading = f'{{"frame":"delta","epoch":"e","base":{generation - 1},"generation":{generation},"at_ms":1}}\n'
                sent = time.monotonic()
                deltas.put((generation, frame(heading, pat(number * 977 % asked.pats, users, revoked=True))))
                waits.append(adopted(reports, generation) - sent)
            spent = cpu(process.pid) - spent
            time.sleep(3)
            settled, _ = memory(process.pid)
            on_disk = os.path.getsize(f"{folder}/state/tables.feed")
            process.kill()
            process.wait()
            again, _, restarted = start()
            again.kill()
            again.wait()
        finally:
            process.kill()
    waits.sort()
    result = {
        "pats": asked.pats,
        "snapshot_mb": round(len(first) / 1e6, 1),
        "load_s": round(loaded - times["asked"], 2),
        "of_which_sending_s": round(times["sent"] - times["asked"], 2),
        "resident_mib": round(resident / 2**20, 1),
        "resident_after_deltas_mib": round(settled / 2**20, 1),
        "peak_mib": round(peak / 2**20, 1),
        "bytes_per_pat": round(settled / asked.pats, 1),
        "delta_ms_p50": round(statistics.median(waits) * 1e3, 2),
        "delta_ms_p99": round(waits[len(waits) * 99 // 100] * 1e3, 2),
        "delta_cpu_us": round(spent / asked.deltas * 1e6),
        "restart_from_disk_s": round(restarted, 2),
        "file_mb": round(on_disk / 1e6, 1),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
