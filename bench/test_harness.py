"""Tests of what bench.py computes; what it starts is tested by smoke.sh."""

import argparse
import unittest

from harness import machine, measure, profile, report, world


class Computed(unittest.TestCase):
    def test_a_slope_is_that_of_the_nearest_line(self):
        for points, expected in [([], 0), ([(0, 5)], 0), ([(0, 1), (10, 1)], 0), ([(0, 0), (1, 2), (2, 4)], 2),
                                 ([(0, 1), (1, -1), (2, 1), (3, -1)], -0.4)]:
            self.assertAlmostEqual(machine.slope(points), expected)

    def test_only_messages_to_living_domains_are_expected(self):
        s = {"messages": 1000, "domains": 100, "dead": True}
        self.assertEqual(measure.expected(s), 700)
        self.assertEqual(measure.expected(s | {"dead": False}), 1000)
        # The hosts of the zone agree with the count.
        zone = [line for n in range(100) for line in world.World.domain(None, n, s | {"hosts": 7})]
        self.assertEqual(sum(" mx" in line for line in zone), 70)

    def test_a_queue_is_measured_up_to_its_last_hundredth(self):
        second = 1_000_000_000
        # Opened at 5 s, ten messages a second; the last of a hundred comes only after a minute.
        events = [{"now_ns": n * second, "distinct": min(99, max(0, n - 5) * 10)} for n in range(60)]
        events.append({"now_ns": 65 * second, "distinct": 100})
        drained = measure.drain(events, 5 * second, 100)
        self.assertEqual(measure.tenths(drained), [10] * 9 + [9])
        self.assertEqual(measure.per_second(drained[0], drained[-1]), 9.9)
        self.assertEqual(measure.tenths(measure.drain(events, 5 * second, 1000)), [2])
        self.assertEqual(measure.tenths(measure.drain([], 5 * second, 1000)), [])

    def test_a_sample_belongs_to_whoever_it_was_for(self):
        for frames, owner in [
            ([("copy", "[kernel.kallsyms]"), ("__x64_sys_write", "[kernel.kallsyms]"), ("f", "a")], "kernel, write"),
            ([("clear", "[kernel.kallsyms]"), ("exc_page_fault", "[kernel.kallsyms]")], "kernel, page faults"),
            ([("work", "[kernel.kallsyms]"), ("ret_from_fork", "[kernel.kallsyms]")],
             "kernel, interrupts and threads of its own"),
            ([("<byrnie_net::smtp::A as core::fmt::Debug>::fmt", "/x/byrnie")], "byrnie_net"),
            ([("core::ptr::drop_in_place<tokio::net::TcpStream>", "/x/byrnie")], "tokio"),
            ([("alloc::vec::from_elem", "/x/byrnie")], "std"),
            ([("aws_lc_0_47_sha256", "/x/byrnie")], "aws-lc"),
            ([("walChecksumBytes", "/x/byrnie")], "SQLite"),
            ([("<T>::of_no_crate", "/x/byrnie")], "SQLite"),
            ([("malloc", "/usr/lib/libc.so.6")], "libc"),
        ]:
            self.assertEqual(profile.owner_of(frames), owner)
        stacks = profile.count("  ff f (/a/libc.so.6)\n  ff g (/a/b)\n\n  ff f (/a/libc.so.6)\n\n")
        self.assertEqual(stacks["functions"], {"libc: `f`": 2})


class Judged(unittest.TestCase):
    def verdict(self, key, wanted, ours, theirs):
        """What the report says of a goal after runs with these values of its field."""
        field = report.RELATIVE[key][0] if key in report.RELATIVE else key
        runs = [("byrnie", ours), ("postfix:tuned", theirs)]
        rows = [{"scenario": "x", "target": target, "label": "", "rep": rep, field: value, "complete": True,
                 "observed": False, "foreign_cores": 0, "steal_cores": 0}
                for target, values in runs for rep, value in enumerate(values)]
        results = report.Results(rows, argparse.Namespace(baseline="postfix:tuned", noise=1, noisy=False))
        return [row[-1] for row in report.goal_row(results, "x", "byrnie", key, wanted)]

    def test_goals_are_judged_by_the_median_of_pairs(self):
        for key, wanted, ours, theirs, expected in [
            ("delivered_times", 5, [50, 60, 10], [10, 10, 10], "met"),
            ("delivered_times", 5, [49, 60, 10], [10, 10, 10], "NOT met"),
            ("delivered_times", 5, [50], [10], "met, with fewer than 3 pairs"),
            ("cpu_part", 6, [1, 1, 1], [6, 6, 6], "met"),
            ("cpu_part", 6, [1, 1, 1], [5.9, 5.9, 5.9], "NOT met"),
            ("pss_mib", 200, [199], [], "met"),
            ("pss_mib", 200, [200], [], "NOT met"),
        ]:
            self.assertEqual(self.verdict(key, wanted, ours, theirs), [expected])
        self.assertEqual(self.verdict("cpu_part", 6, [1], []), [])


if __name__ == "__main__":
    unittest.main()
