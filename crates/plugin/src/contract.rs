//! The Rust side of the contract in each version that is served, generated from it so that the two cannot drift apart.
//!
//! The largest world is bound; [`Plugin::new`](crate::Plugin::new) says which parts of it a component must have.
//! Arguments are lowered from borrowed slices, so a payload is copied once: into the guest.

/// Contract 1, `wit/gateway.wit`.
pub(crate) mod v1 {
    wasmtime::component::bindgen!({
        path: "../../wit/gateway.wit",
        world: "complete",
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: { default: trappable },
        exports: { default: async },
    });
}

/// What 1.1 adds, `wit/migration/migration.wit`.
pub(crate) mod migration {
    wasmtime::component::bindgen!({
        path: "../../wit/migration",
        inline: "package tidegate:host; world only-migration { export tidegate:gateway/migration@1.1.0; }",
        world: "tidegate:host/only-migration",
        exports: { default: async },
    });
}

/// What is served of `wasi:messaging`.
pub(crate) mod messaging {
    wasmtime::component::bindgen!({
        path: "wit/wasi-messaging/messaging.wit",
        world: "messaging-core",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasi:messaging/types.client": crate::messaging::Client,
            "wasi:messaging/types.message": crate::messaging::Letter,
        },
    });
}

/// Contract 0.1, as it was before 1.0 was frozen: what was built for it goes on running.
pub(crate) mod v0 {
    wasmtime::component::bindgen!({
        path: "wit/0.1/gateway.wit",
        world: "complete",
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: { default: trappable },
        exports: { default: async },
    });
}
