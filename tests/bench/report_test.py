#!/usr/bin/python3
"""The benches' verdicts, from samples whose ratios are known."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
from report import Report  # noqa: E402

WORKLOADS = {"crc": ("integer", 10), "hash": ("integer", 4), "gzip": ("programs", 1), "awk": ("programs", 1)}
NAMES = ["native", "calque", "qemu-max", "qemu64"]


def report_of(samples: dict) -> Report:
    report = Report(WORKLOADS, NAMES, "min")
    for workload, row in samples.items():
        for name, values in zip(NAMES, row):
            for seconds in values:
                report.add(workload, name, seconds, "sum")
    return report


class ReportTest(unittest.TestCase):
    def rows(self, report: Report) -> dict:
        return {row[0]: row[1:] for row in report.target_table()}

    def test_tcg_is_the_better_processor_of_each_workload(self):
        report = report_of({"crc": [[1.0], [2.0], [8.0], [6.0]], "hash": [[1.0], [2.0], [5.0], [9.0]]})
        self.assertEqual((report.tcg("crc"), report.tcg("hash")), (6.0, 5.0))

    def test_the_fastest_round_counts_and_the_spread_is_of_one_emulator(self):
        report = report_of({"crc": [[1.0, 1.5], [3.0, 2.0], [8.0], [8.0]]})
        self.assertEqual(report.best("crc", "calque"), 2.0)
        self.assertEqual(report.spread("crc"), 0.5)

    def test_a_group_is_judged_by_its_geometric_mean(self):
        # 16 and 1 times as fast: 4 on the mean.
        rows = self.rows(report_of({"crc": [[1.0], [1.0], [16.0], [20.0]], "hash": [[1.0], [2.0], [2.0], [3.0]]}))
        self.assertEqual(rows["integer against TCG"], ["at least 3.5", "4.00", "1", "met"])
        self.assertEqual(rows["integer over native"][1:3], ["1.41", "5.66"])
        self.assertEqual(rows["integer: slower than TCG"], ["none", "none", "", "met"])

    def test_one_slower_workload_fails_a_group_that_allows_none(self):
        rows = self.rows(report_of({"crc": [[1.0], [1.0], [100.0], [100.0]], "hash": [[1.0], [4.0], [2.0], [2.0]]}))
        self.assertEqual(rows["integer: slower than TCG"], ["none", "1, worst hash 0.50", "", "NOT MET"])

    def test_programs_are_judged_one_by_one(self):
        rows = self.rows(report_of({"gzip": [[1.0], [1.0], [30.0], [30.0]], "awk": [[1.0], [1.0], [2.0], [2.0]]}))
        self.assertEqual(rows["programs: each against TCG"], ["at least 3.0", "2.00 (awk)", "1", "NOT MET"])

    def test_limits_are_over_native(self):
        rows = self.rows(report_of({"hash": [[1.0], [26.0], [80.0], [80.0]]}))
        self.assertEqual(rows["hash over native"], ["at most 25", "26.00", "80.00", "NOT MET"])

    def test_another_checksum_ends_the_run(self):
        report = report_of({"crc": [[1.0], [1.0], [1.0], [1.0]]})
        with self.assertRaises(SystemExit):
            report.add("crc", "calque", 1.0, "another")

    def test_what_an_emulator_cannot_run_is_a_dash(self):
        report = report_of({"crc": [[0.1], [0.2], [0.8], []]})
        self.assertEqual(report.group_table("integer")[1], ["crc", "1.000", "2.000", "8.000", "-", "2.00", "8.00", "-", "4.00", "0%"])


if __name__ == "__main__":
    unittest.main()
