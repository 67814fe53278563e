//! Stories that went wrong once, and some that must not, each as short as it can be.

use crate::play::Play;
use crate::setup::*;
use crate::story::{Change, Step, Story};

/// Four brokers at the ends of links, no sets, and one route from the first to these targets.
fn setup(targets: &[u8]) -> Setup {
    let broker = BrokerSetup { there: true, embedded: false, spool: SpoolSetup::default() };
    let members = vec![0, 2];
    let set = SetSetup {
        there: false,
        policy: 0,
        members,
        weight: 0,
        relieves: false,
        many: false,
        spool: SpoolSetup::default(),
    };
    let route = RouteSetup {
        there: false,
        source: 0,
        filters: 1,
        targets: targets.to_vec(),
        required: 0,
        plugins: 0,
        spooled: false,
        persist_qos0: false,
        qos: None,
        priority: 0,
    };
    let routes = vec![RouteSetup { there: true, ..route.clone() }, route.clone(), route.clone(), route];
    Setup { brokers: vec![broker; BROKERS], sets: vec![set; SETS], routes, is_reversed: false }
}

/// Through the lanes, and past them.
fn tell(setup: Setup, steps: Vec<Step>) {
    for goes_at_once in [false, true] {
        Play::tell(&Story { setup: setup.clone(), window: 8192, goes_at_once, steps: steps.clone() });
    }
}

fn send(qos: u8) -> Step {
    Step::Send { source: 0, topic: 0, qos, expires: false }
}

#[test]
fn a_copy_for_a_removed_member_of_a_set_that_gives_to_all_goes_to_no_other_member() {
    let mut setup = setup(&[5]);
    (setup.sets[1].there, setup.sets[1].policy) = (true, 2);
    let steps = vec![send(0), Step::Reload(Change::Broker { at: 2 })];
    tell(setup, steps);
}

#[test]
fn what_a_source_sent_that_has_forgotten_our_session_takes_no_packet_identifier_of_the_next() {
    let mut setup = setup(&[0]);
    (setup.routes[0].spooled, setup.routes[0].plugins) = (true, 1);
    let decide = Step::Decide { route: 0, count: 1, table: [0; 3], remembers: false };
    let crash = Step::Crash { after: 0, choice: 0 };
    // Both messages have the same identifier, and only the first is in the log.
    let steps =
        vec![send(2), Step::HandOver, Step::Forget { source: 0 }, send(2), decide, Step::Work, Step::News, crash];
    tell(setup, steps);
}

#[test]
fn what_is_moved_is_done_where_it_was_only_once_it_is_durable_where_it_goes() {
    for (after, choice) in (4..9).flat_map(|after| (0..100).map(move |choice| (after, choice))) {
        let mut setup = setup(&[0]);
        setup.routes[0].spooled = true;
        let crash = Step::Crash { after, choice };
        let steps = vec![send(1), Step::Work, Step::Move { from: 0, to: 1 }, Step::News, Step::Acks, crash];
        tell(setup, steps);
    }
}

#[test]
fn what_is_put_aside_is_done_in_its_queue_only_once_it_is_durable_there() {
    for choice in 370_200..370_400 {
        let mut setup = setup(&[0]);
        setup.routes[0].spooled = true;
        let crash = Step::Crash { after: 4, choice };
        let (pull, hang_up) = (Step::Pull { target: 0, count: 1 }, Step::HangUpOn { target: 0, pick: 0 });
        let steps = vec![send(1), Step::Work, Step::News, Step::Acks, pull, hang_up, crash];
        tell(setup, steps);
    }
}

#[test]
fn nothing_overtakes_a_message_of_its_source_that_waits_for_room() {
    let mut setup = setup(&[0]);
    setup.routes[0].spooled = true;
    setup.brokers[0].spool.max_messages = Some(1);
    let (pull, answer) = (Step::Pull { target: 0, count: 1 }, Step::Answer { target: 0, pick: 0 });
    // There is room again for the third, and the second has not been told.
    let steps = vec![send(1), Step::Work, Step::News, send(1), pull, answer, send(1)];
    tell(setup, steps);
}

#[test]
fn a_source_is_not_told_before_its_message_is_durable() {
    let mut setup = setup(&[0]);
    setup.routes[0].spooled = true;
    let crash = Step::Crash { after: 0, choice: 0 };
    tell(setup, vec![send(1), Step::News, Step::Acks, crash]);
}

