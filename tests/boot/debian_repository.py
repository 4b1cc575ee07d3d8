"""A repository of Debian 12 packages that apt downloads from this machine's archive, with indices of its own.

It holds what the installer needs for a small system and no more: the base system, kernel, boot loader, and those parts of the
installer (udebs) that archives keep. Packages stay in the cache folder that is given, so that a second run needs no network.
"""

import gzip
import hashlib
import re
import subprocess
from pathlib import Path

SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEBS, UDEBS = "main", "main/debian-installer"
# Beside what has priority required or important. usr-is-merged is debootstrap's choice, which apt alone would not make.
PACKAGES = ["linux-image-amd64", "grub-pc", "locales", "console-setup", "keyboard-configuration", "busybox", "initramfs-tools", "zstd",
            "dbus", "libpam-systemd", "debootstrap", "usbutils", "pciutils"]
CHOSEN = ["usr-is-merged"]
PARTS = ["base-installer", "bootstrap-base"]
MODULES = ["ata", "cdrom-core", "crc", "ext4", "scsi", "scsi-core"]


def field(paragraph: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*)$", paragraph, re.M)
    return found.group(1) if found else ""


class Component:
    """One of the archive's components, by an apt with sources and state of its own: as on a machine with nothing installed."""

    def __init__(self, cache: Path, name: str):
        self.name = name
        self.folder = cache / name.replace("/", "-")
        self.files = self.folder / "files"
        self.index = self.folder / "Packages"
        for part in (self.files, self.folder / "lists" / "partial", self.folder / "cache" / "archives" / "partial"):
            part.mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()

    def _apt(self, program: str, *words, cwd=None) -> str:
        options = {"Dir::Etc::sourcelist": self.folder / "sources.list", "Dir::Etc::sourceparts": "-", "Dir::State::lists": self.folder / "lists",
                   "Dir::State::status": self.folder / "status", "Dir::Cache": self.folder / "cache", "APT::Sandbox::User": "root",
                   "APT::Install-Recommends": "false", "Acquire::Languages": "none", "Debug::NoLocking": "true"}
        command = [program, "-q", *[f"-o{name}={value}" for name, value in options.items()], *words]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=cwd).stdout

    def update(self):
        listed = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", f"Codename: {SUITE}"],
                                check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        if not listed:
            raise SystemExit("apt knows no archive of Debian 12 (bookworm) on this machine")
        (self.folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {listed[0]} {SUITE} {self.name}\n")
        self._apt("apt-get", "update")

    def known(self) -> dict:
        """The archive's paragraph of each package, by name."""
        paragraphs = (paragraph.strip() for paragraph in self._apt("apt-cache", "dumpavail").split("\n\n"))
        return {field(paragraph, "Package"): paragraph for paragraph in paragraphs if paragraph}

    def has(self, names: list) -> bool:
        """Whether an earlier run fetched these."""
        return self.index.exists() and {field(paragraph, "Package") for paragraph in self.index.read_text().split("\n\n")} >= set(names)

    def with_dependencies(self, names: list) -> list:
        """What an installation of these would install."""
        return re.findall(r"^Inst (\S+)", self._apt("apt-get", "--simulate", "install", *names), re.M)

    def fetch(self, names: list, known: dict):
        """Downloads them; the index, which comes last, says that all are there."""
        self._apt("apt-get", "download", *names, cwd=self.files)
        self.index.write_text("\n\n".join(known[name] for name in sorted(names)) + "\n")

    def file(self, paragraph: str) -> Path:
        """Where apt put it: named after package, version and architecture, the version's epoch included."""
        version = field(paragraph, "Version").replace(":", "%3a")
        return self.files / f"{field(paragraph, 'Package')}_{version}_{field(paragraph, 'Architecture')}{Path(field(paragraph, 'Filename')).suffix}"

    def unpack(self, package: str, into: Path):
        for paragraph in self.index.read_text().split("\n\n"):
            if field(paragraph, "Package") == package:
                subprocess.run(["dpkg-deb", "-x", self.file(paragraph), into], check=True)
                return
        raise SystemExit(f"the repository in {self.folder} has no {package}")


def fetch(cache: Path, kernel: str):
    """Downloads what is missing; `kernel` is the installer's own, whose modules its parts are."""
    debs, udebs = Component(cache, DEBS), Component(cache, UDEBS)
    if not debs.has(PACKAGES + CHOSEN):
        debs.update()
        known = debs.known()
        base = [name for name, paragraph in known.items() if field(paragraph, "Priority") in ("required", "important")]
        debs.fetch([*debs.with_dependencies([*base, *PACKAGES]), *CHOSEN], known)
    names = PARTS + [f"{name}-modules-{kernel}-di" for name in MODULES]
    if not udebs.has(names):
        udebs.update()
        known = udebs.known()
        if missing := [name for name in names if name not in known]:
            raise SystemExit(f"Debian's archive has no {missing[0]} any more: delete the cache's guest/installer, so that a newer installer is fetched")
        udebs.fetch(names, known)


def make(cache: Path, root: Path, own: list):
    """A mirror's tree in `root`, with these own parts of the installer beside Debian's."""
    digests = []
    for name in (DEBS, UDEBS):
        component = Component(cache, name)
        paragraphs = component.index.read_text().strip().split("\n\n")
        for paragraph in paragraphs:
            path = root / field(paragraph, "Filename")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(component.file(paragraph))
        for package in own if name == UDEBS else []:
            contents = package.read_bytes()
            path = root / "pool" / package.name
            path.write_bytes(contents)
            fields = subprocess.run(["dpkg-deb", "-f", package], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
            digest = hashlib.sha256(contents).hexdigest()
            paragraphs.append(f"{fields}\nFilename: pool/{package.name}\nSize: {len(contents)}\nSHA256: {digest}")
        text = ("\n\n".join(paragraphs) + "\n").encode()
        # The installer asks for the last to know whether a mirror has its architecture.
        release = f"Archive: oldstable\nOrigin: Debian\nLabel: Debian\nVersion: 12\nComponent: {name}\nArchitecture: amd64\n".encode()
        for file, contents in (("Packages", text), ("Packages.gz", gzip.compress(text, mtime=0)), ("Release", release)):
            place = f"{name}/binary-amd64/{file}"
            path = root / "dists" / SUITE / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents)
            digests.append(f" {hashlib.sha256(contents).hexdigest()} {len(contents)} {place}")
    (root / "dists" / SUITE / "Release").write_text(
        f"Origin: Debian\nLabel: Debian\nSuite: oldstable\nVersion: 12\nCodename: {SUITE}\nDate: Sat, 10 Jun 2023 08:00:00 UTC\n"
        "Architectures: amd64\nComponents: main\nDescription: what one installation needs\nSHA256:\n" + "\n".join(digests) + "\n")
