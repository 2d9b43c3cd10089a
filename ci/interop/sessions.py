"""Tells of sessions as libtlsrpt does: the same to each socket, drawn from a seed; for ci/interop.sh.

    sessions.py COUNT SOCKET SOCKET DOMAIN...     prints under how many policies, all sessions together
"""

import json
import random
import socket
import sys

RECORD = "v=TLSRPTv1;rua=mailto:tls-reports@{}"
# libtlsrpt's numbers for result types: negotiation, then policies.
CODES = [201, 202, 203, 204, 205]
POLICY_CODES = {1: [304, 305, 306], 2: [301, 302, 303], 9: []}


def failure(draw, domain, policy_type):
    details = {
        "c": draw.choice(CODES + POLICY_CODES[policy_type]),
        "s": f"192.0.2.{draw.randint(1, 3)}",
        "n": f"mx{draw.randint(1, 3)}.{domain}",
        "r": draw.choice(["192.0.2.25", "2001:db8::25"]),
    }
    if draw.random() < 0.3:
        details["f"] = draw.choice(["timeout", "Zertifikat ungültig", "証明書"])
    if draw.random() < 0.2:
        details["h"] = f"helo.{domain}"
    return details


def policy(draw, domain, policy_type):
    told = {"policy-type": policy_type}
    if policy_type == 1:
        told["policy-domain"] = f"mx{draw.randint(1, 2)}.{domain}"
        told["policy-string"] = ["3 1 1 " + "ab" * 32]
    elif policy_type == 2:
        told["policy-domain"] = domain
        told["policy-string"] = ["version: STSv1", "mode: enforce", f"mx: *.{domain}", "max_age: 86400"]
        told["mx-host"] = [f"*.{domain}"]
    else:
        told["policy-domain"] = domain
    count = draw.choice([0, 0, 0, 1, 2])
    if count:
        told["failure-details"] = [failure(draw, domain, policy_type) for _ in range(count)]
    # A session that met failures may have succeeded in the end.
    return told | {"t": count, "f": int(count > 0 and draw.random() < 0.7)}


def datagram(draw, domain):
    types = draw.choice([[1], [2], [1, 2], [9]])
    return {
        "dpv": "1",
        "d": domain,
        "pr": RECORD.format(domain),
        "policies": [policy(draw, domain, policy_type) for policy_type in types],
    }


def main():
    count, first, second, *domains = sys.argv[1:]
    draw = random.Random(8460)
    senders = []
    for path in (first, second):
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.connect(path)
        senders.append(sender)
    results = 0
    for _ in range(int(count)):
        told = datagram(draw, draw.choice(domains))
        results += len(told["policies"])
        octets = json.dumps(told, ensure_ascii=draw.random() < 0.5).encode()
        for sender in senders:
            sender.send(octets)
    print(results)


if __name__ == "__main__":
    main()
