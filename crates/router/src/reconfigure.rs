//! What a configuration makes of the router: brokers, sets, routes, queues. Applying one cannot fail, and loses nothing that
//! is durable, whatever was added, removed, renamed or reordered.

use crate::debt::Ack;
use crate::hops::Hops;
use crate::ids::{BrokerId, RouteId, SetId};
use crate::merge::Window;
use crate::parts::Parts;
use crate::pressure::pace;
use crate::resolve::Shape;
use crate::route::{Route, RouteTarget, Target};
use crate::sessions::Sessions;
use crate::set::Set;
use crate::{Broker, Moment, Router};
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_config::{Ack as AckPolicy, Config};
use tidegate_message::SubscriptionIndex;
use tidegate_spool::NameKind;

impl<A: Ack, S: Sessions> Router<A, S> {
    /// A broker that is new. Its place is its own for as long as the process lives: messages under way may name one that
    /// is gone.
    pub fn add_broker(&mut self, name: &str, is_link: bool) -> BrokerId {
        let name: Arc<str> = name.into();
        let at = BrokerId::new(self.brokers.len());
        let mut broker = Broker::new(name.clone(), is_link);
        if is_link {
            broker.source_id = Some(self.spool.name(NameKind::Source, &name));
            broker.link_id = Some(self.spool.name(NameKind::Link, &name));
        }
        self.brokers.push(broker);
        self.targets.insert(name, Target::Broker(at));
        at
    }

    /// The broker of this name.
    pub fn broker_named(&self, name: &str) -> Option<BrokerId> {
        match self.targets.get(name) {
            Some(Target::Broker(at)) => Some(*at),
            Some(Target::Set(_)) | None => None,
        }
    }

    /// Takes sets, routes and settings of a configuration, whose brokers were added and removed before.
    pub fn configure(&mut self, config: &Config, now: Moment) {
        let names = config.brokers.keys().chain(config.targets.keys());
        self.spool_settings = names.map(|name| (name.clone(), config.spool_of(name))).collect();
        self.end_trials(now);
        self.hops = Hops::of(config);
        self.brokers.iter_mut().for_each(|broker| broker.mark = self.hops.mark(&broker.name));
        self.set_sets(config, now);
        self.set_paces(config, now);
        self.set_routes(config);
        self.choose_watched();
        self.adopt_queues(now);
        self.place_stranded(now);
        self.unblock();
    }

    fn set_sets(&mut self, config: &Config, now: Moment) {
        let gone: Vec<(Arc<str>, SetId)> = self
            .targets
            .iter()
            .filter_map(|(name, target)| match target {
                Target::Set(at) if !config.targets.contains_key(&**name) => Some((name.clone(), *at)),
                Target::Set(_) | Target::Broker(_) => None,
            })
            .collect();
        for (name, at) in gone {
            self.targets.remove(&name);
            self.sets[at.at()].members.clear();
            self.end_moves_of(at);
        }
        for (name, configured) in &config.targets {
            let named = |member: &String| Some((self.broker_named(member)?, member.clone()));
            let members: Vec<_> = configured.members.iter().filter_map(named).collect();
            let at = match self.targets.get(name.as_str()) {
                Some(Target::Set(at)) => *at,
                _ => {
                    let at = SetId::new(self.sets.len());
                    self.sets.push(Set::new());
                    self.targets.insert(name.as_str().into(), Target::Set(at));
                    at
                }
            };
            let before = self.sets[at.at()].shares();
            self.sets[at.at()].configure(configured, members.into_iter());
            self.deal_after(at, &before, None, Vec::new(), now);
            self.want_parts(at, name, Parts::of(configured));
        }
    }

    /// The slowest drain of a broker's own queue and of the sets it is in.
    fn set_paces(&mut self, config: &Config, now: Moment) {
        for broker in &mut self.brokers {
            let name = &*broker.name;
            let sets = config.targets.iter().filter(|(_, set)| set.members.iter().any(|member| member == name));
            let rates = sets.filter_map(|(_, set)| set.spool.drain_rate).chain(config.spool_of(name).drain_rate);
            broker.pace = rates.min().map(|rate| pace(rate, now.at));
        }
    }

