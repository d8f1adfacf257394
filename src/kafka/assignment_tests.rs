//! Lines, shares and offsets of owned partitions.
#![allow(clippy::unwrap_used)]
use std::num::NonZeroUsize;

use super::*;

fn assignment(records: usize, bytes: usize, partitions: i32) -> Assignment {
    let n = |v| NonZeroUsize::new(v).unwrap();
    let mut a = Assignment::new(&Limits {
        max_in_flight_records: n(records),
        max_in_flight_bytes: n(bytes),
        text_workers: n(1),
        drain_timeout: Duration::from_secs(1),
    });
    for p in 0..partitions {
        a.add("t", p, NextOffset::new(0), None);
    }
    a
}

fn partitions(list: &[(Arc<str>, i32)]) -> Vec<i32> {
    list.iter().map(|(_, p)| *p).collect()
}

fn ready() -> Ready {
    let record = crate::record::Record {
        topic: "t".into(),
        partition: 0,
        offset: Offset::new(0),
        key: None,
        value: None,
        headers: Vec::new(),
        timestamp: crate::record::Timestamp(None),
    };
    let outcome = Outcome::PassThrough { record, why: crate::record::PassThrough::Tombstone };
    let now = Instant::now();
    Ready { outcome, trace: Trace::NONE, stamps: Stamps::admitted(now), settled: now }
}

fn admit(a: &mut Assignment, partition: i32, offset: i64, size: usize) -> Option<Ticket> {
    a.admit("t", partition, Offset::new(offset), size, Timestamp(Some(offset * 1000)))
}

fn finish(a: &mut Assignment, ticket: Ticket) {
    a.settle(ticket, ready()).unwrap();
    let (released, _) = a.release(ticket.partition).unwrap();
    assert_eq!(released, ticket);
    a.deliver(ticket).unwrap();
}

#[test]
fn a_partition_that_uses_up_its_share_stops_alone_and_resumes_at_half() {
    let mut a = assignment(8, 1 << 20, 2);
    let tickets: Vec<Ticket> = (0..4).map(|o| admit(&mut a, 0, o, 10).unwrap()).collect();
    assert_eq!(partitions(&a.flow(0).0), [0]);
    assert!(!a.full);
    finish(&mut a, tickets[0]);
    assert!(a.flow(0).1.is_empty(), "three of four: still above half");
    finish(&mut a, tickets[1]);
    assert_eq!(partitions(&a.flow(0).1), [0]);
}

#[test]
fn what_the_stages_still_hold_of_lost_partitions_counts() {
    let mut a = assignment(8, 1 << 20, 2);
    assert!(a.flow(7).0.is_empty());
    assert_eq!(a.flow(8).0.len(), 2);
    assert!(a.flow(5).1.is_empty(), "above half");
    assert_eq!(a.flow(4).1.len(), 2);
}

#[test]
fn a_record_larger_than_the_share_is_taken_alone() {
    let mut a = assignment(100, 1000, 4);
    let t = admit(&mut a, 1, 0, 5000).unwrap();
    assert_eq!(a.flow(0).0.len(), 4, "the whole budget is used up");
    finish(&mut a, t);
    assert_eq!(a.flow(0).1.len(), 4);
}

#[test]
fn what_comes_back_for_an_earlier_assignment_is_stale() {
    let mut a = assignment(8, 1000, 1);
    let old = admit(&mut a, 0, 5, 1).unwrap();
    a.remove("t", 0).unwrap();
    assert_eq!(a.settle(old, ready()), Err(TicketError::Stale));
    a.add("t", 0, NextOffset::new(5), None);
    assert_eq!(a.settle(old, ready()), Err(TicketError::Stale));
    let new = admit(&mut a, 0, 5, 1).unwrap();
    assert_ne!(old.epoch, new.epoch);
    finish(&mut a, new);
    assert_eq!(a.begin_commit(), [("t".into(), 0, NextOffset::new(6))]);
    a.committed(false);
    assert_eq!(a.begin_commit().len(), 1, "a failed commit is wanted again");
    a.committed(true);
    assert!(a.begin_commit().is_empty());
}

#[test]
fn a_record_that_the_client_delivers_again_is_not_admitted_again() {
    let mut a = assignment(8, 1000, 1);
    assert!(admit(&mut a, 0, 3, 1).is_some());
    assert!(admit(&mut a, 0, 3, 1).is_none());
    assert!(admit(&mut a, 0, 2, 1).is_none());
    assert!(admit(&mut a, 0, 7, 1).is_some(), "offsets have holes");
}

#[test]
fn a_closing_partition_neither_admits_nor_releases() {
    let mut a = assignment(8, 1000, 1);
    let t = admit(&mut a, 0, 0, 1).unwrap();
    a.settle(t, ready()).unwrap();
    a.get_mut("t", 0).unwrap().closing = true;
    assert!(a.release(t.partition).is_none());
    assert!(admit(&mut a, 0, 1, 1).is_none());
}

#[test]
fn lag_in_time_is_the_age_of_the_oldest_record_that_is_not_delivered() {
    let mut a = assignment(8, 1000, 1);
    let now = std::time::UNIX_EPOCH + Duration::from_secs(60);
    let lag = |a: &mut Assignment, records| {
        let time = a.get_mut("t", 0).unwrap().lag_time(records, now);
        time.map(|t| t.as_secs())
    };
    assert_eq!(lag(&mut a, None), None);
    assert_eq!(lag(&mut a, Some(7)), None, "nothing was read yet");
    assert_eq!(lag(&mut a, Some(0)), Some(0));
    let first = admit(&mut a, 0, 10, 1).unwrap();
    let second = admit(&mut a, 0, 25, 1).unwrap();
    assert_eq!(lag(&mut a, Some(7)), Some(50));
    finish(&mut a, first);
    assert_eq!(lag(&mut a, Some(6)), Some(35));
    finish(&mut a, second);
    assert_eq!(lag(&mut a, Some(5)), Some(35), "what comes next is no older");
    assert_eq!(lag(&mut a, Some(0)), Some(0));
    admit(&mut a, 0, 90, 1).unwrap();
    assert_eq!(lag(&mut a, Some(1)), Some(0), "its producer's clock is ahead");
}
