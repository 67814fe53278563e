//! What stands between a rule and the gateway's contract (wit/gateway.wit), on top of tidegate.c, which is of the same folder.
//!
//! Whatever is made here during a call (texts, outputs) is freed when the call has ended: what is to stay is kept by `keep`.
const std = @import("std");

const Text = extern struct {
    at: ?[*]const u8,
    len: usize,

    fn of(bytes: []const u8) Text {
        return .{ .at = bytes.ptr, .len = bytes.len };
    }
    fn slice(text: Text) []const u8 {
        return if (text.at) |at| at[0..text.len] else "";
    }
    fn maybe(text: Text) ?[]const u8 {
        return if (text.at) |at| at[0..text.len] else null;
    }
};

const c = struct {
    const Message = extern struct {
        id: u64,
        received_ms: u64,
        source: Text,
        topic: Text,
        payload: Text,
        qos: u8,
        retain: bool,
        redelivered: bool,
        properties: *const anyopaque,
    };
    const Decision = extern struct { kind: u8, reason: Text };
    const Member = extern struct { name: Text, raw: Text, text: Text, number: f64, kind: c_int };
    const Output = opaque {};

    extern fn tg_allocate(len: usize) [*]u8;
    extern fn tg_number(number: f64) Text;
    extern fn tg_keep(text: Text) Text;
    extern fn tg_content_type(message: *const c.Message) Text;
    extern fn tg_response_topic(message: *const c.Message) Text;
    extern fn tg_correlation_data(message: *const c.Message) Text;
    extern fn tg_expiry(message: *const c.Message) u32;
    extern fn tg_user_property_at(message: *const c.Message, index: usize, name: *Text, value: *Text) bool;
    extern fn tg_onward() *c.Output;
    extern fn tg_target(name: [*:0]const u8) *c.Output;
    extern fn tg_topic(output: *c.Output, topic: Text) void;
    extern fn tg_payload(output: *c.Output, bytes: Text) void;
    extern fn tg_qos(output: *c.Output, level: u8) void;
    extern fn tg_retain(output: *c.Output, retained: bool) void;
    extern fn tg_set_content_type(output: *c.Output, text: Text) void;
    extern fn tg_set_response_topic(output: *c.Output, topic: Text) void;
    extern fn tg_set_correlation_data(output: *c.Output, bytes: Text) void;
    extern fn tg_set_expiry(output: *c.Output, seconds: f64) void;
    extern fn tg_user_property(output: *c.Output, name: [*:0]const u8, value: Text) void;
    extern fn tg_remove(output: *c.Output, property: [*:0]const u8) void;
    extern fn tg_key(output: *c.Output, key: Text) void;
    extern fn tg_refuse(at: Text, message: [*:0]const u8) void;
    extern fn tg_debug(line: Text) void;
    extern fn tg_info(line: Text) void;
    extern fn tg_warn(line: Text) void;
    extern fn tg_error(line: Text) void;
    extern fn tg_state_get(key: Text, value: *Text) bool;
    extern fn tg_state_set(key: Text, value: Text) void;
    extern fn tg_state_delete(key: Text) void;
    extern fn tg_state_keys(prefix: Text, keys: *[*]const Text) usize;
    extern fn tg_json_next(json: Text, member: *Member) bool;
    extern fn tg_json_find(json: Text, name: Text) Member;
    extern fn tg_json_is_valid(json: Text) bool;
    extern fn tg_json_replace(json: Text, member: Member, value: Text) Text;
    extern fn tg_json_quote(text: Text) Text;
};

// --- texts ---

/// Memory that is freed when the call has ended.
pub const allocator: std.mem.Allocator = .{ .ptr = undefined, .vtable = &.{
    .alloc = allocate,
    .resize = std.mem.Allocator.noResize,
    .remap = std.mem.Allocator.noRemap,
    .free = std.mem.Allocator.noFree,
} };

fn allocate(_: *anyopaque, len: usize, alignment: std.mem.Alignment, _: usize) ?[*]u8 {
    const made = @intFromPtr(c.tg_allocate(len + alignment.toByteUnits() - 1));
    return @ptrFromInt(alignment.forward(made));
}

pub fn same(text: []const u8, other: []const u8) bool {
    return std.mem.eql(u8, text, other);
}

/// As `std.fmt`.
pub fn format(comptime template: []const u8, values: anytype) []const u8 {
    return std.fmt.allocPrint(allocator, template, values) catch @panic("out of memory: see limits.memory");
}

/// The shortest decimal text that reads as this number; empty of NaN and infinity, which are no JSON.
pub fn number(value: f64) []const u8 {
    return c.tg_number(value).slice();
}

