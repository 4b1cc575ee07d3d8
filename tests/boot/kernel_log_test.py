#!/usr/bin/python3
"""The kernel log comparison finds what it is for."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kernel_log import new_warnings, only_timing  # noqa: E402


class KernelLog(unittest.TestCase):
    def test_only_levels_up_to_warning_count(self):
        self.assertEqual(new_warnings("<6>[    1.0] hello\n<5>[    1.1] notice\n", ""), [])
        self.assertEqual(new_warnings("<4>[    1.0] oops\n<3>[    1.1] bad\n", ""), ["<4> oops", "<3> bad"])

    def test_times_numbers_and_addresses_do_not_matter(self):
        ours = "<4>[    9.123456] irq 16: address 0xfee00000 of 00000000deadbeef took 3.25 ms\n"
        theirs = "<4>[    1.000001] irq 17: address 0xfed00000 of 0000000012345678 took 11 ms\n"
        self.assertEqual(new_warnings(ours, theirs), [])

    def test_facility_bits_are_not_the_level(self):
        self.assertEqual(new_warnings("<12>[    1.0] from user space\n", ""), ["<4> from user space"])
        self.assertEqual(new_warnings("<14>[    1.0] from user space\n", ""), [])

    def test_continuation_lines_have_the_level_of_their_message(self):
        self.assertEqual(new_warnings("<4>[    1.0] first\n second\n", ""), ["<4> first", "<4> second"])

    def test_complaints_about_time_are_told_from_others(self):
        self.assertTrue(only_timing(["<4> tsc: Unable to calibrate against PIT"]))
        self.assertFalse(only_timing(["<4> tsc: Unable to calibrate against PIT", "<3> BUG: soft lockup"]))


if __name__ == "__main__":
    unittest.main()
