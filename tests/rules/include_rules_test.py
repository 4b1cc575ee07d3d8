#!/usr/bin/python3
"""The include rules catch what they are for, and let pass what is allowed."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from include_rules import check_text  # noqa: E402


class IncludeRules(unittest.TestCase):
    def allowed(self, path, text):
        self.assertEqual(check_text(path, text), [])

    def broken(self, path, text, sentence):
        problems = check_text(path, text)
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(sentence, problems[0])

    def test_arrows_between_rooms(self):
        self.allowed("cpu/interpreter/run.cpp", '#include "mmu/walker.h"\n#include "base/result.h"\n#include "cpu/state.h"\n')
        self.broken("mmu/walker.cpp", '#include "cpu/state.h"\n', "mmu must not include cpu")
        self.broken("cpu/state.h", '#include "devices/irq/line.h"\n', "cpu must not include devices")
        self.broken("devices/serial/uart.cpp", '#include "mmu/guest_ram.h"\n', "devices must not include mmu")
        self.broken("firmware/acpi.cpp", '#include "cpu/cpuid.h"\n', "firmware must not include cpu")
        self.broken("base/log.cpp", '#include "mmu/walker.h"\n', "base must not include mmu")
        self.broken("frontend/backends/file.cpp", '#include "frontend/machine/pc.h"\n', "frontend/backends must not include frontend/machine")
        self.broken("jit/ir/block.h", '#include "jit/emit/x64.h"\n', "jit/ir must not include jit/emit")

    def test_the_frontend_reaches_the_engine_through_the_machine(self):
        self.allowed("frontend/machine/inspect.cpp", '#include "jit/debug/disassembler.h"\n#include "mmu/walker.h"\n')
        for room in ("monitor", "cli", "gdb", "console"):
            self.allowed(f"frontend/{room}/a.cpp", '#include "frontend/machine/machine.h"\n')
            for engine in ("jit/debug/disassembler.h", "cpu/cpu.h", "mmu/walker.h"):
                self.broken(f"frontend/{room}/a.cpp", f'#include "{engine}"\n', f"frontend/{room} must not include")
        self.broken("frontend/monitor/a.cpp", '#include "frontend/cli/options.h"\n', "must not include frontend/cli")
        self.broken("jit/debug/a.cpp", '#include "frontend/machine/machine.h"\n', "jit must not include frontend/machine")
        self.broken("jit/emit/a.cpp", '#include "devices/device.h"\n', "jit must not include devices")

    def test_firmware_stands_on_base_alone(self):
        for target in ("cpu/cpu.h", "jit/debug/disassembler.h", "mmu/walker.h", "devices/device.h"):
            self.broken("firmware/pvh.cpp", f'#include "{target}"\n', "firmware must not include")

    def test_relative_includes_are_refused(self):
        self.broken("cpu/state.cpp", '#include "state.h"\n', "not a path from the project's root")
        self.broken("cpu/state.cpp", '#include "../mmu/walker.h"\n', "not a path from the project's root")

    def test_devices_do_not_know_each_other(self):
        self.allowed("devices/pit/pit.cpp", '#include "devices/pit/pit.h"\n#include "devices/bus/device.h"\n')
        self.broken("devices/pit/pit.cpp", '#include "devices/pic/pic.h"\n', "device pit must not include device pic")
        self.broken("devices/bus/bus.cpp", '#include "devices/pic/pic.h"\n', "a shared part must not include device pic")

    def test_devices_do_not_touch_the_host(self):
        for header in ("unistd.h", "sys/socket.h", "chrono", "fstream", "ctime", "cstdio"):
            self.broken("devices/rtc/rtc.cpp", f"#include <{header}>\n", "never touches the host")

    def test_third_party_headers_stay_in_their_rooms(self):
        self.allowed("cpu/decode/decoder.cpp", "#include <Zydis/Zydis.h>\n")
        self.broken("cpu/interpreter/run.cpp", "#include <Zydis/Zydis.h>\n", "belongs to cpu/decode")
        self.broken("frontend/cli/main.cpp", "#include <SDL.h>\n", "belongs to frontend/console")
        self.broken("jit/opt/dead.cpp", "#include <asmjit/asmjit.h>\n", "belongs to jit/emit")
        self.allowed("frontend/console/window.cpp", "#include <SDL.h>\n#include <SDL2/SDL_keycode.h>\n")
        self.allowed("jit/debug/disassembler.cpp", "#include <capstone/capstone.h>\n")
        self.broken("frontend/monitor/x.cpp", "#include <capstone/capstone.h>\n", "belongs to jit/debug")
        self.broken("frontend/console/window.cpp", "#include <libslirp.h>\n", "belongs to frontend/backends")

    def test_portable_rooms(self):
        self.broken("cpu/simd/add.cpp", "#include <immintrin.h>\n", "portable code")
        self.broken("mmu/walker.cpp", "#include <x86intrin.h>\n", "portable code")
        self.broken("cpu/x87/add.cpp", "long  double x;\n", "long double")
        self.broken("devices/hpet/hpet.cpp", "long double x;\n", "x87 unit")
        self.broken("cpu/state.cpp", 'asm volatile("nop");\n', "inline assembly")

    def test_comments_and_strings_are_not_code(self):
        self.allowed("cpu/x87/add.cpp", "// not long double\n/* asm(\n#include <SDL.h> */\nauto s = \"long double\";\n")


if __name__ == "__main__":
    unittest.main()