/// A copy that stays until the plugin ends: for `configure`, not for each message.
pub fn keep(text: []const u8) []const u8 {
    return c.tg_keep(.of(text)).slice();
}

// --- what comes in ---

pub const Message = struct {
    id: u64,
    received_ms: u64,
    source: []const u8,
    topic: []const u8,
    payload: []const u8,
    qos: u8,
    retain: bool,
    redelivered: bool,
    came: *const c.Message,

    pub fn contentType(message: Message) ?[]const u8 {
        return c.tg_content_type(message.came).maybe();
    }
    pub fn responseTopic(message: Message) ?[]const u8 {
        return c.tg_response_topic(message.came).maybe();
    }
    pub fn correlationData(message: Message) ?[]const u8 {
        return c.tg_correlation_data(message.came).maybe();
    }
    /// Seconds.
    pub fn expiry(message: Message) ?u32 {
        const seconds = c.tg_expiry(message.came);
        return if (seconds == 0) null else seconds;
    }
    /// The first user property of this name.
    pub fn userProperty(message: Message, name: []const u8) ?[]const u8 {
        var index: usize = 0;
        var found: Text = undefined;
        var value: Text = undefined;
        while (c.tg_user_property_at(message.came, index, &found, &value)) : (index += 1) {
            if (same(found.slice(), name)) return value.slice();
        }
        return null;
    }
};

// --- what goes out ---

/// An output to the route's next plugin; after the last one, to the route's targets.
pub fn onward() Output {
    return .{ .made = c.tg_onward() };
}

/// An output straight to this broker or target set, which must be granted.
pub fn target(name: [:0]const u8) Output {
    return .{ .made = c.tg_target(name) };
}

/// The message that came in, but for the changes that are said.
pub const Output = struct {
    made: *c.Output,

    pub fn topic(output: Output, text: []const u8) Output {
        c.tg_topic(output.made, .of(text));
        return output;
    }
    pub fn payload(output: Output, bytes: []const u8) Output {
        c.tg_payload(output.made, .of(bytes));
        return output;
    }
    pub fn qos(output: Output, level: u2) Output {
        c.tg_qos(output.made, level);
        return output;
    }
    pub fn retain(output: Output, retained: bool) Output {
        c.tg_retain(output.made, retained);
        return output;
    }
    pub fn contentType(output: Output, text: []const u8) Output {
        c.tg_set_content_type(output.made, .of(text));
        return output;
    }
    pub fn responseTopic(output: Output, text: []const u8) Output {
        c.tg_set_response_topic(output.made, .of(text));
        return output;
    }
    pub fn correlationData(output: Output, bytes: []const u8) Output {
        c.tg_set_correlation_data(output.made, .of(bytes));
        return output;
    }
    pub fn expiry(output: Output, seconds: u32) Output {
        c.tg_set_expiry(output.made, @floatFromInt(seconds));
        return output;
    }
    /// One more, behind those that are there.
    pub fn userProperty(output: Output, name: [:0]const u8, value: []const u8) Output {
        c.tg_user_property(output.made, name, .of(value));
        return output;
    }
    pub fn remove(output: Output, property: Property) Output {
        c.tg_remove(output.made, @tagName(property));
        return output;
    }
    /// A set of policy `balance` chooses its member by this.
    pub fn key(output: Output, text: []const u8) Output {
        c.tg_key(output.made, .of(text));
        return output;
    }
};

pub const Property = enum { every, @"content-type", @"response-topic", @"correlation-data", @"message-expiry", @"payload-is-utf8", user };

/// What becomes of a message.
pub const Decision = union(enum) {
    /// Nowhere, for this reason; counted under it, so let there be few.
    drop: []const u8,
    /// Each output that was made for this message, in that order.
    forward,
    /// Onward, unchanged.
    pass,
    /// It will never be decided: the route's `on_failure`.
    reject: []const u8,
    /// Not now: try again later.
    retry: []const u8,
};

/// An error of the configuration, for `configure`; `at` is a path into it.
pub fn refuse(at: []const u8, message: [:0]const u8) void {
    c.tg_refuse(.of(at), message);
}

