use bytes::Bytes;

use super::super::admission::MAX_MEMBERS;
use super::super::member::*;
use super::*;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A group with a clock that is moved by hand.
struct Bench {
    group: Group,
    now: Instant,
    tickets: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            group: Group::default(),
            now: tokio::time::Instant::now().into_std(),
            tickets: 0,
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn join(&mut self, join: Join) -> (Ticket, Vec<Effect>) {
        let ticket = self.ticket();
        (ticket, self.group.join(self.now, join, ticket))
    }

    fn sync(&mut self, member: &str, assignments: &[(&str, &str)]) -> (Ticket, Vec<Effect>) {
        let ticket = self.ticket();
        let given = assignments.iter();
        let sync = Sync {
            caller: self.caller(member),
            protocol_type: None,
            protocol: None,
            assignments: given
                .map(|(id, what)| ((*id).to_owned(), Bytes::from((*what).to_owned())))
                .collect(),
        };
        (ticket, self.group.sync(self.now, sync, ticket))
    }

    fn caller(&self, member: &str) -> Caller {
        Caller {
            member: member.to_owned(),
            instance: None,
            generation: self.group.generation,
        }
    }

    fn beat(&mut self, member: &str) -> Result<(), ResponseError> {
        let caller = self.caller(member);
        self.group.heartbeat(self.now, &caller)
    }

    /// Moves the clock to the group's next deadline.
    fn next_deadline(&mut self) -> Vec<Effect> {
        self.now = self.group.next_deadline().expect("a deadline");
        self.group.expire(self.now)
    }

    /// A stable group of members `a` (the leader) and `b`.
    fn of_two() -> Self {
        let mut bench = Self::new();
        bench.join(named("a"));
        bench.join(named("b"));
        assert_eq!(bench.next_deadline().len(), 2);
        bench.sync("b", &[]);
        bench.sync("a", &[("a", "0"), ("b", "1")]);
        assert_eq!(bench.group.state, State::Stable);
        assert_eq!(bench.group.leader, "a");
        bench
    }
}

/// A member that gets `id`.
fn named(id: &str) -> Join {
    Join {
        member: String::new(),
        fresh_id: id.to_owned(),
        instance: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
        session: SESSION,
        rebalance: REBALANCE,
        newcomers: Newcomers::JoinAtOnce,
    }
}

/// Member `id` joins again.
fn again(id: &str) -> Join {
    Join {
        member: id.to_owned(),
        ..named("never used")
    }
}

fn instance(name: &str, fresh_id: &str) -> Join {
    Join {
        instance: Some(name.to_owned()),
        ..named(fresh_id)
    }
}

fn generations(effects: &[Effect]) -> Vec<&Generation> {
    let generations = effects.iter().filter_map(|effect| match effect {
        Effect::Joined(_, Joined::In(generation)) => Some(generation),
        Effect::Joined(_, Joined::Out(..)) | Effect::Synced(..) => None,
    });
    generations.collect()
}

fn refusal(effects: &[Effect]) -> Option<ResponseError> {
    effects.iter().find_map(|effect| match effect {
        Effect::Joined(_, Joined::Out(code, _)) | Effect::Synced(_, Err(code)) => Some(*code),
        Effect::Joined(_, Joined::In(_)) | Effect::Synced(_, Ok(_)) => None,
    })
}

#[test]
fn the_first_generation_waits_for_more_members() {
    let mut bench = Bench::new();
    assert!(bench.join(named("a")).1.is_empty());
    bench.now += FIRST_DELAY / 2;
    assert!(bench.join(named("b")).1.is_empty());
    let due = bench.group.next_deadline().unwrap();
    assert_eq!(
        due,
        bench.now + FIRST_DELAY,
        "a newcomer moves the deadline"
    );
    let effects = bench.next_deadline();
    let generations = generations(&effects);
    assert_eq!(generations.len(), 2);
    let leaders = generations.iter().filter(|own| own.leader == own.member);
    let leaders: Vec<_> = leaders.collect();
    assert_eq!(leaders.len(), 1);
    assert_eq!(leaders[0].members.len(), 2, "the leader hears of everybody");
    assert!(generations.iter().all(|own| own.number == 1));
}

#[test]
fn newcomers_cannot_put_off_the_first_generation_for_ever() {
    let mut bench = Bench::new();
    let start = bench.now;
    bench.join(named("m0"));
    for index in 1..900 {
        bench.now += FIRST_DELAY / 2;
        if bench.group.next_deadline().unwrap() <= bench.now {
            break;
        }
        bench.join(named(&format!("m{index}")));
    }
    assert!(bench.group.next_deadline().unwrap() <= start + REBALANCE);
}

