#include "frontend/qmp/events.h"

#include "frontend/qmp/commands.h"
#include "frontend/qmp/names.h"

#include <array>

namespace calque::qmp {

namespace {

namespace event = machine::event;

constexpr std::array events{
    MessageText{"SHUTDOWN", "guest: bool, reason: ShutdownCause", ""},
    MessageText{"POWERDOWN", "", ""},
    MessageText{"RESET", "guest: bool, reason: ShutdownCause", ""},
    MessageText{"STOP", "", ""},
    MessageText{"RESUME", "", ""},
    MessageText{"RTC_CHANGE", "offset: int, qom-path: str", ""},
    MessageText{"BLOCK_IO_ERROR",
                "device: str, node-name?: str, operation: IoOperationType, action: BlockErrorAction, nospace?: bool, "
                "reason: str",
                ""},
    MessageText{"DEVICE_TRAY_MOVED", "device: str, id: str, tray-open: bool", ""},
    MessageText{"BALLOON_CHANGE", "actual: int", ""},
    MessageText{"MIGRATION", "status: MigrationStatus", ""},
    MessageText{"DEVICE_DELETED", "device?: str, path: str", ""},
    MessageText{"JOB_STATUS_CHANGE", "id: str, status: JobStatus", ""},
    MessageText{"VNC_CONNECTED", "server: VncServerInfo, client: VncBasicInfo", ""},
    MessageText{"VNC_INITIALIZED", "server: VncServerInfo, client: VncClientInfo", ""},
    MessageText{"VNC_DISCONNECTED", "server: VncServerInfo, client: VncClientInfo", ""},
};

struct Describe {
    EventMessage operator()(const event::Stopped&) const { return {"STOP", {}}; }
    EventMessage operator()(const event::Resumed&) const { return {"RESUME", {}}; }
    EventMessage operator()(const event::PowerButton&) const { return {"POWERDOWN", {}}; }
    EventMessage operator()(const event::Shutdown& e) const {
        return {"SHUTDOWN", Object{{"guest", by_guest(e.cause)}, {"reason", shutdown_name(e.cause)}}};
    }
    EventMessage operator()(const event::Reset& e) const {
        return {"RESET", Object{{"guest", by_guest(e.cause)}, {"reason", reset_name(e.cause)}}};
    }
    EventMessage operator()(const event::ClockSet& e) const {
        return {"RTC_CHANGE", Object{{"offset", e.offset}, {"qom-path", "/machine/rtc"}}};
    }
    EventMessage operator()(const event::DiskError& e) const {
        return {"BLOCK_IO_ERROR", Object{{"device", e.disk},
                                         {"node-name", e.disk},
                                         {"operation", e.write ? "write" : "read"},
                                         {"action", e.action},
                                         {"nospace", e.no_space},
                                         {"reason", e.reason}}};
    }
    EventMessage operator()(const event::TrayMoved& e) const {
        return {"DEVICE_TRAY_MOVED", Object{{"device", e.disk}, {"id", e.disk}, {"tray-open", e.open}}};
    }
    EventMessage operator()(const event::BalloonChanged& e) const {
        return {"BALLOON_CHANGE", Object{{"actual", e.actual}}};
    }
    EventMessage operator()(const event::MigrationChanged& e) const {
        return {"MIGRATION", Object{{"status", e.status}}};
    }
    EventMessage operator()(const event::DeviceDeleted& e) const {
        Object data{{"path", e.path}};
        if (!e.id.empty()) data.add("device", e.id);
        return {"DEVICE_DELETED", std::move(data)};
    }
    EventMessage operator()(const event::JobChanged& e) const {
        return {"JOB_STATUS_CHANGE", Object{{"id", e.id}, {"status", e.status}}};
    }
    EventMessage operator()(const event::Viewer& e) const {
        using Step = event::Viewer::Step;
        Object server = place_object(e.server);
        server.add("auth", vnc_auth_name(e.wants_password));
        return {e.step == Step::came      ? "VNC_CONNECTED"
                : e.step == Step::watches ? "VNC_INITIALIZED"
                                          : "VNC_DISCONNECTED",
                Object{{"server", server}, {"client", place_object(e.viewer)}}};
    }
};

} // namespace

EventMessage describe(const machine::Event& event) { return std::visit(Describe{}, event); }

Object place_object(const machine::NetworkPlace& place) {
    return {{"host", place.host}, {"service", std::to_string(place.port)}, {"family", "ipv4"}, {"websocket", false}};
}

std::span<const MessageText> event_texts() { return events; }

} // namespace calque::qmp