/// Joins a rule to the contract: its `decide`, and `configure` and `tick` if it has them.
pub fn plugin(comptime rule: type) void {
    const calls = struct {
        fn decide(message: *const c.Message) callconv(.c) c.Decision {
            const decision: Decision = rule.decide(.{
                .id = message.id,
                .received_ms = message.received_ms,
                .source = message.source.slice(),
                .topic = message.topic.slice(),
                .payload = message.payload.slice(),
                .qos = message.qos,
                .retain = message.retain,
                .redelivered = message.redelivered,
                .came = message,
            });
            const reason = switch (decision) {
                .drop, .reject, .retry => |reason| reason,
                .forward, .pass => "",
            };
            return .{ .kind = @intFromEnum(decision), .reason = .of(reason) };
        }
        fn configure(config: Text) callconv(.c) void {
            rule.configure(config.slice());
        }
        fn tick(now_ms: u64) callconv(.c) void {
            rule.tick(now_ms);
        }
    };
    @export(&calls.decide, .{ .name = "decide" });
    if (@hasDecl(rule, "configure")) @export(&calls.configure, .{ .name = "configure" });
    if (@hasDecl(rule, "tick")) @export(&calls.tick, .{ .name = "tick" });
}

// --- the gateway ---

/// Lines in its log.
pub const log = struct {
    pub fn debug(line: []const u8) void {
        c.tg_debug(.of(line));
    }
    pub fn info(line: []const u8) void {
        c.tg_info(.of(line));
    }
    pub fn warn(line: []const u8) void {
        c.tg_warn(.of(line));
    }
    pub fn err(line: []const u8) void {
        c.tg_error(.of(line));
    }
};

/// Durable, for `world = "stateful"` and "stateful-timed". What a call writes takes effect with its decisions, or not at all.
pub const state = struct {
    pub fn get(key: []const u8) ?[]const u8 {
        var value: Text = undefined;
        return if (c.tg_state_get(.of(key), &value)) value.slice() else null;
    }
    pub fn set(key: []const u8, value: []const u8) void {
        c.tg_state_set(.of(key), .of(value));
    }
    pub fn delete(key: []const u8) void {
        c.tg_state_delete(.of(key));
    }
    /// The value as JSON of this type, or null where there is none or another.
    pub fn read(comptime Value: type, key: []const u8) ?Value {
        return std.json.parseFromSliceLeaky(Value, allocator, get(key) orelse return null, .{}) catch null;
    }
    /// Writes the value as JSON.
    pub fn write(key: []const u8, value: anytype) void {
        set(key, std.json.Stringify.valueAlloc(allocator, value, .{}) catch @panic("out of memory: see limits.memory"));
    }
    /// The keys that begin with this.
    pub fn keys(prefix: []const u8) []const []const u8 {
        var found: [*]const Text = undefined;
        const count = c.tg_state_keys(.of(prefix), &found);
        const texts = allocator.alloc([]const u8, count) catch @panic("out of memory: see limits.memory");
        for (texts, 0..) |*text, index| text.* = found[index].slice();
        return texts;
    }
};

// --- JSON ---

/// JSON read in place. For trees there is `std.json`, with `allocator`.
pub const json = struct {
    /// `huge` is a number that no f64 holds.
    pub const Value = union(enum) { null, boolean: bool, number: f64, text: []const u8, array, object, huge };
    pub const Member = struct { name: []const u8, raw: []const u8, value: Value, found: c.Member };
    pub const Members = struct {
        text: Text,
        last: c.Member,

        pub fn next(left: *Members) ?Member {
            return if (c.tg_json_next(left.text, &left.last)) told(left.last) else null;
        }
    };

    /// Those of an object; none of what is no object or no JSON.
    pub fn members(text: []const u8) Members {
        return .{ .text = .of(text), .last = std.mem.zeroes(c.Member) };
    }
    /// The member of this name, the last of several.
    pub fn find(text: []const u8, name: []const u8) ?Member {
        const found = c.tg_json_find(.of(text), .of(name));
        return if (found.kind == 0) null else told(found);
    }
    pub fn isValid(text: []const u8) bool {
        return c.tg_json_is_valid(.of(text));
    }
    /// A copy of the text in which the value of the member is this.
    pub fn replace(text: []const u8, member: Member, value: []const u8) []const u8 {
        return c.tg_json_replace(.of(text), member.found, .of(value)).slice();
    }
    /// A text as JSON has it, with its quotes.
    pub fn quote(text: []const u8) []const u8 {
        return c.tg_json_quote(.of(text)).slice();
    }

    fn told(found: c.Member) Member {
        const value: Value = switch (found.kind) {
            2 => .{ .boolean = found.number == 1 },
            3 => .{ .number = found.number },
            4 => .{ .text = found.text.slice() },
            5 => .array,
            6 => .object,
            7 => .huge,
            else => .null,
        };
        return .{ .name = found.name.slice(), .raw = found.raw.slice(), .value = value, .found = found };
    }
};
