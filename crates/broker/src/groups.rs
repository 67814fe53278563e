//! Shared subscriptions: each message goes to one member of the group (MQTT 5.0 section 4.8.2).

use ahash::AHashMap;
use tidegate_message::{QoS, TopicFilter};

/// One client's part in a shared subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) slot: u32,
    pub(crate) qos: QoS,
    pub(crate) retain_as_published: bool,
    pub(crate) id: u32,
}

/// How well a member could take a message now, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Readiness {
    /// Connected, and it would be sent at once.
    Ready,
    /// Connected, and it would wait.
    Busy,
    /// Not connected.
    Away,
    /// It would have to wait, and there is no room for it: it would be dropped.
    Full,
    /// It may not have the message.
    Never,
}

/// The members of `$share/<group>/<filter>`.
#[derive(Debug)]
pub(crate) struct Group {
    /// As no other has or had.
    pub(crate) serial: u32,
    pub(crate) filter: TopicFilter,
    members: Vec<Member>,
    /// Whose turn it is.
    next: usize,
}

impl Group {
    /// The next member in turn among the readiest.
    pub(crate) fn pick(&mut self, readiness: impl Fn(&Member) -> Readiness) -> Option<Member> {
        let count = self.members.len();
        let mut best: Option<(Readiness, usize)> = None;
        for step in 0..count {
            let at = (self.next + step) % count;
            let found = readiness(&self.members[at]);
            if found == Readiness::Never {
                continue;
            }
            if best.is_none_or(|(readiness, _)| found < readiness) {
                best = Some((found, at));
            }
            if found == Readiness::Ready {
                break;
            }
        }
        let (_, at) = best?;
        self.next = (at + 1) % count;
        Some(self.members[at])
    }
}

/// All shared subscriptions, by slot.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    slots: Vec<Option<Group>>,
    by_filter: AHashMap<TopicFilter, u32>,
    by_serial: AHashMap<u32, u32>,
    /// Of the group made last; 0 is nobody's.
    serial: u32,
}

/// What joining or leaving means for the index of subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) group: u32,
    /// The group came into being with its first member, or is gone with its last.
    pub(crate) group_changed: bool,
    /// The client was a member before.
    pub(crate) was_member: bool,
}

impl Groups {
    pub(crate) fn get_mut(&mut self, group: u32) -> Option<&mut Group> {
        self.slots.get_mut(group as usize)?.as_mut()
    }

    /// The group that has this serial.
    pub(crate) fn with_serial(&self, serial: u32) -> Option<u32> {
        self.by_serial.get(&serial).copied()
    }

    /// How many there are in all groups.
    pub(crate) fn members(&self) -> usize {
        self.slots.iter().flatten().map(|group| group.members.len()).sum()
    }

    /// The filter of the group that has this serial.
    pub(crate) fn filter_of(&self, serial: u32) -> Option<TopicFilter> {
        let group = self.slots.get(*self.by_serial.get(&serial)? as usize)?.as_ref()?;
        Some(group.filter.clone())
    }

    /// The serial of the group of a shared subscription; 0: it has none.
    pub(crate) fn serial_of(&self, filter: &TopicFilter) -> u32 {
        let group = self.by_filter.get(filter).and_then(|at| self.slots.get(*at as usize)?.as_ref());
        group.map_or(0, |group| group.serial)
    }

    /// Makes a client a member, or changes how it is one.
    pub(crate) fn join(&mut self, filter: &TopicFilter, member: Member) -> Change {
        if let Some(&at) = self.by_filter.get(filter)
            && let Some(group) = self.get_mut(at)
        {
            let known = group.members.iter_mut().find(|known| known.slot == member.slot);
            let was_member = known.is_some();
            match known {
                Some(known) => *known = member,
                None => group.members.push(member),
            }
            return Change { group: at, group_changed: false, was_member };
        }
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        let serial = self.serial;
        let group = Group { serial, filter: filter.clone(), members: vec![member], next: 0 };
        let at = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[at] = Some(group);
        self.by_filter.insert(filter.clone(), at as u32);
        self.by_serial.insert(serial, at as u32);
        Change { group: at as u32, group_changed: true, was_member: false }
    }

    /// Takes a client out.
    pub(crate) fn leave(&mut self, filter: &TopicFilter, slot: u32) -> Option<Change> {
        let at = *self.by_filter.get(filter)?;
        let group = self.get_mut(at)?;
        let member = group.members.iter().position(|member| member.slot == slot)?;
        group.members.remove(member);
        let group_changed = group.members.is_empty();
        if group_changed {
            let (filter, serial) = (group.filter.clone(), group.serial);
            self.by_filter.remove(&filter);
            self.by_serial.remove(&serial);
            self.slots[at as usize] = None;
        }
        Some(Change { group: at, group_changed, was_member: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(slot: u32) -> Member {
        Member { slot, qos: QoS::AtLeastOnce, retain_as_published: false, id: 0 }
    }

    #[test]
    fn members_take_turns_and_the_readiest_goes_first() {
        let mut groups = Groups::default();
        let filter = TopicFilter::new("$share/g/t").unwrap();
        for slot in 0..3 {
            groups.join(&filter, member(slot));
        }
        let group = groups.get_mut(0).unwrap();
        let slots: Vec<_> = (0..6).map(|_| group.pick(|_| Readiness::Ready).unwrap().slot).collect();
        assert_eq!(slots, [0, 1, 2, 0, 1, 2]);
        let only_2 = |member: &Member| if member.slot == 2 { Readiness::Ready } else { Readiness::Busy };
        assert_eq!((0..3).map(|_| group.pick(only_2).unwrap().slot).collect::<Vec<_>>(), [2, 2, 2]);
        let away = |member: &Member| if member.slot == 1 { Readiness::Busy } else { Readiness::Away };
        assert_eq!(group.pick(away).unwrap().slot, 1);
    }

    #[test]
    fn a_group_ends_with_its_last_member() {
        let mut groups = Groups::default();
        let filter = TopicFilter::new("$share/g/t").unwrap();
        assert!(groups.join(&filter, member(0)).group_changed);
        assert!(groups.join(&filter, member(0)).was_member);
        assert!(!groups.join(&filter, member(1)).group_changed);
        assert!(!groups.leave(&filter, 0).unwrap().group_changed);
        assert_eq!(groups.leave(&filter, 0), None);
        assert!(groups.leave(&filter, 1).unwrap().group_changed);
        assert!(groups.get_mut(0).is_none());
    }
}
