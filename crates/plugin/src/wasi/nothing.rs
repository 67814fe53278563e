//! The rest of the empty world: nothing to find, nobody to call, and randomness.

use super::{Guest, Nothing};
use wasmtime::StoreContextMut;
use wasmtime::component::{LinkerInstance, Resource, Val};

/// Random bytes a guest may ask for at once.
const MAX_RANDOM_BYTES: u64 = 1024 * 1024;

/// Defines a function of these interfaces; false when it is none of them.
pub(super) fn define(at: &mut LinkerInstance<'_, Guest>, interface: &str, item: &str) -> wasmtime::Result<bool> {
    match interface {
        "wasi:cli/environment" | "wasi:cli/exit" => cli(at, item),
        "wasi:cli/terminal-stdin" | "wasi:cli/terminal-stdout" | "wasi:cli/terminal-stderr" => {
            at.func_wrap(item, |_, ()| Ok((None::<Resource<Nothing>>,)))?;
            Ok(true)
        }
        "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => random(at, item),
        "wasi:filesystem/preopens" | "wasi:filesystem/types" => filesystem(at, item),
        "wasi:sockets/instance-network"
        | "wasi:sockets/tcp-create-socket"
        | "wasi:sockets/udp-create-socket"
        | "wasi:sockets/ip-name-lookup" => sockets(at, item),
        _ => Ok(false),
    }
}

fn cli(at: &mut LinkerInstance<'_, Guest>, item: &str) -> wasmtime::Result<bool> {
    match item {
        "get-environment" => at.func_wrap(item, |_, ()| Ok((Vec::<(String, String)>::new(),)))?,
        "get-arguments" => at.func_wrap(item, |_, ()| Ok((Vec::<String>::new(),)))?,
        "initial-cwd" => at.func_wrap(item, |_, ()| Ok((None::<String>,)))?,
        "exit" => at.func_wrap(item, |_, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
            Err(wasmtime::format_err!("it exited with {}", if status.is_ok() { "success" } else { "failure" }))
        })?,
        "exit-with-code" => at.func_wrap(item, |_, (code,): (u8,)| -> wasmtime::Result<()> {
            Err(wasmtime::format_err!("it exited with code {code}"))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn random(at: &mut LinkerInstance<'_, Guest>, item: &str) -> wasmtime::Result<bool> {
    match item {
        "get-random-bytes" | "get-insecure-random-bytes" => at.func_wrap(item, |mut cx, (len,): (u64,)| {
            wasmtime::ensure!(len <= MAX_RANDOM_BYTES, "more than {MAX_RANDOM_BYTES} random bytes at once");
            let mut bytes = vec![0; len as usize];
            cx.data_mut().wasi.fill_random(&mut bytes)?;
            Ok((bytes,))
        })?,
        "get-random-u64" | "get-insecure-random-u64" => {
            at.func_wrap(item, |mut cx, ()| Ok((cx.data_mut().wasi.random_u64()?,)))?
        }
        "insecure-seed" => at.func_wrap(item, |mut cx, ()| {
            let wasi = &mut cx.data_mut().wasi;
            Ok(((wasi.random_u64()?, wasi.random_u64()?),))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn filesystem(at: &mut LinkerInstance<'_, Guest>, item: &str) -> wasmtime::Result<bool> {
    match item {
        "get-directories" => at.func_wrap(item, |_, ()| Ok((Vec::<(Resource<Nothing>, String)>::new(),)))?,
        // No error of ours came from a file.
        "filesystem-error-code" => {
            at.func_new_async(item, |cx, _, params, results| Box::new(answer(cx, params, results, Val::Option(None))))?
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// There is a network in name only: making a socket or asking for an address is denied.
fn sockets(at: &mut LinkerInstance<'_, Guest>, item: &str) -> wasmtime::Result<bool> {
    match item {
        "instance-network" => at.func_wrap(item, |_, ()| Ok((Resource::<Nothing>::new_own(0),)))?,
        "create-tcp-socket" | "create-udp-socket" | "resolve-addresses" => {
            at.func_new_async(item, |cx, _, params, results| {
                let denied = Val::Enum("access-denied".into());
                Box::new(answer(cx, params, results, Val::Result(Err(Some(Box::new(denied))))))
            })?
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Answers a call whose types are long to write down, giving back what it lent us.
async fn answer(
    mut cx: StoreContextMut<'_, Guest>,
    params: &[Val],
    results: &mut [Val],
    with: Val,
) -> wasmtime::Result<()> {
    for param in params {
        if let Val::Resource(lent) = param {
            lent.resource_drop_async(&mut cx).await?;
        }
    }
    results.fill(with);
    Ok(())
}
