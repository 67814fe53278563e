//! Lines in the gateway's log, under the plugin's name, rate-limited there: [`debug!`](crate::log::debug),
//! [`info!`](crate::log::info), [`warn!`](crate::log::warn) and [`error!`](crate::log::error), with the arguments of
//! `format!`.
//!
//! Log a change of state, not each message; never a payload or a secret.

pub use crate::bindings::tidegate::gateway::log::Level;

#[doc(inline)]
pub use crate::{__log_debug as debug, __log_error as error, __log_info as info, __log_warn as warn};

/// One line. Natively, where there is no gateway, it goes to standard error.
#[cfg(target_arch = "wasm32")]
pub fn line(level: Level, message: &str) {
    crate::bindings::tidegate::gateway::log::log(level, message);
}

/// One line. Natively, where there is no gateway, it goes to standard error.
#[cfg(not(target_arch = "wasm32"))]
pub fn line(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Debug, &::std::format!($($arg)*)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Info, &::std::format!($($arg)*)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Warn, &::std::format!($($arg)*)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Error, &::std::format!($($arg)*)) };
}