/// The queue of a target is known from the second message on.
#[test]
fn a_source_of_what_goes_straight_is_not_told_before_it_is_durable() {
    let mut setup = setup(&[0]);
    setup.routes[0].spooled = true;
    let first = || vec![send(1), Step::Work, Step::News, Step::Acks];
    let crash = Step::Crash { after: 0, choice: 0 };
    tell(setup, [first(), vec![send(1), Step::News, Step::Acks, crash]].concat());
}

#[test]
fn a_message_that_is_refused_for_now_is_sent_again() {
    let mut setup = setup(&[0]);
    setup.routes[0].spooled = true;
    let (pull, refuse) = (Step::Pull { target: 0, count: 2 }, Step::RefuseForNow { target: 0, count: 2 });
    let steps = vec![send(1), send(1), Step::Work, Step::News, pull, refuse];
    tell(setup, steps);
}

#[test]
fn a_move_that_is_taken_back_ends() {
    let mut setup = setup(&[1, 2]);
    setup.routes[0].spooled = true;
    // Nothing of it is durable yet: both moves wait for it.
    tell(setup, vec![send(1), Step::Move { from: 1, to: 2 }, Step::Move { from: 2, to: 1 }]);
}

#[test]
fn a_message_whose_queue_a_power_loss_took_is_sent_again() {
    for choice in 43_300..43_400 {
        let mut setup = setup(&[0]);
        setup.routes[0].spooled = true;
        // The first message for this queue: its name is in the same write.
        tell(setup, vec![Step::Work, send(2), Step::Crash { after: 1, choice }]);
    }
}

#[test]
fn what_plugins_decide_of_a_route_that_is_gone_waits_for_no_target_that_is_gone() {
    let mut setup = setup(&[5]);
    (setup.sets[1].there, setup.routes[0].spooled, setup.routes[0].plugins) = (true, true, 1);
    let decide = Step::Decide { route: 0, count: 1, table: [16, 0, 0], remembers: false };
    // The first has looked the target's queue up.
    let steps = vec![send(1), send(1), Step::HandOver, decide.clone(), Step::Reload(Change::Set { at: 1 }), decide];
    tell(setup, steps);
}

#[test]
fn what_two_routes_decide_together_overtakes_nothing_that_one_has_decided_between() {
    let mut setup = setup(&[0]);
    (setup.routes[0].spooled, setup.routes[0].plugins) = (true, 1);
    setup.routes[1] = RouteSetup { there: true, filters: 4, plugins: 1, ..setup.routes[0].clone() };
    let on = |topic: u8| Step::Send { source: 0, topic, qos: 1, expires: false };
    let decide = |route: u8, count: u8| Step::Decide { route, count, table: [0, 0, 0], remembers: true };
    let [both, one] = [0, 1];
    // The second route decides about the first and the third together; the first about the third with the fourth.
    let steps =
        vec![on(both), on(one), Step::HandOver, decide(0, 1), decide(0, 1), on(both), Step::HandOver, decide(1, 2)];
    tell(setup, [steps, vec![on(one), Step::HandOver, decide(0, 2)]].concat());
}

#[test]
fn what_is_remembered_in_another_way_is_there_only_with_all_that_was_decided_before() {
    let mut setup = setup(&[0]);
    (setup.routes[0].spooled, setup.routes[0].plugins) = (true, 1);
    setup.routes[1] = RouteSetup { there: true, filters: 4, plugins: 1, ..setup.routes[0].clone() };
    let on = |topic: u8| Step::Send { source: 0, topic, qos: 1, expires: false };
    let decide = |route: u8, first: u8| Step::Decide { route, count: 1, table: [first, 0, 0], remembers: true };
    let [both, one] = [0, 1];
    // The second route has decided about what the first has not when what is remembered changes (5).
    let before = [on(one), on(both), Step::HandOver, decide(1, 0), decide(0, 5), Step::Work, Step::News];
    for after in 0..12 {
        let crash = Step::Crash { after, choice: 0 };
        tell(setup.clone(), [&before[..], std::slice::from_ref(&crash)].concat());
        tell(setup.clone(), [&before[..], &[decide(0, 0), crash]].concat());
    }
}

