#!/usr/bin/python3
"""Asks a byrnie every question of a DNSSEC bed and compares status and kind with what is right.

    judge.py PROGRAM DIRECTORY UPSTREAM [once|twice]

DIRECTORY is what make.py has written, UPSTREAM an address with port. `twice` asks everything a second time in the
same process and backwards, so that what was proven before answers for other names (RFC 8198). Prints every wrong
answer and how bad it is:

    UNSAFE      claims secure, or accepts what must fail
    DOWNGRADE   takes secure for insecure
    STRICT      refuses a good answer
    OTHER       another kind

Ends with 0 only if no answer is wrong.
"""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import time

KINDS = {"answer": "OK", "nodata": "NODATA", "nxdomain": "NX", "none": "FAIL"}
STATUSES = {"secure": "S", "insecure": "I", "bogus": "B", "failed": "X"}

CONCURRENCY = 8
TIME_MAX = 300

Question = collections.namedtuple("Question", "label name rtype kind status remark also")


def main():
    if len(sys.argv) not in (4, 5) or sys.argv[4:] not in ([], ["once"], ["twice"]):
        sys.exit(__doc__)
    program, directory, upstream = sys.argv[1:4]
    with open(pathlib.Path(directory) / "cases.tsv") as file:
        questions = [Question(*line.rstrip("\n").split("\t")) for line in file]
    if sys.argv[4:] == ["twice"]:
        questions += reversed(questions)
    begun = time.monotonic()
    answers = ask(program, directory, upstream, questions)
    wrong = collections.Counter()
    for question, answer in zip(questions, answers):
        status = STATUSES[answer["status"]]
        kind = "FAIL" if status in "BX" else KINDS[answer["kind"]]
        severity = judge(question, kind, status)
        if severity:
            wrong[severity] += 1
            print(
                f"{severity} {question.label}: {question.name} {question.rtype} should be "
                f"{question.kind}/{question.status}, is {kind}/{status} ({answer.get('reason')}); {question.remark}"
            )
    print(
        f"{len(questions) - wrong.total()} of {len(questions)} answers right "
        f"in {time.monotonic() - begun:.0f} s over {upstream}"
    )
    sys.exit(1 if wrong else 0)


def ask(program, directory, upstream, questions):
    """The answers, in order."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as batch:
        batch.writelines(f"{question.name} {question.rtype}\n" for question in questions)
        batch.flush()
        command = [program, "dns", "--batch", batch.name, "--concurrency", str(CONCURRENCY)]
        command += ["--dns-server", upstream, "--trust-anchor", f"{directory}/anchors/root.key"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=TIME_MAX)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    if len(answers) != len(questions):
        sys.exit(f"{len(answers)} answers to {len(questions)} questions; exit code {run.returncode}: {run.stderr}")
    return answers


def judge(question, kind, status):
    """How bad an answer is; None if it is right."""
    if (kind, status) == (question.kind, question.status) or f"{kind}/{status}" in question.also.split(","):
        return None
    if kind == "FAIL":
        # What must fail may fail in either way.
        return None if question.kind == "FAIL" else "STRICT"
    if question.kind == "FAIL" or (status == "S" and question.status != "S"):
        return "UNSAFE"
    if question.status == "S" and status != "S":
        return "DOWNGRADE"
    return "OTHER"


main()