#[test]
fn everybody_gets_what_the_leader_assigned() {
    let mut bench = Bench::new();
    bench.join(named("a"));
    bench.join(named("b"));
    bench.next_deadline();
    let (b, effects) = bench.sync("b", &[]);
    assert!(effects.is_empty(), "b waits for the leader");
    let (a, effects) = bench.sync("a", &[("a", "0"), ("b", "1")]);
    let assigned = |ticket, what: &str| {
        effects.iter().any(|effect| match effect {
            Effect::Synced(to, Ok(own)) => *to == ticket && own.assignment == what.as_bytes(),
            Effect::Synced(_, Err(_)) | Effect::Joined(..) => false,
        })
    };
    assert!(assigned(a, "0") && assigned(b, "1"), "{effects:?}");
}

#[test]
fn a_third_member_sends_the_others_back_to_join() {
    let mut bench = Bench::of_two();
    assert!(bench.join(named("c")).1.is_empty());
    assert_eq!(bench.beat("a"), Err(ResponseError::RebalanceInProgress));
    assert!(bench.join(again("a")).1.is_empty());
    let (_, effects) = bench.join(again("b"));
    let generations = generations(&effects);
    assert_eq!(generations.len(), 3, "complete as soon as all have joined");
    assert!(generations.iter().all(|own| own.number == 2));
    assert!(generations.iter().all(|own| own.leader == "a"), "it stays");
}

