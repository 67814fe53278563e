//! The Rust side of `wit/gateway.wit`, generated from it so that the two cannot drift apart.
//!
//! The largest world is bound; [`Plugin::new`](crate::Plugin::new) says which parts of it a component must have.
//! Arguments are lowered from borrowed slices, so a payload is copied once: into the guest.

wasmtime::component::bindgen!({
    path: "../../wit/gateway.wit",
    world: "complete",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { default: trappable },
    exports: { default: async },
});
