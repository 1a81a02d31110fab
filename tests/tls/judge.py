"""What the scanners found, against what is wanted: TLS 1.2 and 1.3 only, forward secrecy and AEADs only (Mozilla's intermediate
profile of 2024 or better), and none of the known vulnerabilities. Each report must hold what is looked for: an empty one is no pass."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

scratch = Path(sys.argv[1])
faults = []


def want(holds, what):
    if not holds:
        faults.append(what)


# sslscan: protocols and ciphers.
scan = ElementTree.parse(scratch / "sslscan.xml").getroot()
protocols = {f"{p.get('type')} {p.get('version')}": p.get("enabled") for p in scan.iter("protocol")}
wanted = {"ssl 2": "0", "ssl 3": "0", "tls 1.0": "0", "tls 1.1": "0", "tls 1.2": "1", "tls 1.3": "1"}
want(protocols == wanted, f"sslscan: protocols {protocols}")
ciphers = [c.get("cipher") for c in scan.iter("cipher") if c.get("status") in ("preferred", "accepted")]
want(len(ciphers) >= 6, f"sslscan: ciphers {ciphers}")
for cipher in ciphers:
    aead = "GCM" in cipher or "CHACHA20" in cipher
    want(aead and (cipher.startswith("TLS_") or cipher.startswith("ECDHE-")), f"sslscan: {cipher}")
want(all(h.get("vulnerable") == "0" for h in scan.iter("heartbleed")), "sslscan: heartbleed")
compression = [c.get("supported") for c in scan.iter("compression")]
want(set(compression) <= {"0"}, f"sslscan: compression {compression}")

# sslyze: every scan done; old protocols refuse everything, new ones something.
result = json.loads((scratch / "sslyze.json").read_text())["server_scan_results"][0]
want(result["scan_status"] == "COMPLETED", f"sslyze: {result['scan_status']}")
scans = result["scan_result"] or {}
for name, some in [
    ("ssl_2_0_cipher_suites", False),
    ("ssl_3_0_cipher_suites", False),
    ("tls_1_0_cipher_suites", False),
    ("tls_1_1_cipher_suites", False),
    ("tls_1_2_cipher_suites", True),
    ("tls_1_3_cipher_suites", True),
]:
    accepted = (scans.get(name, {}).get("result") or {}).get("accepted_cipher_suites")
    want(accepted is not None and bool(accepted) == some, f"sslyze: {name}: {accepted}")
for name, path, bad in [
    ("heartbleed", "is_vulnerable_to_heartbleed", True),
    ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", True),
    ("tls_compression", "supports_compression", True),
    ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", True),
    ("session_renegotiation", "supports_secure_renegotiation", False),
    ("elliptic_curves", "supports_ecdh_key_exchange", False),
]:
    found = (scans.get(name, {}).get("result") or {}).get(path)
    want(found is not None and found != bad, f"sslyze: {name}.{path} is {found}")

# testssl.sh: whatever it finds worse than LOW, but for what a certificate of development cannot have, and for the order of ciphers:
# the caller chooses, as in the intermediate profile, for all of them are good.
development = ("cert_chain_of_trust", "cert_trust", "cert_revocation", "cert_crlDistributionPoints", "cert_ocspURL", "DNS_CAArecord",
               "OCSP_stapling", "cert_caIssuers", "cert_extlifeSpan", "certificate_transparency", "cipher_order", "cert_subjectAltName", "cert_commonName")
report = json.loads((scratch / "testssl.json").read_text())
want(len(report) > 40, f"testssl: only {len(report)} findings")
want(any(f["id"] == "TLS1_3" and f["severity"] == "OK" for f in report), "testssl: TLS 1.3")
for finding in report:
    if finding["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL") and not finding["id"].startswith(development):
        faults.append(f"testssl: {finding['id']}: {finding['finding']}")

for fault in faults:
    print(fault, file=sys.stderr)
sys.exit(bool(faults))
