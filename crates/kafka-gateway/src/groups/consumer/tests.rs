use event_log::{Lifetime, Topic, TopicConfig, TopicName};

use super::*;

const SESSION: Duration = Duration::from_secs(45);

/// A group with a clock that is moved by hand, and clients that do as they are told.
struct Bench {
    group: Group,
    now: Instant,
    catalog: Catalog,
    clients: BTreeMap<String, Client>,
}

/// What a client knows.
#[derive(Default)]
struct Client {
    epoch: i32,
    owned: BTreeSet<Place>,
}

fn topic(number: u128, name: &str, partitions: u32) -> Topic {
    Topic {
        id: Uuid::from_u128(number),
        name: TopicName::new(name).unwrap(),
        config: TopicConfig::new(partitions, Lifetime::Events),
    }
}

impl Bench {
    fn new(partitions: u32) -> Self {
        Self {
            group: Group::default(),
            now: tokio::time::Instant::now().into_std(),
            catalog: Catalog::of(1, [topic(1, "t", partitions), topic(2, "other", 2)]),
            clients: BTreeMap::new(),
        }
    }

    fn beat_of(&self, member: &str, epoch: i32) -> Beat {
        Beat {
            member: member.to_owned(),
            epoch,
            instance: None,
            rack: None,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rebalance: None,
            names: None,
            pattern: None,
            assignor: None,
            owned: None,
            now: self.now,
        }
    }

    fn joining(&self, member: &str) -> Beat {
        Beat {
            rebalance: Some(Duration::from_secs(10)),
            names: Some(BTreeSet::from(["t".to_owned()])),
            owned: Some(BTreeSet::new()),
            ..self.beat_of(member, JOIN)
        }
    }

    fn beat(&mut self, beat: Beat) -> Result<Beaten, ResponseError> {
        let beaten = self.group.beat(self.now, SESSION, beat, &self.catalog);
        self.check();
        beaten.map_err(|refused| refused.code)
    }

    fn join(&mut self, beat: Beat) -> Beaten {
        let member = beat.member.clone();
        let beaten = self.beat(beat).unwrap();
        let client = Client {
            epoch: beaten.epoch,
            owned: beaten.assignment.clone().unwrap_or_default(),
        };
        self.clients.insert(member, client);
        beaten
    }

    /// A heartbeat of a well-behaved client: it says what it has whenever that has changed.
    fn tick(&mut self, member: &str) {
        let client = &self.clients[member];
        let beat = Beat {
            owned: Some(client.owned.clone()),
            ..self.beat_of(member, client.epoch)
        };
        let beaten = self.beat(beat).unwrap();
        let client = self.clients.get_mut(member).unwrap();
        client.epoch = beaten.epoch;
        if let Some(assignment) = beaten.assignment {
            client.owned = assignment;
        }
    }

    fn settle(&mut self) {
        for _ in 0..10 {
            let members: Vec<_> = self.clients.keys().cloned().collect();
            for member in members {
                self.tick(&member);
                self.no_partition_has_two_clients();
            }
        }
        assert_eq!(self.group.state(), State::Stable);
    }

    fn no_partition_has_two_clients(&self) {
        let mut seen = BTreeSet::new();
        for client in self.clients.values() {
            for place in &client.owned {
                assert!(seen.insert(*place), "{place:?} has two clients");
            }
        }
    }

    /// What the group thinks of owners is what members have.
    fn check(&self) {
        let mut owners = HashMap::new();
        for (id, member) in &self.group.members {
            for place in member.assigned.iter().chain(&member.revoking) {
                assert_eq!(owners.insert(*place, id.clone()), None);
            }
        }
        assert_eq!(owners, self.group.owners);
    }

    fn count(&self, member: &str) -> usize {
        self.clients[member].owned.len()
    }
}

#[test]
fn a_single_member_gets_everything_at_once() {
    let mut bench = Bench::new(4);
    let beaten = bench.join(bench.joining("a"));
    assert_eq!((beaten.epoch, bench.count("a")), (1, 4));
    assert_eq!(bench.group.state(), State::Stable);
    assert_eq!(beaten.interval, INTERVAL);
}

#[test]
fn a_newcomer_gets_partitions_only_after_they_were_given_up() {
    let mut bench = Bench::new(4);
    bench.join(bench.joining("a"));
    let beaten = bench.join(bench.joining("b"));
    assert_eq!((beaten.epoch, bench.count("b")), (2, 0));
    assert_eq!(beaten.interval, INTERVAL_WHILE_MOVING);
    // The first member is told to give up two; before it says so the newcomer gets none.
    let told = bench.beat(bench.beat_of("a", 1)).unwrap();
    assert_eq!(told.epoch, 1, "it moves on once it has given them up");
    assert_eq!(told.assignment.as_ref().unwrap().len(), 2);
    bench.tick("b");
    assert_eq!(bench.count("b"), 0);
    bench.clients.get_mut("a").unwrap().owned = told.assignment.unwrap();
    bench.settle();
    assert_eq!((bench.count("a"), bench.count("b")), (2, 2));
    assert_eq!(bench.clients["a"].epoch, 2);
}

