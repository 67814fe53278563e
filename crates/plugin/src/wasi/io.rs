//! `wasi:io` and the clocks: the part of the empty world that does something.

use super::{Guest, print};
use std::time::{Duration, Instant};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource};

/// When something is ready.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pollable {
    /// Streams are: they are closed, or take everything.
    Ready,
    At(Instant),
    /// Later than any clock can say.
    Never,
}

pub(super) struct InputStream;
pub(super) struct OutputStream;
pub(super) struct IoError;

const STDIN: u32 = 0;
const STDOUT: u32 = 0;
const STDERR: u32 = 1;
/// What a guest is told it may write at once.
const WRITE_BYTES: u64 = 64 * 1024;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
#[allow(dead_code)] // nothing ever fails in a way that has an error to show
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

type Cx<'a> = StoreContextMut<'a, Guest>;
type Streamed<T> = wasmtime::Result<(Result<T, StreamError>,)>;

/// Defines a function of these interfaces; false when it is none of them.
pub(super) fn define(at: &mut LinkerInstance<'_, Guest>, interface: &str, item: &str) -> wasmtime::Result<bool> {
    match interface {
        "wasi:io/poll" => poll(at, item),
        "wasi:io/streams" => Ok(input(at, item)? || output(at, item)?),
        "wasi:io/error" if item == "[method]error.to-debug-string" => {
            at.func_wrap(item, |_, (_,): (Resource<IoError>,)| Ok((String::from("closed"),)))?;
            Ok(true)
        }
        "wasi:cli/stdin" | "wasi:cli/stdout" | "wasi:cli/stderr" => stdio(at, item),
        "wasi:clocks/monotonic-clock" => monotonic(at, item),
        "wasi:clocks/wall-clock" => wall(at, item),
        _ => Ok(false),
    }
}

