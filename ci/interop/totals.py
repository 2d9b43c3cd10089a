"""Compares what two accounts of a day say: sessions and failures by policy and type; for ci/interop.sh.

    totals.py ONE OTHER     each a report (JSON, or a mail), tlsrpt-fetcher's details, or what parsedmarc writes
"""

import email
import email.policy
import gzip
import json
import sys
from collections import Counter
from pathlib import Path

# libtlsrpt's numbers.
TYPES = {
    201: "starttls-not-supported", 202: "certificate-host-mismatch", 203: "certificate-not-trusted",
    204: "certificate-expired", 205: "validation-failure", 301: "sts-policy-fetch-error", 302: "sts-policy-invalid",
    303: "sts-webpki-invalid", 304: "tlsa-invalid", 305: "dnssec-invalid", 306: "dane-required",
}
POLICIES = {1: "tlsa", 2: "sts", 9: "no-policy-found"}


def of_report(report):
    """RFC 8460."""
    totals = Counter()
    for entry in report["policies"]:
        policy = entry["policy"]["policy-type"], entry["policy"]["policy-domain"]
        totals[*policy, "succeeded"] += entry["summary"]["total-successful-session-count"]
        totals[*policy, "failed"] += entry["summary"]["total-failure-session-count"]
        for failure in entry.get("failure-details", []):
            totals[*policy, failure["result-type"]] += failure["failed-session-count"]
    return totals


def of_mail(octets):
    mail = email.message_from_bytes(octets, policy=email.policy.default)
    for part in mail.walk():
        if part.get_content_type() == "application/tlsrpt+gzip":
            return of_report(json.loads(gzip.decompress(part.get_payload(decode=True))))
    sys.exit("the mail has no report")


def of_fetcher(details):
    """Policies by the record under which they were told of."""
    totals = Counter()
    for policies in details["policies"].values():
        for text, counts in policies.items():
            told = json.loads(text)
            policy = POLICIES[told["policy-type"]], told["policy-domain"]
            totals[*policy, "succeeded"] += counts["cntrtotal"] - counts["cntrfailure"]
            totals[*policy, "failed"] += counts["cntrfailure"]
            for reason, count in counts["failures"].items():
                totals[*policy, TYPES[json.loads(reason)["c"]]] += count
    return totals


def of_parsedmarc(reports):
    totals = Counter()
    for report in reports:
        for entry in report["policies"]:
            policy = entry["policy_type"], entry["policy_domain"]
            totals[*policy, "succeeded"] += entry["successful_session_count"]
            totals[*policy, "failed"] += entry["failed_session_count"]
            for failure in entry.get("failure_details", []):
                totals[*policy, failure["result_type"]] += failure["failed_session_count"]
    return totals


def read(path):
    octets = Path(path).read_bytes()
    if path.endswith(".eml"):
        return of_mail(octets)
    value = json.loads(octets)
    if isinstance(value, list):
        return of_parsedmarc(value)
    return of_fetcher(value) if "d" in value else of_report(value)


def main():
    one, other = (+read(path) for path in sys.argv[1:3])
    print(f"{sum(one.values())} and {sum(other.values())}")
    for key in sorted(one.keys() | other.keys()):
        if one[key] != other[key]:
            print(key, one[key], other[key])
    if not one or one != other:
        sys.exit(1)


if __name__ == "__main__":
    main()
