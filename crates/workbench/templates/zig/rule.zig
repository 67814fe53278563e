//! Fahrenheit becomes Celsius; what is hotter than `above` goes to the target `alarms` as well.
const tidegate = @import("tidegate.zig");

var field: []const u8 = "temp";
var above: f64 = 50;

/// Checks the `config` table of the plugin: what is wrong with it is said by `tidegate.refuse`.
pub fn configure(config: []const u8) void {
    var members = tidegate.json.members(config);
    while (members.next()) |member| {
        if (tidegate.same(member.name, "field") and member.value == .text) {
            field = tidegate.keep(member.value.text);
        } else if (tidegate.same(member.name, "above") and member.value == .number) {
            above = member.value.number;
        } else {
            tidegate.refuse(member.name, "unknown key, or not of its kind; there are `field`, a text, and `above`, a number");
        }
    }
}

/// From a message to a decision: `.pass`, `.{ .drop = why }`, `.{ .reject = why }`, `.{ .retry = why }`, or outputs and `.forward`.
pub fn decide(message: tidegate.Message) tidegate.Decision {
    const reading = tidegate.json.find(message.payload, field) orelse return .{ .drop = "no such field" };
    if (reading.value != .number) return .{ .drop = "no such field" };
    const celsius = @floor((reading.value.number - 32) * 50 / 9 + 0.5) / 10;
    const number = tidegate.number(celsius);
    _ = tidegate.onward().payload(tidegate.json.replace(message.payload, reading, number));
    if (celsius > above) {
        const alarm = tidegate.target("alarms").topic(tidegate.format("alarm/{s}", .{message.topic})).payload(number);
        _ = alarm.userProperty("above", tidegate.number(above));
    }
    return .forward;
}

comptime {
    tidegate.plugin(@This());
}