fn stdio(at: &mut LinkerInstance<'_, Guest>, item: &str) -> wasmtime::Result<bool> {
    match item {
        "get-stdin" => at.func_wrap(item, |_, ()| Ok((Resource::<InputStream>::new_own(STDIN),)))?,
        "get-stdout" => at.func_wrap(item, |_, ()| Ok((Resource::<OutputStream>::new_own(STDOUT),)))?,
        "get-stderr" => at.func_wrap(item, |_, ()| Ok((Resource::<OutputStream>::new_own(STDERR),)))?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn monotonic(at: &mut LinkerInstance<'_, Guest>, item: &str) -> wasmtime::Result<bool> {
    match item {
        "now" => at.func_wrap(item, |cx, ()| Ok((nanoseconds(cx.data().wasi.monotonic()),)))?,
        "resolution" => at.func_wrap(item, |_, ()| Ok((1u64,)))?,
        "subscribe-duration" => at.func_wrap(item, |mut cx, (wait,): (u64,)| {
            let at = Instant::now().checked_add(Duration::from_nanos(wait));
            subscribe(&mut cx, at.map_or(Pollable::Never, Pollable::At))
        })?,
        "subscribe-instant" => at.func_wrap(item, |mut cx, (when,): (u64,)| {
            let at = cx.data().wasi.start.checked_add(Duration::from_nanos(when));
            subscribe(&mut cx, at.map_or(Pollable::Never, Pollable::At))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn wall(at: &mut LinkerInstance<'_, Guest>, item: &str) -> wasmtime::Result<bool> {
    match item {
        "now" => at.func_wrap(item, |cx, ()| {
            let now = cx.data().wasi.wall();
            Ok((Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() },))
        })?,
        "resolution" => at.func_wrap(item, |_, ()| Ok((Datetime { seconds: 0, nanoseconds: 1 },)))?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn poll(at: &mut LinkerInstance<'_, Guest>, item: &str) -> wasmtime::Result<bool> {
    match item {
        "poll" => at.func_wrap_async(item, |mut cx, (list,): (Vec<Resource<Pollable>>,)| {
            Box::new(async move {
                let pollables = list.iter().map(|one| cx.data().wasi.pollables.get(one).copied());
                let pollables: Vec<Pollable> = pollables.collect::<Result<_, _>>()?;
                wasmtime::ensure!(!pollables.is_empty(), "poll of nothing never ends");
                Ok((wait(cx.data_mut(), &pollables).await?,))
            })
        })?,
        "[method]pollable.block" => at.func_wrap_async(item, |mut cx, (one,): (Resource<Pollable>,)| {
            Box::new(async move {
                let pollable = *cx.data().wasi.pollables.get(&one)?;
                wait(cx.data_mut(), &[pollable]).await.map(drop)
            })
        })?,
        "[method]pollable.ready" => at.func_wrap(item, |cx, (one,): (Resource<Pollable>,)| {
            Ok((is_ready(cx.data().wasi.pollables.get(&one)?, Instant::now()),))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Sleeps until one is ready, but not past the deadline of the call; says which are.
async fn wait(guest: &mut Guest, pollables: &[Pollable]) -> wasmtime::Result<Vec<u32>> {
    loop {
        let now = Instant::now();
        let ready: Vec<u32> =
            (0..).zip(pollables).filter(|(_, pollable)| is_ready(pollable, now)).map(|(n, _)| n).collect();
        if !ready.is_empty() {
            return Ok(ready);
        }
        let times = pollables.iter().filter_map(|pollable| match pollable {
            Pollable::At(at) => Some(at.duration_since(now)),
            Pollable::Ready | Pollable::Never => None,
        });
        guest.sleep(times.min()).await?;
    }
}

fn is_ready(pollable: &Pollable, now: Instant) -> bool {
    match pollable {
        Pollable::Ready => true,
        Pollable::At(at) => *at <= now,
        Pollable::Never => false,
    }
}

fn subscribe(cx: &mut Cx<'_>, pollable: Pollable) -> wasmtime::Result<(Resource<Pollable>,)> {
    Ok((cx.data_mut().wasi.pollables.push(pollable)?,))
}

pub(super) fn drop_pollable(mut cx: Cx<'_>, rep: u32) -> wasmtime::Result<()> {
    cx.data_mut().wasi.pollables.delete(Resource::<Pollable>::new_own(rep))?;
    Ok(())
}

fn input(at: &mut LinkerInstance<'_, Guest>, item: &str) -> wasmtime::Result<bool> {
    type Read = (Resource<InputStream>, u64);
    match item {
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            at.func_wrap(item, |_, (_, _): Read| -> Streamed<Vec<u8>> { Ok((Err(StreamError::Closed),)) })?;
        }
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => {
            at.func_wrap(item, |_, (_, _): Read| -> Streamed<u64> { Ok((Err(StreamError::Closed),)) })?;
        }
        "[method]input-stream.subscribe" => {
            at.func_wrap(item, |mut cx, (_,): (Resource<InputStream>,)| subscribe(&mut cx, Pollable::Ready))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn output(at: &mut LinkerInstance<'_, Guest>, item: &str) -> wasmtime::Result<bool> {
    type Stream = Resource<OutputStream>;
    match item {
        "[method]output-stream.check-write" => {
            at.func_wrap(item, |_, (_,): (Stream,)| -> Streamed<u64> { Ok((Ok(WRITE_BYTES),)) })?;
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            at.func_wrap(item, |mut cx, (stream, bytes): (Stream, Vec<u8>)| -> Streamed<()> {
                print(cx.data_mut(), usize::from(stream.rep() == STDERR), &bytes);
                Ok((Ok(()),))
            })?;
        }
        "[method]output-stream.write-zeroes" | "[method]output-stream.blocking-write-zeroes-and-flush" => {
            at.func_wrap(item, |_, (_, _): (Stream, u64)| -> Streamed<()> { Ok((Ok(()),)) })?;
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            at.func_wrap(item, |_, (_,): (Stream,)| -> Streamed<()> { Ok((Ok(()),)) })?;
        }
        "[method]output-stream.splice" | "[method]output-stream.blocking-splice" => {
            at.func_wrap(item, |_, (_, _, _): (Stream, Resource<InputStream>, u64)| -> Streamed<u64> {
                Ok((Err(StreamError::Closed),))
            })?;
        }
        "[method]output-stream.subscribe" => {
            at.func_wrap(item, |mut cx, (_,): (Stream,)| subscribe(&mut cx, Pollable::Ready))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