#[test]
fn a_member_that_does_not_join_again_is_left_behind_at_the_deadline() {
    let mut bench = Bench::of_two();
    bench.join(named("c"));
    bench.join(again("a"));
    // b keeps beating but never joins.
    let deadline = bench.now + REBALANCE;
    while bench.now + SESSION / 2 < deadline {
        bench.now += SESSION / 2;
        assert!(bench.group.expire(bench.now).is_empty());
        assert_eq!(bench.beat("b"), Err(ResponseError::RebalanceInProgress));
    }
    bench.now = deadline;
    let effects = bench.group.expire(bench.now);
    assert_eq!(generations(&effects).len(), 2);
    assert_eq!(bench.beat("b"), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_silent_member_is_dropped_when_its_session_ends() {
    let mut bench = Bench::of_two();
    bench.now += SESSION / 2;
    bench.beat("a").unwrap();
    bench.now += SESSION / 2;
    assert!(bench.group.expire(bench.now).is_empty());
    assert!(!bench.group.members.contains_key("b"));
    assert_eq!(bench.beat("a"), Err(ResponseError::RebalanceInProgress));
    let (_, effects) = bench.join(again("a"));
    assert_eq!(generations(&effects).len(), 1, "alone at once");
}

#[test]
fn a_group_that_all_have_left_is_forgotten() {
    let mut bench = Bench::of_two();
    let now = bench.now;
    bench.group.leave(now, "a", None).unwrap();
    bench.group.leave(now, "b", None).unwrap();
    assert_eq!(bench.group.state, State::Empty);
    assert!(bench.group.is_forgotten());
    assert_eq!(bench.group.next_deadline(), None);
}

#[test]
fn a_follower_that_lost_its_answer_hears_the_same_generation_again() {
    let mut bench = Bench::of_two();
    let (_, effects) = bench.join(again("b"));
    assert_eq!(generations(&effects)[0].number, 1);
    assert_eq!(bench.group.state, State::Stable);
}

#[test]
fn a_member_that_subscribes_to_something_else_starts_a_rebalance() {
    let mut bench = Bench::of_two();
    let mut join = again("b");
    join.protocols[0].1 = Bytes::from_static(b"other topics");
    assert!(bench.join(join).1.is_empty());
    assert_eq!(bench.beat("a"), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn members_without_a_common_protocol_are_refused() {
    let mut bench = Bench::of_two();
    let mut join = named("c");
    join.protocols[0].0 = "sticky".to_owned();
    let (_, effects) = bench.join(join);
    let code = ResponseError::InconsistentGroupProtocol;
    assert_eq!(refusal(&effects), Some(code));
    assert_eq!(bench.group.state, State::Stable);
}

#[test]
fn the_protocol_that_all_follow_wins() {
    let mut bench = Bench::new();
    let mut both = named("a");
    both.protocols
        .insert(0, ("sticky".to_owned(), Bytes::new()));
    bench.join(both);
    bench.join(named("b"));
    bench.next_deadline();
    assert_eq!(bench.group.protocol, "range");
}

#[test]
fn a_newcomer_is_named_first_and_the_name_holds_for_a_session() {
    let mut bench = Bench::new();
    let mut join = named("a");
    join.newcomers = Newcomers::AreNamedFirst;
    let (ticket, effects) = bench.join(join.clone());
    let out = Joined::Out(ResponseError::MemberIdRequired, "a".to_owned());
    assert_eq!(effects, [Effect::Joined(ticket, out)]);
    assert!(bench.group.members.is_empty());
    assert!(bench.join(again("a")).1.is_empty(), "it is in");
    join.fresh_id = "b".to_owned();
    bench.join(join);
    bench.now += SESSION;
    bench.group.expire(bench.now);
    let (_, effects) = bench.join(again("b"));
    assert_eq!(refusal(&effects), Some(ResponseError::UnknownMemberId));
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_past() {
    let mut bench = Bench::new();
    bench.join(instance("left", "l1"));
    bench.join(instance("right", "r1"));
    bench.next_deadline();
    bench.sync("r1", &[]);
    bench.sync("l1", &[("l1", "0"), ("r1", "1")]);
    let (_, effects) = bench.join(instance("left", "l2"));
    let generation = generations(&effects)[0];
    assert_eq!((generation.number, generation.member.as_str()), (1, "l2"));
    assert_eq!(generation.leader, "l1", "so that it does not assign anew");
    assert_eq!(bench.group.state, State::Stable);
    let past = Caller {
        instance: Some("left".to_owned()),
        ..bench.caller("l1")
    };
    let beat = bench.group.heartbeat(bench.now, &past);
    assert_eq!(beat, Err(ResponseError::FencedInstanceId));
    let (ticket, effects) = bench.sync("l2", &[]);
    let [Effect::Synced(to, Ok(assigned))] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!((*to, &assigned.assignment[..]), (ticket, &b"0"[..]));
}

#[test]
fn a_leader_that_never_assigns_is_dropped() {
    let mut bench = Bench::new();
    bench.join(named("a"));
    bench.join(named("b"));
    bench.next_deadline();
    bench.sync("b", &[]);
    let deadline = bench.now + REBALANCE;
    while bench.now + SESSION / 2 < deadline {
        bench.now += SESSION / 2;
        bench.beat("a").unwrap();
        assert!(bench.group.expire(bench.now).is_empty());
    }
    bench.now = deadline;
    let effects = bench.group.expire(bench.now);
    assert_eq!(refusal(&effects), Some(ResponseError::RebalanceInProgress));
    assert!(!bench.group.members.contains_key("a"));
    let (_, effects) = bench.join(again("b"));
    assert_eq!(generations(&effects)[0].leader, "b");
}

#[test]
fn a_member_of_an_old_generation_is_refused() {
    let mut bench = Bench::of_two();
    let old = Caller {
        generation: 0,
        ..bench.caller("a")
    };
    let now = bench.now;
    let code = Err(ResponseError::IllegalGeneration);
    assert_eq!(bench.group.heartbeat(now, &old), code);
    assert_eq!(bench.group.may_commit(now, &old), code);
}

#[test]
fn only_members_commit_while_there_are_any() {
    let outsider = Caller {
        member: String::new(),
        instance: None,
        generation: -1,
    };
    let mut bench = Bench::of_two();
    let now = bench.now;
    let refused = bench.group.may_commit(now, &outsider);
    assert_eq!(refused, Err(ResponseError::UnknownMemberId));
    let member = bench.caller("b");
    assert_eq!(bench.group.may_commit(now, &member), Ok(()));
    assert_eq!(Group::default().may_commit(now, &outsider), Ok(()));
}

#[test]
fn a_member_may_commit_while_others_join_but_not_before_it_is_assigned() {
    let mut bench = Bench::of_two();
    bench.join(named("c"));
    let (now, caller) = (bench.now, bench.caller("a"));
    assert_eq!(bench.group.may_commit(now, &caller), Ok(()));
    bench.join(again("a"));
    bench.join(again("b"));
    assert_eq!(bench.group.state, State::Completing);
    let caller = bench.caller("a");
    let refused = bench.group.may_commit(now, &caller);
    assert_eq!(refused, Err(ResponseError::RebalanceInProgress));
}

#[test]
fn a_group_takes_no_more_members_than_it_can_hold() {
    let mut bench = Bench::new();
    for index in 0..MAX_MEMBERS {
        assert!(bench.join(named(&format!("m{index}"))).1.is_empty());
    }
    let (_, effects) = bench.join(named("one too many"));
    assert_eq!(refusal(&effects), Some(ResponseError::GroupMaxSizeReached));
}
