// The protocol's named types.
#include "frontend/qmp/commands.h"

#include <array>

namespace calque::qmp {

namespace {

using Kind = TypeText::Kind;

constexpr std::array types{
    TypeText{Kind::object, "Empty", ""},
    // The protocol and the program.
    TypeText{Kind::enumeration, "QMPCapability", ""},
    TypeText{Kind::object, "VersionTriple", "major: int, minor: int, micro: int"},
    TypeText{Kind::object, "VersionInfo", "qemu: VersionTriple, package: str"},
    TypeText{Kind::object, "CommandInfo", "name: str"},
    TypeText{Kind::object, "CommandLineParameterInfo", "name: str, type: CommandLineParameterType"},
    TypeText{Kind::enumeration, "CommandLineParameterType", "string boolean number size"},
    TypeText{Kind::object, "CommandLineOptionInfo", "option: str, parameters: [CommandLineParameterInfo]"},
    // The guest's machine.
    TypeText{Kind::object, "NameInfo", "name?: str"},
    TypeText{Kind::object, "UuidInfo", "UUID: str"},
    TypeText{Kind::object, "KvmInfo", "enabled: bool, present: bool"},
    TypeText{Kind::enumeration, "SysEmuTarget", "x86_64"},
    TypeText{Kind::object, "TargetInfo", "arch: SysEmuTarget"},
    TypeText{Kind::object, "MachineInfo",
             "name: str, alias?: str, is-default?: bool, cpu-max: int, hotpluggable-cpus: bool, numa-mem-supported: "
             "bool, deprecated: bool"},
    TypeText{Kind::object, "CurrentMachineParams", "wakeup-suspend-support: bool"},
    TypeText{Kind::object, "CpuDefinitionInfo",
             "name: str, typename: str, migration-safe?: bool, static: bool, unavailable-features?: [str], "
             "deprecated: bool"},
    TypeText{Kind::enumeration, "CpuModelExpansionType", "static full"},
    TypeText{Kind::object, "CpuModelInfo", "name: str, props?: any"},
    TypeText{Kind::object, "CpuModelExpansionInfo", "model: CpuModelInfo"},
    TypeText{Kind::object, "CpuInstanceProperties", "socket-id?: int, core-id?: int, thread-id?: int"},
    TypeText{Kind::object, "CpuInfoFast",
             "cpu-index: int, qom-path: str, thread-id: int, props?: CpuInstanceProperties, target: SysEmuTarget"},
    TypeText{Kind::object, "MemoryInfo", "base-memory: uint, plugged-memory?: uint"},
    TypeText{Kind::enumeration, "MigrationCapability", "events"},
    TypeText{Kind::object, "MigrationCapabilityStatus", "capability: MigrationCapability, state: bool"},
    TypeText{Kind::object, "MigrationParameters", "max-bandwidth?: int, downtime-limit?: int"},
    TypeText{Kind::enumeration, "MigrationStatus", "none setup active device completed failed cancelling cancelled"},
    TypeText{Kind::object, "MigrationStats",
             "transferred: int, remaining: int, total: int, duplicate: int, skipped: int, normal: int, normal-bytes: "
             "int, dirty-pages-rate: int, mbps: int, dirty-sync-count: int, page-size: int"},
    TypeText{Kind::object, "MigrationInfo",
             "status?: MigrationStatus, ram?: MigrationStats, total-time?: int, setup-time?: int, downtime?: int, "
             "error-desc?: str"},
    // Keys, pointer, screen.
    TypeText{Kind::enumeration, "KeyValueKind", "number qcode"},
    TypeText{Kind::object, "KeyNumber", "data: int"},
    TypeText{Kind::object, "KeyName", "data: str"},
    TypeText{Kind::object, "KeyValue", "type: KeyValueKind", "type", "number: KeyNumber, qcode: KeyName"},
    TypeText{Kind::enumeration, "InputEventKind", "key btn rel abs"},
    TypeText{Kind::enumeration, "InputButton",
             "left middle right wheel-up wheel-down side extra wheel-left wheel-right"},
    TypeText{Kind::enumeration, "InputAxis", "x y"},
    TypeText{Kind::object, "InputKeyEvent", "key: KeyValue, down: bool"},
    TypeText{Kind::object, "InputBtnEvent", "button: InputButton, down: bool"},
    TypeText{Kind::object, "InputMoveEvent", "axis: InputAxis, value: int"},
    TypeText{Kind::object, "InputKeyData", "data: InputKeyEvent"},
    TypeText{Kind::object, "InputBtnData", "data: InputBtnEvent"},
    TypeText{Kind::object, "InputMoveData", "data: InputMoveEvent"},
    TypeText{Kind::object, "InputEvent", "type: InputEventKind", "type",
             "key: InputKeyData, btn: InputBtnData, rel: InputMoveData, abs: InputMoveData"},
    TypeText{Kind::enumeration, "ImageFormat", "ppm png"},
    TypeText{Kind::object, "MouseInfo", "name: str, index: int, current: bool, absolute: bool"},
    // Remote viewers.
    TypeText{Kind::enumeration, "DisplayProtocol", "vnc spice"},
    TypeText{Kind::enumeration, "SetPasswordAction", "keep fail disconnect"},
    TypeText{Kind::enumeration, "NetworkAddressFamily", "ipv4 ipv6 unix vsock unknown"},
    TypeText{Kind::enumeration, "VncPrimaryAuth", "none vnc"},
    TypeText{Kind::object, "VncBasicInfo", "host: str, service: str, family: NetworkAddressFamily, websocket: bool"},
    TypeText{Kind::object, "VncServerInfo",
             "host: str, service: str, family: NetworkAddressFamily, websocket: bool, auth?: str"},
    TypeText{Kind::object, "VncClientInfo", "host: str, service: str, family: NetworkAddressFamily, websocket: bool"},
    TypeText{Kind::object, "VncInfo",
             "enabled: bool, host?: str, family?: NetworkAddressFamily, service?: str, auth?: str, clients?: "
             "[VncClientInfo]"},
    TypeText{Kind::object, "VncServerInfo2",
             "host: str, service: str, family: NetworkAddressFamily, websocket: bool, auth: VncPrimaryAuth"},
    TypeText{Kind::object, "VncInfo2",
             "id: str, server: [VncServerInfo2], clients: [VncClientInfo], auth: VncPrimaryAuth"},
    // Devices.
    TypeText{Kind::object, "PciInfo", "bus: int, devices: [PciDeviceInfo]"},
    TypeText{
        Kind::object, "PciDeviceInfo",
        "bus: int, slot: int, function: int, class_info: PciDeviceClass, id: PciDeviceId, irq?: int, irq_pin: int, "
        "qdev_id: str, pci_bridge?: PciBridgeInfo, regions: [PciMemoryRegion]"},
    TypeText{Kind::object, "PciDeviceClass", "desc?: str, class: int"},
    TypeText{Kind::object, "PciDeviceId", "device: int, vendor: int"},
    TypeText{Kind::object, "PciBusInfo", "number: int, secondary: int, subordinate: int"},
    TypeText{Kind::object, "PciBridgeInfo", "bus: PciBusInfo, devices?: [PciDeviceInfo]"},
    TypeText{Kind::object, "PciMemoryRegion",
             "bar: int, type: str, address: int, size: int, prefetch?: bool, mem_type_64?: bool"},
    TypeText{Kind::object, "ObjectTypeInfo", "name: str, abstract?: bool, parent?: str"},
    TypeText{Kind::object, "ObjectPropertyInfo", "name: str, type: str, description?: str"},
    TypeText{Kind::object, "BalloonInfo", "actual: int"},
    TypeText{Kind::object, "ChardevInfo", "label: str, filename: str, frontend-open: bool"},
    // Drives.
    TypeText{Kind::enumeration, "BlockDeviceIoStatus", "ok failed nospace"},
    TypeText{Kind::object, "BlockdevCacheInfo", "writeback: bool, direct: bool, no-flush: bool"},
    TypeText{Kind::object, "ImageInfo", "filename: str, format: str, virtual-size: int"},
    TypeText{Kind::object, "BlockDeviceInfo",
             "file: str, node-name?: str, ro: bool, drv: str, encrypted: bool, backing_file_depth: int, detect_zeroes: "
             "BlockdevDetectZeroesOptions, bps: int, bps_rd: int, bps_wr: int, iops: int, iops_rd: int, iops_wr: int, "
             "image: ImageInfo, cache: BlockdevCacheInfo, write_threshold: int"},
    TypeText{Kind::enumeration, "BlockdevDetectZeroesOptions", "off"},
    TypeText{
        Kind::object, "BlockInfo",
        "device: str, qdev?: str, type: str, removable: bool, locked: bool, inserted?: BlockDeviceInfo, tray_open?: "
        "bool, io-status?: BlockDeviceIoStatus"},
    TypeText{Kind::object, "BlockDeviceStats",
             "rd_bytes: int, wr_bytes: int, rd_operations: int, wr_operations: int, flush_operations: int, "
             "unmap_operations: int, failed_rd_operations: int, failed_wr_operations: int"},
    TypeText{Kind::object, "BlockStats", "device?: str, qdev?: str, node-name?: str, stats: BlockDeviceStats"},
    TypeText{Kind::enumeration, "BlockdevChangeReadOnlyMode", "retain read-only read-write"},
    // Jobs.
    TypeText{Kind::enumeration, "JobType", "snapshot-save snapshot-load snapshot-delete"},
    TypeText{Kind::enumeration, "JobStatus", "created running aborting concluded null"},
    TypeText{Kind::object, "JobInfo",
             "id: str, type: JobType, status: JobStatus, current-progress: int, total-progress: int, error?: str"},
    // Running.
    TypeText{Kind::enumeration, "RunState",
             "prelaunch running paused io-error shutdown inmigrate finish-migrate postmigrate"},
    TypeText{Kind::object, "StatusInfo", "running: bool, singlestep: bool, status: RunState"},
    TypeText{Kind::enumeration, "ShutdownCause",
             "host-error host-qmp-quit host-qmp-system-reset host-signal host-ui guest-shutdown guest-reset"},
    TypeText{Kind::enumeration, "IoOperationType", "read write"},
    TypeText{Kind::enumeration, "BlockErrorAction", "ignore report stop"},
};

} // namespace

std::span<const TypeText> protocol_types() { return types; }

} // namespace calque::qmp
