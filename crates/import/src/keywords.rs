//! Every keyword of mosquitto.conf, as mosquitto 2.0.11 to 2.0.20 read it (`src/conf.c`); those of 2.1 are known as such.

/// A keyword.
#[derive(Debug)]
pub struct Keyword {
    /// The newer one of two names for the same.
    pub name: &'static str,
    pub(crate) scope: Scope,
    pub(crate) kind: Kind,
}

/// What a keyword is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The whole broker.
    General,
    /// The listener above it, if `per_listener_settings` is true; otherwise the whole broker.
    Security,
    /// The listener above it; the default one if there is none.
    Listener,
    /// The default listener, wherever it stands.
    DefaultListener,
    /// The bridge above it.
    Bridge,
}

/// How its value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The rest of the line without white space around it. Twice is an error.
    Text,
    /// As a text, but secret: no message repeats it.
    Secret,
    /// As a text; of several the last counts.
    LastText,
    /// The first word: `true`, `1`, `false` or `0`.
    Flag,
    /// What the first word begins with. Outside of the bounds it is an error.
    Number(i32, i32),
    /// The same, but what is less counts as the least.
    AtLeast(i32, i32),
    /// The first word, one of these.
    Word(&'static [&'static str]),
    /// The rest of the line to the last blank, one of these.
    Rest(&'static [&'static str]),
    /// `restart_timeout`.
    Waits,
    /// Read and forgotten.
    Ignored,
    /// Not known before mosquitto 2.1.
    Newer,
}

use Kind::{AtLeast, Flag, Ignored, LastText, Newer, Number, Rest, Secret, Text, Waits, Word};
use Scope::{Bridge, DefaultListener, General, Listener, Security};

const INT: i32 = i32::MAX;
const U16: i32 = 65_535;

const fn keyword(name: &'static str, scope: Scope, kind: Kind) -> Keyword {
    Keyword { name, scope, kind }
}

