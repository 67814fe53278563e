//! What becomes of mosquitto's own settings when Tidegate is the broker.

use crate::settings::{Setting, Value};

/// What becomes of a setting.
pub(super) enum Fate {
    /// Looked at elsewhere.
    Carried,
    /// Nothing is missing without it.
    NotNeeded(&'static str),
    /// Nothing can be made of it; what to do instead.
    Lost(&'static str),
}

use Fate::{Carried, Lost, NotNeeded};

const AS_IT_IS: &str = "it is so with Tidegate";
const LOGS: &str = "Tidegate logs to standard error; see --log-format and RUST_LOG";
const OF_PERSISTENCE: &str = "what is kept is written as it comes, in a folder under `data_dir`";

/// What becomes of it.
pub(super) fn fate(setting: &Setting) -> Fate {
    let is = |flag| setting.value == Value::Flag(flag);
    match setting.keyword.name {
        "acl_file"
        | "allow_anonymous"
        | "bind_address"
        | "cafile"
        | "certfile"
        | "crlfile"
        | "keyfile"
        | "max_connections"
        | "max_packet_size"
        | "max_queued_messages"
        | "password_file"
        | "persistence"
        | "persistent_client_expiration"
        | "port"
        | "protocol"
        | "queue_qos0_messages"
        | "socket_domain" => Carried,
        "require_certificate" | "use_identity_as_username" | "use_subject_as_username" if is(true) => Carried,

        "autosave_interval" | "autosave_on_changes" | "persistence_file" | "persistence_location" => {
            NotNeeded(OF_PERSISTENCE)
        }

        "connection_messages"
        | "log_dest"
        | "log_facility"
        | "log_timestamp"
        | "log_timestamp_format"
        | "log_type"
        | "websockets_log_level" => NotNeeded(LOGS),
        "pid_file" => NotNeeded("systemd knows the process, and `data_dir` is locked"),
        "user" => NotNeeded("Tidegate runs as who starts it: `User=` of its unit"),
        "set_tcp_nodelay" if is(true) => NotNeeded(AS_IT_IS),
        "set_tcp_nodelay" => NotNeeded("Tidegate writes what has gathered with one call"),
        "sys_interval" => NotNeeded("what has changed of $SYS is published every ten seconds"),
        "per_listener_settings" => NotNeeded("one broker has one file of users"),
        "check_retain_source" => NotNeeded("who publishes is asked when it publishes"),
        "websockets_headers_size" => NotNeeded("there is a limit of its own"),
        "auto_id_prefix" => NotNeeded("clients without an id get one"),
        "tls_keyform" => NotNeeded("it is about TLS"),
        "auth_plugin_deny_special_chars" => NotNeeded("it is about plugins of mosquitto"),
        "allow_duplicate_messages" => NotNeeded("with MQTT 5 subscriptions that overlap are told apart"),

        "allow_zero_length_clientid" if is(true) => NotNeeded(AS_IT_IS),
        "retain_available" if is(true) => NotNeeded(AS_IT_IS),
        "upgrade_outgoing_qos" if is(false) => NotNeeded(AS_IT_IS),
        "require_certificate" | "use_identity_as_username" | "use_subject_as_username" | "use_username_as_clientid"
            if is(false) =>
        {
            NotNeeded(AS_IT_IS)
        }
        "max_qos" if setting.value == Value::Number(2) => NotNeeded(AS_IT_IS),
        "max_queued_bytes" | "max_inflight_bytes" | "message_size_limit" | "memory_limit"
            if setting.value == Value::Number(0) =>
        {
            NotNeeded("0 is no limit")
        }

        "plugin" | "auth_opt_" | "global_plugin" | "plugin_load" | "plugin_use" => Lost(
            "plugins of mosquitto do not run here: `users` has names and passwords, routes and their plugins decide on messages",
        ),
        "ciphers" | "ciphers_tls1.3" | "dhparamfile" | "tls_version" => {
            NotNeeded("TLS 1.2 and 1.3 are spoken, with ciphers that are good today")
        }
        "capath" => Lost("name one file with those who sign certificates of clients: `tls.client_ca`"),
        "psk_file" | "psk_hint" => {
            Lost("keys that are shared before are not known: give clients certificates, or users")
        }
        "tls_engine" | "tls_engine_kpass_sha1" => Lost("keys are read from files"),
        "bind_interface" => Lost("write the address of the interface into `listen`"),
        "mount_point" => Lost(
            "topics of clients stay as they are: let them publish under their own prefix, or use `remap` in routes",
        ),
        "http_dir" => Lost("a web server serves files"),
        "clientid_prefixes" => Lost("any client id comes in, with its user and password"),
        "use_username_as_clientid" => Lost("give clients their own ids"),
        "allow_zero_length_clientid" => Lost("clients without an id are let in, with an id that is made for them"),
        "max_inflight_messages" | "max_inflight_bytes" => {
            Lost("`limits.receive_maximum` is how much one client may have unacknowledged")
        }
        "max_queued_bytes" | "max_keepalive" => Carried,
        "max_qos" => Lost("clients may use each QoS; `max_qos` of the broker behind a link lowers it there"),
        "max_topic_alias" => Lost("it cannot be set"),
        "message_size_limit" => Lost("`limits.max_packet_size` counts the whole packet"),
        "memory_limit" => Lost("`MemoryMax=` of the unit; queues have limits of their own"),
        "retain_available" => Lost("`limits.retained_max = 0` keeps none"),
        "upgrade_outgoing_qos" => Lost("messages keep their QoS; `qos` of a route raises it for what goes out"),
        _ => Lost("mosquitto 2.0 does not know it"),
    }
}
