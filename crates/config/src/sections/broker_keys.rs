//! Which keys of a broker say which kind it is.

/// Keys that only a link knows.
pub(super) const LINK_KEYS: [&str; 20] = [
    "preset",
    "url",
    "version",
    "client_id",
    "username",
    "password",
    "keep_alive",
    "receive_maximum",
    "max_packet_size",
    "session_expiry",
    "reconnect",
    "connect_timeout",
    "bridge",
    "topic_alias_max",
    "will",
    "birth",
    "farewell",
    "probe",
    "max_qos",
    "headers",
];
/// Of these, what only MQTT has.
pub(super) const MQTT_KEYS: [&str; 13] = [
    "preset",
    "version",
    "keep_alive",
    "max_packet_size",
    "session_expiry",
    "bridge",
    "topic_alias_max",
    "will",
    "birth",
    "farewell",
    "probe",
    "max_qos",
    "headers",
];
/// Keys that only a NATS JetStream knows.
pub(super) const NATS_KEYS: [&str; 4] = ["servers", "stream", "subjects", "replicas"];
/// Keys that only the box's own broker knows.
pub(super) const EMBEDDED_KEYS: [&str; 7] =
    ["listen", "users", "limits", "persistence", "acl_file", "groups", "access"];