/// Beside these there are `address`, `connection`, `include_dir`, `listener`, `topic`, and options of plugins.
static KEYWORDS: &[Keyword] = &[
    keyword("acl_file", Security, Text),
    keyword("allow_anonymous", Security, Flag),
    keyword("allow_duplicate_messages", General, Flag),
    keyword("allow_zero_length_clientid", Security, Flag),
    keyword("auth_plugin_deny_special_chars", Security, Flag),
    keyword("auto_id_prefix", Security, Text),
    keyword("autosave_interval", General, AtLeast(0, INT)),
    keyword("autosave_on_changes", General, Flag),
    keyword("bind_address", DefaultListener, Text),
    keyword("bind_interface", Listener, Text),
    keyword("bridge_alpn", Bridge, Text),
    keyword("bridge_attempt_unsubscribe", Bridge, Flag),
    keyword("bridge_bind_address", Bridge, Text),
    keyword("bridge_cafile", Bridge, Text),
    keyword("bridge_capath", Bridge, Text),
    keyword("bridge_certfile", Bridge, Text),
    keyword("bridge_identity", Bridge, Text),
    keyword("bridge_insecure", Bridge, Flag),
    keyword("bridge_keyfile", Bridge, Text),
    keyword("bridge_max_packet_size", Bridge, AtLeast(0, INT)),
    keyword("bridge_outgoing_retain", Bridge, Flag),
    keyword("bridge_protocol_version", Bridge, Rest(&["mqttv31", "mqttv311", "mqttv50"])),
    keyword("bridge_psk", Bridge, Secret),
    keyword("bridge_require_ocsp", Bridge, Flag),
    keyword("bridge_tls_version", Bridge, Text),
    keyword("cafile", Listener, Text),
    keyword("capath", Listener, Text),
    keyword("certfile", Listener, Text),
    keyword("check_retain_source", General, Flag),
    keyword("ciphers", Listener, Text),
    keyword("ciphers_tls1.3", Listener, Text),
    keyword("cleansession", Bridge, Flag),
    keyword("clientid_prefixes", General, Text),
    keyword("connection_messages", General, Flag),
    keyword("crlfile", Listener, Text),
    keyword("dhparamfile", Listener, Text),
    keyword("http_dir", Listener, Text),
    keyword("idle_timeout", Bridge, AtLeast(1, INT)),
    keyword("keepalive_interval", Bridge, AtLeast(5, U16)),
    keyword("keyfile", Listener, Text),
    keyword("local_cleansession", Bridge, Flag),
    keyword("local_clientid", Bridge, Text),
    keyword("local_password", Bridge, Secret),
    keyword("local_username", Bridge, Text),
    keyword("log_dest", General, Word(&["none", "syslog", "stdout", "stderr", "topic", "dlt", "file"])),
    keyword("log_facility", General, Number(0, 7)),
    keyword("log_timestamp", General, Flag),
    keyword("log_timestamp_format", General, Text),
    keyword(
        "log_type",
        General,
        Word(&[
            "none",
            "information",
            "notice",
            "warning",
            "error",
            "debug",
            "subscribe",
            "unsubscribe",
            "internal",
            "websockets",
            "all",
        ]),
    ),
    keyword("max_connections", Listener, AtLeast(-1, INT)),
    keyword("max_inflight_bytes", General, AtLeast(0, INT)),
    keyword("max_inflight_messages", General, AtLeast(0, U16)),
    keyword("max_keepalive", General, Number(0, U16)),
    keyword("max_packet_size", General, Number(20, INT)),
    keyword("max_qos", Listener, Number(0, 2)),
    keyword("max_queued_bytes", General, AtLeast(0, INT)),
    keyword("max_queued_messages", General, AtLeast(0, INT)),
    keyword("max_topic_alias", Listener, Number(0, U16)),
    keyword("memory_limit", General, Number(0, INT)),
    keyword("message_size_limit", General, Number(0, 268_435_455)),
    keyword("mount_point", Listener, Text),
    keyword("notification_topic", Bridge, Text),
    keyword("notifications", Bridge, Flag),
    keyword("notifications_local_only", Bridge, Flag),
    keyword("password_file", Security, Text),
    keyword("per_listener_settings", General, Flag),
    keyword("persistence", General, Flag),
    keyword("persistence_file", General, Text),
    keyword("persistence_location", General, Text),
    keyword("persistent_client_expiration", General, LastText),
    keyword("pid_file", General, Text),
    keyword("plugin", Security, LastText),
    keyword("port", DefaultListener, Number(1, U16)),
    keyword("protocol", Listener, Word(&["mqtt", "websockets"])),
    keyword("psk_file", Security, Text),
    keyword("psk_hint", Listener, Text),
    keyword("queue_qos0_messages", General, Flag),
    keyword("remote_clientid", Bridge, Text),
    keyword("remote_password", Bridge, Secret),
    keyword("remote_username", Bridge, Text),
    keyword("require_certificate", Listener, Flag),
    keyword("restart_timeout", Bridge, Waits),
    keyword("retain_available", General, Flag),
    keyword("retry_interval", General, Ignored),
    keyword("round_robin", Bridge, Flag),
    keyword("set_tcp_nodelay", General, Flag),
    keyword("socket_domain", Listener, Word(&["ipv4", "ipv6"])),
    keyword("start_type", Bridge, Word(&["automatic", "lazy", "once"])),
    keyword("sys_interval", General, Number(0, U16)),
    keyword("threshold", Bridge, AtLeast(1, INT)),
    keyword("tls_engine", Listener, Text),
    keyword("tls_engine_kpass_sha1", Listener, Secret),
    keyword("tls_keyform", Listener, LastText),
    keyword("tls_version", Listener, Text),
    keyword("try_private", Bridge, Flag),
    keyword("upgrade_outgoing_qos", General, Flag),
    keyword("use_identity_as_username", Listener, Flag),
    keyword("use_subject_as_username", Listener, Flag),
    keyword("use_username_as_clientid", Listener, Flag),
    keyword("user", General, Text),
    keyword("websockets_headers_size", General, Number(0, U16)),
    keyword("websockets_log_level", General, AtLeast(i32::MIN, INT)),
    // Of mosquitto 2.1.
    keyword("accept_protocol_versions", Listener, Newer),
    keyword("bridge_ciphers", Bridge, Newer),
    keyword("bridge_ciphers_tls1.3", Bridge, Newer),
    keyword("bridge_max_topic_alias", Bridge, Newer),
    keyword("bridge_receive_maximum", Bridge, Newer),
    keyword("bridge_reload_type", Bridge, Newer),
    keyword("bridge_session_expiry_interval", Bridge, Newer),
    keyword("bridge_tcp_keepalive", Bridge, Newer),
    keyword("bridge_tcp_user_timeout", Bridge, Newer),
    keyword("bridge_tls_use_os_certs", Bridge, Newer),
    keyword("disable_client_cert_date_checks", Listener, Newer),
    keyword("enable_control_api", General, Newer),
    keyword("enable_proxy_protocol", Listener, Newer),
    keyword("global_max_clients", General, Newer),
    keyword("global_max_connections", General, Newer),
    keyword("global_plugin", General, Newer),
    keyword("http_api", General, Newer),
    keyword("listener_allow_anonymous", Listener, Newer),
    keyword("listener_auto_id_prefix", Listener, Newer),
    keyword("max_topic_alias_broker", Listener, Newer),
    keyword("packet_buffer_size", General, Newer),
    keyword("plugin_load", General, Newer),
    keyword("plugin_use", General, Newer),
    keyword("proxy_protocol_v2_require_tls", Listener, Newer),
    keyword("websockets_origin", Listener, Newer),
    keyword(PLUGIN_CONFIG_FILE, Security, LastText),
    // Options of a plugin: what stands behind `auth_opt_` is the plugin's own.
    keyword(PLUGIN_OPTION, Security, Secret),
];

/// Stands for `auth_opt_NAME` and `plugin_opt_NAME`.
pub(crate) const PLUGIN_OPTION: &str = "auth_opt_";

/// The file of the dynamic-security plugin, among others.
pub(crate) const PLUGIN_CONFIG_FILE: &str = "plugin_opt_config_file";

/// Old names.
const OLD: [(&str, &str); 7] = [
    ("clientid", "remote_clientid"),
    ("username", "remote_username"),
    ("password", "remote_password"),
    ("retained_persistence", "persistence"),
    ("maximum_qos", "max_qos"),
    ("auth_plugin", "plugin"),
    ("auth_opt_config_file", PLUGIN_CONFIG_FILE),
];

/// The keyword of this name; case matters.
pub(crate) fn find(name: &str) -> Option<&'static Keyword> {
    let name = OLD.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new);
    let name = if is_plugin_option(name) && name != PLUGIN_CONFIG_FILE { PLUGIN_OPTION } else { name };
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}

fn is_plugin_option(name: &str) -> bool {
    name.starts_with("auth_opt_") || name.starts_with("plugin_opt_")
}

impl Keyword {
    /// Whether its value may be a secret.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }

    /// Whether mosquitto 2.0 does not know it.
    pub(crate) fn is_newer(&self) -> bool {
        matches!(self.kind, Kind::Newer)
    }
}