#[test]
fn what_a_batch_decides_of_a_draft_and_beside_it_keeps_its_order() {
    let mut setup = setup(&[0]);
    (setup.routes[0].spooled, setup.routes[0].plugins) = (true, 1);
    setup.routes[1] = setup.routes[0].clone();
    let decide = |route: u8, count: u8| Step::Decide { route, count, table: [0, 0, 0], remembers: true };
    let toggle = || Step::Reload(Change::Route { at: 0 });
    // The fourth is for the second route alone; the first decides about the fifth, and the second then about both.
    let before = [send(1), send(1), Step::HandOver, send(1), decide(0, 1), decide(1, 2)];
    tell(setup, [&before[..], &[toggle(), send(1), toggle(), send(1)]].concat());
}

#[test]
fn what_is_replayed_is_not_lost_though_its_route_goes_past_the_log() {
    let mut setup = setup(&[0]);
    setup.routes[0].plugins = 1;
    let park = Step::Decide { route: 0, count: 1, table: [78, 0, 0], remembers: false };
    let replay = Step::Replay { pick: 0, to: Some(1) };
    let crash = Step::Crash { after: 0, choice: 0 };
    tell(setup, vec![send(2), Step::HandOver, park, Step::Work, Step::News, Step::Acks, replay, Step::Work, crash]);
}

#[test]
fn what_goes_to_another_member_waits_for_what_the_one_before_was_sent() {
    let mut setup = setup(&[4]);
    (setup.sets[0].there, setup.sets[0].members) = (true, vec![1, 2]);
    setup.routes[0].spooled = true;
    let sent = |to| [send(1), Step::Work, Step::News, Step::Pull { target: to, count: 9 }];
    let mut steps = vec![Step::GiveUp { broker: 1 }, Step::Slow { broker: 2, is_slow: true }];
    steps.extend(sent(2));
    // The first is well again, and what the second was sent is still on its way.
    steps.extend([Step::Wait { ms: 3_000 }, Step::Look]);
    steps.extend(sent(1));
    steps.extend([Step::Slow { broker: 2, is_slow: false }, Step::Answer { target: 2, pick: 0 }]);
    tell(setup, steps);
}

/// What was held for a topic on its way to another member came back to a set that was another by then, and stayed.
#[test]
fn what_is_held_for_a_set_that_is_taken_away_and_comes_back_goes_on() {
    let mut setup = setup(&[4]);
    setup.routes[0].spooled = true;
    (setup.sets[0].there, setup.sets[0].members) = (true, vec![0, 0]);
    let mut steps = vec![send(1), send(1), send(1), send(1), Step::Work, Step::News];
    steps.push(Step::Reload(Change::SetMembers { at: 110, members: vec![2, 0] }));
    steps.push(Step::Reload(Change::Set { at: 48 }));
    tell(setup, steps);
}

/// Its source sent a message again after the end of a process: the new copy, in the queue of other parts, overtook the old one,
/// which was still on disk alone.
#[test]
fn what_was_filed_for_other_parts_before_a_crash_comes_before_what_is_filed_now() {
    let mut setup = setup(&[5]);
    setup.routes[0].spooled = true;
    setup.routes[0].source = 3;
    (setup.sets[1].there, setup.sets[1].policy, setup.sets[1].members) = (true, 1, vec![3, 0]);
    setup.sets[1].weight = 1;
    let sent = Step::Send { source: 103, topic: 10, qos: 1, expires: false };
    for after in 1..30 {
        let changed = Step::Reload(Change::SetWeight { at: 5, weight: 0 });
        tell(setup.clone(), vec![sent.clone(), changed, Step::Crash { after, choice: 0 }]);
    }
}

/// What others waited for waited itself, and its queue had no room to read on.
#[test]
fn what_is_read_first_after_a_start_does_not_wait_for_a_set_that_comes_back() {
    let mut setup = setup(&[5]);
    setup.routes[0].spooled = true;
    (setup.sets[1].there, setup.sets[1].policy, setup.sets[1].members) = (true, 1, vec![0, 0]);
    for after in 1..30 {
        for choice in [0, 1, 141_968] {
            let steps = vec![
                send(1),
                Step::Reload(Change::SetMembers { at: 67, members: vec![3, 0] }),
                Step::Crash { after, choice },
                Step::Work,
                Step::News,
                Step::Reload(Change::Set { at: 43 }),
            ];
            Play::tell(&Story { setup: setup.clone(), window: 1, goes_at_once: false, steps });
        }
    }
}

