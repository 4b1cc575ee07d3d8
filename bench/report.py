"""Tables and verdicts from what bench/run.py measured."""

import math
import os
import platform
import statistics

TCG = ("qemu-max", "qemu64")
# Group -> how many times as fast as the better of QEMU's columns the group's geometric mean must be, whether no workload of
# it may be slower than QEMU, and whether the factor holds for each workload.
TARGETS = {
    "integer": (3.5, True, False),
    "fp": (30.0, False, False),
    "system": (2.5, True, False),
    "jit": (8.0, False, False),
    "programs": (3.0, True, True),
    "virtio": (1.5, True, True),
    "chips": (1.0, True, True),
}
# Workload -> what it may at most take over native: what the best of other emulators takes.
LIMITS = {"sieve": 10, "hash": 25, "chase": 2, "rep_movsb": 7, "patch_call": 16, "patch_self": 16, "jit_rwx": 25, "jit_mprotect": 25}
MEMORY_LIMIT, SMP_LIMIT = 200, 1.15  # MB; of one program's time
BOOT_LIMITS = {"cloud": 0.6, "stock": 0.6, "from virtio": 0.5, "from ide": 0.5}  # Of TCG's time.


def geometric_mean(values) -> float:
    values = list(values)
    return math.exp(sum(math.log(value) for value in values) / len(values)) if values else math.nan


def figure(value, digits: int = 2) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{digits}f}" if value < 100 else f"{value:.0f}"


def verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


