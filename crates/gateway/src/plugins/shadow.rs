//! A candidate that decides every message, and nothing becomes of that: on a thread of its own, behind a queue with a bound.
//!
//! The plugin that runs shows what it has decided; it never waits. What finds the queue full is counted, and not seen.

use super::stage::record_all;
use crate::trial::{Copied, Place, Tried};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use tidegate_plugin::{Admission, Circuit, Input, Instance, Outcome, Output, run_here};

/// So many batches wait, and so many bytes of messages.
const BATCHES_MAX: usize = 256;
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Its thread gives way to all others (setpriority(2)).
const NICE: i32 = 15;

/// Where the instances of a candidate decide, of all routes that its plugin is in.
#[derive(Debug)]
pub(crate) struct Room {
    tried: Arc<Tried>,
    work: Sender<Work>,
    waiting: Arc<Waiting>,
    seats: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: AtomicUsize,
    bytes: AtomicUsize,
}

#[derive(Debug)]
enum Work {
    Begin { seat: u64, it: Box<Seat> },
    Decide { seat: u64, inputs: Vec<Copied>, ran: Vec<Outcome>, bytes: usize },
    Tick { seat: u64, now_ms: u64, ran: Vec<Output> },
    End(u64),
}

/// One instance, beside one of the plugin that runs.
#[derive(Debug)]
struct Seat {
    route: Arc<str>,
    source: Arc<str>,
    targets: Arc<[Arc<str>]>,
    instance: Instance,
    circuit: Circuit,
}

/// What a stage has of its shadow; dropped, that ends.
#[derive(Debug)]
pub(crate) struct Shadow {
    room: Arc<Room>,
    seat: u64,
}

impl Room {
    /// Starts the thread. It ends when the last shadow has gone, and this.
    pub(super) fn open(tried: Arc<Tried>) -> std::io::Result<Self> {
        let (work, todo) = channel();
        let waiting = Arc::<Waiting>::default();
        let (theirs, of) = (tried.clone(), waiting.clone());
        // Not joined: a guest that is to be cut at its deadline may outlive the gateway's drain.
        std::thread::Builder::new().name(format!("shadow-{}", tried.plugin)).spawn(move || run(&todo, &theirs, &of))?;
        Ok(Self { tried, work, waiting, seats: AtomicU64::new(0) })
    }

    /// Takes an instance in.
    pub(super) fn seat(
        self: &Arc<Self>,
        route: Arc<str>,
        source: Arc<str>,
        targets: Arc<[Arc<str>]>,
        instance: Instance,
    ) -> Shadow {
        let seat = self.seats.fetch_add(1, Relaxed);
        let it = Box::new(Seat { route, source, targets, instance, circuit: Circuit::default() });
        let _ = self.work.send(Work::Begin { seat, it });
        Shadow { room: self.clone(), seat }
    }
}

impl Shadow {
    /// The plugin that runs has decided these.
    pub(super) fn show(&self, inputs: &[Input<'_>], ran: &[Outcome]) {
        let Waiting { batches, bytes } = &*self.room.waiting;
        let weight: usize = inputs.iter().map(|input| input.message.weight_bytes()).sum();
        if batches.load(Relaxed) >= BATCHES_MAX || bytes.load(Relaxed) + weight > BYTES_MAX {
            return self.room.tried.missed.add(inputs.len() as u64);
        }
        batches.fetch_add(1, Relaxed);
        bytes.fetch_add(weight, Relaxed);
        let copied = inputs.iter().map(|input| Copied {
            id: input.id,
            message: input.message.clone(),
            received_ms: input.received_ms,
            redelivered: input.redelivered,
        });
        let (seat, inputs) = (self.seat, copied.collect());
        let _ = self.room.work.send(Work::Decide { seat, inputs, ran: ran.to_vec(), bytes: weight });
    }

    /// Its timer has said this.
    pub(super) fn show_tick(&self, now_ms: u64, ran: &[Output]) {
        if self.room.waiting.batches.fetch_add(1, Relaxed) >= BATCHES_MAX {
            self.room.waiting.batches.fetch_sub(1, Relaxed);
            return;
        }
        let _ = self.room.work.send(Work::Tick { seat: self.seat, now_ms, ran: ran.to_vec() });
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        let _ = self.room.work.send(Work::End(self.seat));
    }
}

fn run(todo: &Receiver<Work>, tried: &Tried, waiting: &Waiting) {
    // Of this thread alone (setpriority(2), under "C library/kernel differences").
    let _ = rustix::process::setpriority_process(None, NICE);
    let mut seats: HashMap<u64, Box<Seat>> = HashMap::new();
    while let Ok(work) = todo.recv() {
        match work {
            Work::Begin { seat, it } => _ = seats.insert(seat, it),
            Work::End(seat) => _ = seats.remove(&seat),
            Work::Decide { seat, inputs, ran, bytes } => {
                if let Some(seat) = seats.get_mut(&seat) {
                    seat.decide(tried, &inputs, &ran);
                }
                waiting.bytes.fetch_sub(bytes, Relaxed);
                waiting.batches.fetch_sub(1, Relaxed);
            }
            Work::Tick { seat, now_ms, ran } => {
                if let Some(seat) = seats.get_mut(&seat) {
                    seat.tick(tried, now_ms, &ran);
                }
                waiting.batches.fetch_sub(1, Relaxed);
            }
        }
    }
}

impl Seat {
    fn decide(&mut self, tried: &Tried, inputs: &[Copied], ran: &[Outcome]) {
        let began = Instant::now();
        let given: Vec<Input<'_>> = inputs
            .iter()
            .map(|copied| Input {
                id: copied.id,
                message: &copied.message,
                received_ms: copied.received_ms,
                redelivered: copied.redelivered,
            })
            .collect();
        let mut outcomes = Vec::with_capacity(given.len());
        // One that keeps failing is asked about a message now and then: nothing is won by more.
        let asked = match self.circuit.admit(began) {
            Admission::Go => &given[..],
            Admission::Probe => &given[..given.len().min(1)],
            Admission::Wait(_) => &[],
        };
        run_here(self.instance.handle(&self.source, asked, &mut outcomes));
        tried.asked_ns.add(began.elapsed().as_nanos() as u64);
        tried.missed.add((inputs.len() - outcomes.len()) as u64);
        record_all(&mut self.circuit, &outcomes, began);
        self.forget();
        tried.count(&outcomes);
        let place = Place { route: &self.route, source: &self.source, targets: &self.targets };
        tried.compare(&place, inputs, ran, &outcomes);
    }

    fn tick(&mut self, tried: &Tried, now_ms: u64, ran: &[Output]) {
        let began = Instant::now();
        if matches!(self.circuit.admit(began), Admission::Wait(_)) {
            return;
        }
        let said = run_here(self.instance.tick(now_ms));
        self.forget();
        match said {
            Ok(said) => {
                self.circuit.record_ok();
                let place = Place { route: &self.route, source: &self.source, targets: &self.targets };
                tried.compare_ticks(&place, now_ms, ran, &said);
            }
            Err(_) => _ = self.circuit.record_fault(began),
        }
    }

    /// What it writes is its own, and in memory.
    fn forget(&mut self) {
        self.instance.take_written();
        self.instance.take_lost_guests();
    }
}