    fn set_routes(&mut self, config: &Config) {
        for route in &mut self.routes {
            route.removed = true;
        }
        let mut indexes: Vec<SubscriptionIndex<RouteId>> =
            self.brokers.iter().map(|_| SubscriptionIndex::new()).collect();
        for broker in &mut self.brokers {
            broker.echo.unsubscribe();
            broker.merges = false;
        }
        for wanted in &config.routes {
            let sources: SmallVec<[BrokerId; 2]> =
                wanted.from.brokers.iter().filter_map(|name| self.broker_named(name)).collect();
            if sources.is_empty() {
                continue;
            }
            let merge = wanted.from.set.as_ref().and_then(|set| config.sources.get(set)?.merge());
            let at = self.route_named(&wanted.name);
            let required = |name: &String| wanted.required.as_ref().is_none_or(|required| required.contains(name));
            let targets = wanted.to.iter().filter_map(|name| {
                let to = *self.targets.get(name.as_str())?;
                Some(RouteTarget::new(to, required(name)))
            });
            let targets: Rc<[RouteTarget]> = targets.collect();
            let name_id = self.spool.name(NameKind::Route, &wanted.name);
            self.routes_by_id.insert(name_id, at);
            let route = &mut self.routes[at.at()];
            route.removed = false;
            route.name_id = name_id;
            route.spooled = wanted.ack == AckPolicy::Spooled;
            route.persist_qos0 = wanted.persist_qos0;
            route.class = wanted.priority;
            match merge {
                Some((lasts, key)) if !route.window.as_ref().is_some_and(|known| known.is_as(lasts, key, &sources)) => {
                    route.window = Some(Box::new(Window::new(lasts, key.clone(), &sources)));
                }
                Some(_) => {}
                None => route.window = None,
            }
            route.sources = sources.clone();
            route.retained = wanted.from.retained;
            route.targets = targets;
            route.shape = Rc::new(Shape::of(wanted));
            route.has_plugins = !wanted.plugins.is_empty();
            route.had_plugins |= route.has_plugins;
            for source in sources {
                self.brokers[source.at()].merges |= merge.is_some();
                for filter in &wanted.from.topics {
                    indexes[source.at()].insert(filter, at);
                    self.brokers[source.at()].echo.subscribe(filter);
                }
            }
        }
        // What plugins still have of a route that is gone finds its targets as they are now.
        for route in self.routes.iter_mut().filter(|route| route.removed) {
            route.targets = route.targets.iter().map(|target| RouteTarget::new(target.to, target.required)).collect();
        }
        for (broker, index) in self.brokers.iter_mut().zip(indexes) {
            broker.topics.renew(index);
        }
    }

    /// The place of a route of this name, made if there is none.
    fn route_named(&mut self, name: &str) -> RouteId {
        if let Some(at) = self.routes_by_name.get(name) {
            return *at;
        }
        let name: Arc<str> = name.into();
        let at = RouteId::new(self.routes.len());
        self.routes.push(Route::new(name.clone()));
        self.routes_by_name.insert(name, at);
        at
    }

    /// What waits in lanes of brokers that are not members of its set any more goes to those that are.
    fn place_stranded(&mut self, now: Moment) {
        let strangers: Vec<_> = (0..self.brokers.len())
            .flat_map(|at| {
                let Self { sets, queues, brokers, .. } = self;
                let broker = BrokerId::new(at);
                brokers[at].lane.take(|ticket| match ticket {
                    crate::Ticket::Spooled { queue, .. } => match queues[queue.at()].target {
                        Some(Target::Set(set)) => !sets[set.at()].has(broker),
                        Some(Target::Broker(target)) => target != broker,
                        None => true,
                    },
                    crate::Ticket::Held { .. } | crate::Ticket::Loose { .. } => false,
                })
            })
            .collect();
        for entry in strangers {
            if let crate::Ticket::Spooled { queue, .. } = entry.ticket {
                self.place(queue, entry, now);
            }
        }
    }

    /// What waits for targets that are not configured: target, class of priority, messages, bytes.
    pub fn waiting_for_nobody(&self) -> Vec<tidegate_spool::Waiting> {
        let is_missing = |waiting: &tidegate_spool::Waiting| {
            waiting.items > 0 && !self.targets.contains_key(waiting.key.target.as_str())
        };
        self.waiting().into_iter().map(|(waiting, _)| waiting).filter(is_missing).collect()
    }

    /// What waits in the spool, by target and class of priority.
    pub fn waiting(&self) -> Vec<(tidegate_spool::Waiting, tidegate_config::Priority)> {
        let mut all: Vec<(tidegate_spool::Waiting, tidegate_config::Priority)> = Vec::new();
        // Of each queue, where the first of its target and class is told of.
        let mut places: Vec<usize> = Vec::new();
        for (waiting, queue) in self.spool.waiting().into_iter().zip(&self.queues) {
            let first = queue.kin.first().map_or(usize::MAX, |first| first.at());
            match places.get(first).copied() {
                Some(place) => {
                    let known = &mut all[place].0;
                    known.items += waiting.items;
                    known.bytes += waiting.bytes;
                    known.oldest_ms = known.oldest_ms.into_iter().chain(waiting.oldest_ms).min();
                    places.push(place);
                }
                None => {
                    places.push(all.len());
                    all.push((waiting, queue.class));
                }
            }
        }
        all
    }
}