class Report:
    """Seconds per unit of work, for each workload and emulator one for each round."""

    def __init__(self, workloads: dict, names: list, take: str):
        self.groups = {name: group for name, (group, _) in workloads.items()}
        self.units = {name: units for name, (_, units) in workloads.items()}
        self.names, self.take = list(names), take
        self.samples, self.checksums, self.beyond_ram = {}, {}, {}

    def add(self, workload: str, emulator: str, seconds: float, checksum: str, state: int = 0):
        """What all have to compute alike; `state` tells apart what they begin with, where work changes that."""
        first = self.checksums.setdefault((workload, state), (emulator, checksum))
        if first[1] != checksum:
            raise SystemExit(f"{emulator} computes {checksum} for {workload}, {first[0]} {first[1]}")
        self.samples.setdefault(workload, {}).setdefault(emulator, []).append(seconds)

    def best(self, workload: str, emulator: str):
        """What counts of the rounds; None when it was not measured."""
        values = self.samples.get(workload, {}).get(emulator)
        if not values:
            return None
        return min(values) if self.take == "min" else statistics.median(values)

    def tcg(self, workload: str):
        """The better of QEMU's processors on this workload."""
        return min((value for value in (self.best(workload, name) for name in TCG) if value), default=None)

    def spread(self, workload: str) -> float:
        """The largest distance of a round from the best one of the same emulator, as a part of that."""
        return max(max(values) / min(values) - 1 for values in self.samples[workload].values())

    def over(self, workload: str, emulator: str, base: str):
        time = self.tcg(workload) if emulator == "tcg" else self.best(workload, emulator)
        against = self.tcg(workload) if base == "tcg" else self.best(workload, base)
        return time / against if time and against else None

    def mean(self, workloads: list, emulator: str, base: str):
        ratios = [ratio for ratio in (self.over(workload, emulator, base) for workload in workloads) if ratio]
        return geometric_mean(ratios) if ratios else None

    # Tables are lists of rows, the first of them the head.

    def group_table(self, group: str) -> list:
        workloads = [name for name in self.samples if self.groups.get(name) == group]
        ours = [name for name in self.names if name not in ("native", *TCG)]
        columns = [(name, "native") for name in self.names if name != "native"] if "native" in self.names else []
        columns += [(name, "tcg") for name in ours] if any(name in TCG for name in self.names) else []
        if "bochs" in self.names:
            columns += [(name, "bochs") for name in ours if name != "bochs"]
        head = lambda name, base: f"{name} / native" if base == "native" else f"{name} vs {'TCG' if base == 'tcg' else base}"  # noqa: E731
        rows = [[group, *(f"{name} s" for name in self.names), *(head(*column) for column in columns), "spread"]]
        value = lambda ratio, base: ratio if base == "native" or ratio is None else 1 / ratio  # noqa: E731
        for name in workloads:
            seconds = [self.best(name, emulator) for emulator in self.names]
            rows.append([
                name, *(figure(one and one * self.units[name], 3) for one in seconds),
                *(figure(value(self.over(name, *column), column[1])) for column in columns), f"{100 * self.spread(name):.0f}%",
            ])
        means = [figure(value(self.mean(workloads, *column), column[1])) for column in columns]
        return rows + [["geometric mean", *("" for _ in self.names), *means, ""]]

    def other_table(self, prefix: str) -> list:
        wanted = [name for name in self.samples if (name.startswith("boot ") if prefix == "boot" else name.endswith((" x1", " x2")))]
        names = [name for name in self.names if any(self.best(one, name) for one in wanted)]
        rows = [["boots" if prefix == "boot" else prefix, *(f"{name} s" for name in names), "spread"]]
        for one in wanted:
            seconds = [self.best(one, name) for name in names]
            units = self.units.get(one[:-3], 1)
            rows.append([one, *(figure(value and value * units) for value in seconds), f"{100 * self.spread(one):.0f}%"])
        return rows

    def memory_table(self) -> list:
        names = [name for name in self.names if self.beyond_ram.get(name)]
        return [["most memory beyond guest RAM", *names], ["MB", *(f"{self.beyond_ram[name] / 1e6:.0f}" for name in names)]]

    def target_table(self) -> list:
        """Calque's verdicts; a row for each target that something was measured for."""
        rows = [["target", "wanted", "calque", "TCG", "verdict"]]
        for group, (factor, none_slower, each) in TARGETS.items():
            workloads = [name for name in self.samples if self.groups.get(name) == group and self.over(name, "calque", "tcg")]
            if workloads:
                rows += self.group_targets(group, workloads, factor, none_slower, each)
        for name, limit in LIMITS.items():
            rows += self.limit(f"{name} over native", self.over(name, "calque", "native"), limit, self.over(name, "tcg", "native"))
        for what, limit in BOOT_LIMITS.items():
            rows += self.limit(f"boot {what} over TCG", self.over(f"boot {what}", "calque", "tcg"), limit, 1)
        most = {name: size / 1e6 for name, size in self.beyond_ram.items()}
        theirs = max((most.get(name, 0) for name in TCG), default=None) or None
        rows += self.limit("memory beyond guest RAM, MB", most.get("calque"), MEMORY_LIMIT, theirs)
        rows += self.limit("two programs on two processors over one", self.smp_ratio("calque"), SMP_LIMIT, self.smp_ratio("qemu-max"))
        return rows

    @staticmethod
    def limit(what: str, ours, most: float, theirs) -> list:
        """A row for something that must not be larger than a limit; none when it was not measured."""
        return [[what, f"at most {most:g}", figure(ours), figure(theirs), verdict(ours <= most)]] if ours else []

    def group_targets(self, group: str, workloads: list, factor: float, none_slower: bool, each: bool) -> list:
        over_native = [figure(self.mean(workloads, name, "native")) for name in ("calque", "tcg")]
        rows = [[f"{group} over native", "", *over_native, ""]] if over_native != ["-", "-"] else []
        faster = {name: 1 / self.over(name, "calque", "tcg") for name in workloads}
        if each:
            worst = min(faster, key=faster.get)
            least = f"{figure(faster[worst])} ({worst})"
            return [*rows, [f"{group}: each against TCG", f"at least {factor}", least, "1", verdict(faster[worst] >= factor)]]
        mean = geometric_mean(faster.values())
        rows.append([f"{group} against TCG", f"at least {factor}", figure(mean), "1", verdict(mean >= factor)])
        if none_slower:
            slower = sorted((value, name) for name, value in faster.items() if value < 1)
            worst = f"{len(slower)}, worst {slower[0][1]} {figure(slower[0][0])}" if slower else "none"
            rows.append([f"{group}: slower than TCG", "none", worst, "", verdict(not slower)])
        return rows

    def smp_ratio(self, emulator: str):
        """Two at once over one alone, the mean of the workloads."""
        ratios = []
        for name in self.samples:
            alone, both = self.best(name, emulator), self.best(name[:-1] + "2", emulator)
            if name.endswith(" x1") and alone and both:
                ratios.append(both / alone)
        return geometric_mean(ratios) if ratios else None

    def print(self, markdown: bool):
        tables = [self.group_table(group) for group in dict.fromkeys(self.groups[name] for name in self.samples if name in self.groups)]
        tables += [self.other_table("boot"), self.other_table("two processors"), self.memory_table(), self.target_table()]
        for table in tables:
            if len(table) > 1 and len(table[0]) > 1:
                print(as_markdown(table) if markdown else as_text(table), end="\n\n")

    def as_json(self, options: dict) -> dict:
        return {
            "host": {"processor": processor(), "processors": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()},
            "options": options, "units": self.units, "groups": self.groups, "seconds_per_unit": self.samples,
            "beyond_ram": self.beyond_ram, "targets": self.target_table(),
        }


def processor() -> str:
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        fields = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    return f"{fields.get('model name')} (family {fields.get('cpu family')}, model {fields.get('model')})"


def as_text(table: list) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    line = lambda row: "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])  # noqa: E731
    return "\n".join(map(line, table))


def as_markdown(table: list) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])