#[test]
fn members_come_and_go_and_no_partition_ever_has_two_clients() {
    let mut bench = Bench::new(7);
    for member in ["a", "b", "c"] {
        bench.join(bench.joining(member));
        bench.tick("a");
    }
    bench.settle();
    assert!(
        ["a", "b", "c"]
            .iter()
            .all(|member| bench.count(member) >= 2)
    );
    let epoch = bench.clients["b"].epoch;
    let left = bench.beat(bench.beat_of("b", LEAVE)).unwrap();
    assert_eq!(left.epoch, LEAVE);
    bench.clients.remove("b");
    bench.settle();
    assert_eq!(bench.count("a") + bench.count("c"), 7);
    assert_eq!(
        bench.beat(bench.beat_of("b", epoch)),
        Err(ResponseError::UnknownMemberId)
    );
}

#[test]
fn an_epoch_that_is_not_the_members_is_fenced() {
    let mut bench = Bench::new(4);
    bench.join(bench.joining("a"));
    bench.join(bench.joining("b"));
    bench.settle();
    let epoch = bench.clients["a"].epoch;
    let fenced = Err(ResponseError::FencedMemberEpoch);
    assert_eq!(bench.beat(bench.beat_of("a", epoch + 1)), fenced);
    // An answer may have been lost: the epoch before is taken from who has no more than is his.
    let again = Beat {
        owned: Some(BTreeSet::new()),
        ..bench.beat_of("a", epoch - 1)
    };
    assert!(bench.beat(again).is_ok());
    assert_eq!(bench.beat(bench.beat_of("a", epoch - 1)), fenced);
    assert_eq!(bench.group.check_epoch("a", epoch), Ok(()));
    assert_eq!(
        bench.group.check_epoch("a", epoch - 1),
        Err(ResponseError::StaleMemberEpoch)
    );
}

#[test]
fn a_silent_member_is_dropped_and_so_is_one_that_does_not_give_up() {
    let mut bench = Bench::new(4);
    bench.join(bench.joining("a"));
    bench.join(bench.joining("b"));
    bench.beat(bench.beat_of("a", 1)).unwrap();
    let until = bench.group.next_deadline().unwrap();
    assert_eq!(
        until,
        bench.now + Duration::from_secs(10),
        "the rebalance timeout"
    );
    bench.now = until;
    bench.group.expire(bench.now);
    bench.clients.remove("a");
    bench.settle();
    assert_eq!(bench.count("b"), 4);
    bench.now = bench.group.next_deadline().unwrap();
    bench.group.expire(bench.now);
    assert!(bench.group.is_forgotten());
}

#[test]
fn a_static_member_is_back_with_what_it_had() {
    let mut bench = Bench::new(4);
    let fixed = |beat: Beat| Beat {
        instance: Some("i".to_owned()),
        ..beat
    };
    bench.join(fixed(bench.joining("a")));
    bench.join(bench.joining("b"));
    bench.settle();
    let had = bench.clients["a"].owned.clone();
    let taken = bench.beat(fixed(bench.joining("a2")));
    assert_eq!(taken, Err(ResponseError::UnreleasedInstanceId));
    let left = bench
        .beat(fixed(bench.beat_of("a", LEAVE_FOR_NOW)))
        .unwrap();
    assert_eq!(left.epoch, LEAVE_FOR_NOW);
    let epoch = bench.group.epoch;
    bench.clients.remove("a");
    bench.tick("b");
    bench.join(fixed(bench.joining("a2")));
    assert_eq!(bench.clients["a2"].owned, had);
    assert_eq!(
        bench.group.epoch, epoch,
        "nothing has changed for the others"
    );
    let old = bench.beat(fixed(bench.beat_of("a", epoch)));
    assert_eq!(old, Err(ResponseError::UnknownMemberId));
}

#[test]
fn topics_that_appear_grow_and_go_are_noticed() {
    let mut bench = Bench::new(2);
    let pattern = catalog::Pattern::new("t.*").unwrap();
    let joining = Beat {
        pattern: Some(pattern),
        ..bench.joining("a")
    };
    bench.join(joining);
    assert_eq!(bench.count("a"), 2);
    bench.catalog = Catalog::of(2, [topic(1, "t", 3), topic(3, "t2", 1), topic(4, "x", 1)]);
    bench.settle();
    assert_eq!(bench.count("a"), 4);
    bench.catalog = Catalog::of(3, [topic(5, "t", 3)]);
    bench.settle();
    assert!(
        bench.clients["a"]
            .owned
            .iter()
            .all(|(id, _)| *id == Uuid::from_u128(5))
    );
}

#[test]
fn a_pattern_is_for_whole_names_and_bounded() {
    let catalog = Catalog::of(1, [topic(1, "t", 1), topic(2, "at", 1)]);
    let pattern = catalog::Pattern::new("t|x").unwrap();
    assert_eq!(catalog.matching(&pattern).count(), 1);
    assert!(catalog::Pattern::new("(").is_err());
    assert!(catalog::Pattern::new(r"\w{1000}{1000}").is_err());
    assert_eq!(catalog.matching(&catalog::Pattern::default()).count(), 0);
}
