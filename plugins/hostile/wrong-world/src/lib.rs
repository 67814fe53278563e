//! A sound component that is no plugin: it exports `tidegate:hostile/elsewhere`.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only a component uses it"))]

#[allow(missing_docs, unsafe_code, unreachable_pub)]
mod bindings {
    tidegate_sdk::wit_bindgen::generate!({
        inline: "package tidegate:hostile; interface elsewhere { greet: func() -> string; } world wrong { export elsewhere; }",
        runtime_path: "::tidegate_sdk::wit_bindgen::rt",
    });
}

struct Elsewhere;

impl bindings::exports::tidegate::hostile::elsewhere::Guest for Elsewhere {
    fn greet() -> String {
        "hello".to_owned()
    }
}

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code)]
const _: () = {
    bindings::export!(Elsewhere with_types_in bindings);
};