/// Another route's plugins had not decided yet, so that a message was filed in the queue of one part and not recorded when parts
/// changed: the next of its topic came to be recorded before it.
#[test]
fn parts_stay_while_something_is_filed_and_not_recorded() {
    let mut setup = setup(&[0]);
    setup.routes[1] =
        RouteSetup { there: true, source: 0, filters: 5, targets: vec![5], spooled: true, ..setup.routes[0].clone() };
    setup.routes[2] = RouteSetup { there: true, plugins: 1, ..setup.routes[0].clone() };
    setup.brokers[3].there = false;
    (setup.sets[1].there, setup.sets[1].policy, setup.sets[1].members) = (true, 1, vec![2, 0]);
    let steps = vec![
        send(1),
        Step::Send { source: 0, topic: 5, qos: 2, expires: false },
        Step::Reload(Change::SetWeight { at: 125, weight: 3 }),
        Step::Send { source: 0, topic: 5, qos: 2, expires: false },
    ];
    Play::tell(&Story { setup: setup.clone(), window: 1, goes_at_once: false, steps });
}

/// One part of a set is done, and of another something is on disk alone: parts stay until that is read.
#[test]
fn parts_stay_while_one_of_them_has_something_on_disk_alone() {
    for (drained, other) in [(2, 3), (3, 2)] {
        for (weight, before) in (0..4).flat_map(|weight| (0..4).map(move |before| (weight, before))) {
            let mut setup = setup(&[5]);
            setup.routes[0].spooled = true;
            setup.routes[0].filters = 0xff;
            (setup.sets[1].there, setup.sets[1].policy, setup.sets[1].members) = (true, 1, vec![2, 3]);
            setup.sets[1].weight = before;
            let all = |qos| (0..4).map(move |topic| Step::Send { source: 0, topic, qos, expires: false });
            let mut steps: Vec<Step> = (0..3).flat_map(|_| all(1)).collect();
            let settle = [Step::Work, Step::News, Step::Acks];
            steps.extend(settle.clone());
            for _ in 0..16 {
                steps.extend([Step::Pull { target: drained, count: 1 }, Step::Answer { target: drained, pick: 0 }]);
                steps.extend(settle.clone());
            }
            steps.push(Step::Reload(Change::SetWeight { at: 1, weight }));
            steps.extend(all(1));
            steps.extend(settle.clone());
            for _ in 0..16 {
                steps.extend([Step::Pull { target: drained, count: 1 }, Step::Answer { target: drained, pick: 0 }]);
                steps.extend(settle.clone());
            }
            steps.extend([Step::Pull { target: other, count: 1 }]);
            Play::tell(&Story { setup: setup.clone(), window: 1, goes_at_once: false, steps });
        }
    }
}

/// The model took a message for delivered that a member of a set had refused: it goes to another when that one is taken away.
#[test]
fn what_a_member_has_refused_goes_to_another_when_it_is_removed() {
    let mut setup = setup(&[4]);
    setup.routes[0].spooled = true;
    (setup.sets[0].there, setup.sets[0].policy, setup.sets[0].members) = (true, 0, vec![2, 3]);
    for crash in [None, Some(2)] {
        let mut steps = vec![Step::Send { source: 0, topic: 0, qos: 2, expires: false }, Step::Work, Step::News];
        steps.push(Step::Pull { target: 2, count: 1 });
        steps.extend(crash.map(|after| Step::Crash { after, choice: 0 }));
        steps.push(Step::RefuseForGood { target: 2, pick: 0 });
        steps.push(Step::Reload(Change::Broker { at: 2 }));
        tell(setup.clone(), steps);
    }
}

/// Relief moves a topic while a message of QoS 0 is in the write buffer of the member that had it: nobody answers to that one, and
/// the next may be with the other member before it.
#[test]
fn what_nobody_answers_to_is_in_order_at_each_member_when_its_topic_moves() {
    let mut setup = setup(&[1]);
    setup.routes[1] =
        RouteSetup { there: true, filters: 5, targets: vec![3], spooled: true, ..setup.routes[0].clone() };
    setup.routes[2] = RouteSetup {
        there: true,
        targets: vec![5],
        spooled: true,
        plugins: 1,
        qos: Some(0),
        ..setup.routes[0].clone()
    };
    (setup.brokers[1].there, setup.brokers[2].there) = (false, false);
    (setup.sets[1].there, setup.sets[1].policy, setup.sets[1].members) = (true, 1, vec![0, 3]);
    (setup.sets[1].weight, setup.sets[1].relieves) = (2, true);
    let sent = |topic| Step::Send { source: 0, topic, qos: 1, expires: false };
    tell(setup, vec![sent(5), sent(4), sent(0), sent(1)]);
}
