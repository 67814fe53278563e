//! What `wit_bindgen` writes from `wit/gateway.wit`: the types, and how they cross the boundary.
//!
//! The only `unsafe` code in a plugin is what these macros generate; it lifts and lowers values as the canonical ABI
//! prescribes. A component imports only what its code uses, so the one world below serves plugins with and without
//! state: one that never touches `state` does not import it, and is a plain `plugin` to the gateway. The timer is an
//! export, which a component has or has not; so it is bound on its own, and the linker joins the two. So is the packed call.
#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "stateful",
    pub_export_macro: true,
    export_macro_name: "export_handler",
    runtime_path: "::tidegate_sdk::wit_bindgen::rt",
    generate_all,
    additional_derives: [PartialEq],
});

/// The timer alone.
pub mod timed {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidegate:sdk; world only-timer { export tidegate:gateway/timer@1.0.0; }",
        pub_export_macro: true,
        export_macro_name: "export_timer",
        runtime_path: "::tidegate_sdk::wit_bindgen::rt",
        with: { "tidegate:gateway/types@1.0.0": crate::bindings::tidegate::gateway::types },
    });
}

/// The migration alone.
pub mod migrating {
    wit_bindgen::generate!({
        path: "../../wit/migration",
        inline: "package tidegate:sdk; world only-migration { export tidegate:gateway/migration@1.1.0; }",
        world: "tidegate:sdk/only-migration",
        pub_export_macro: true,
        export_macro_name: "export_migration",
        runtime_path: "::tidegate_sdk::wit_bindgen::rt",
    });
}

/// The packed call alone.
pub mod packed {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidegate:sdk; world only-packed { export tidegate:gateway/packed@1.0.0; }",
        pub_export_macro: true,
        export_macro_name: "export_packed",
        runtime_path: "::tidegate_sdk::wit_bindgen::rt",
    });
}
