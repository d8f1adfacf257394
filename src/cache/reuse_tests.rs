#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn key(n: u32) -> Key {
    Key { model: 0, ids: vec![101, n, 102], types: Vec::new() }
}

/// What the model says of `key(n)`: poison, NaN, or an answer that is its own.
fn answer(n: u32) -> Result<Output, InferError> {
    match n % 10 {
        7 => Err(InferError::Run("Gather: out of bounds".into())),
        8 => Ok(Output { logits: vec![f32::NAN] }),
        _ => Ok(Output { logits: vec![n as f32] }),
    }
}

/// Equal where NaN is.
fn same(a: &Result<Output, InferError>, b: &Result<Output, InferError>) -> bool {
    match (a, b) {
        (Ok(a), Ok(b)) => a.logits.iter().zip(&b.logits).all(|(a, b)| a.to_bits() == b.to_bits()),
        (a, b) => a == b,
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A sequence with this key comes.
    Comes(u32),
    /// One of those that run comes back; which is up to this number.
    Answered(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![(0u32..40).prop_map(Step::Comes), any::<usize>().prop_map(Step::Answered)];
    prop::collection::vec(step, 0..400)
}

proptest! {
    /// Whatever comes when: each sequence gets one answer, its own; none of a key runs while another
    /// one does; the bytes never go over their bound; nothing is left behind.
    #[test]
    fn each_sequence_has_its_own_answer_once(steps in steps(), room in 0usize..60) {
        let max = room * (OVERHEAD + 3 * 4 + 4);
        let mut reuse: Reuse<usize> = Reuse::new(max);
        let (mut running, mut answers) = (Vec::new(), BTreeMap::new());
        let (mut asked, mut runs, mut kept) = (Vec::new(), BTreeMap::new(), 0_u64);
        let mut finish = |reuse: &mut Reuse<usize>, running: &mut Vec<(u32, usize)>, which: usize, answers: &mut BTreeMap<usize, Result<Output, InferError>>| {
            let (n, first) = running.swap_remove(which);
            let answer = answer(n);
            kept += u64::from(answer.as_ref().is_ok_and(Output::is_finite));
            for waiter in std::iter::once(first).chain(reuse.answered(key(n), &answer)) {
                assert!(answers.insert(waiter, answer.clone()).is_none(), "answered twice");
            }
        };
        for step in steps {
            match step {
                Step::Comes(n) => {
                    let waiter = asked.len();
                    asked.push(n);
                    match reuse.claim(&key(n), waiter) {
                        Claim::Run(waiter) => {
                            prop_assert!(running.iter().all(|(other, _)| *other != n), "it runs already");
                            running.push((n, waiter));
                            *runs.entry(n).or_insert(0) += 1;
                        }
                        Claim::Kept(waiter, output) => {
                            prop_assert!(output.is_finite(), "what is not sound is not kept");
                            answers.insert(waiter, Ok(output));
                        }
                        Claim::Joined => prop_assert!(running.iter().any(|(other, _)| *other == n)),
                    }
                }
                Step::Answered(which) if !running.is_empty() => {
                    let which = which % running.len();
                    finish(&mut reuse, &mut running, which, &mut answers);
                }
                Step::Answered(_) => {}
            }
            prop_assert!(reuse.bytes() <= max as u64);
            prop_assert_eq!(reuse.bytes(), (reuse.entries() * (OVERHEAD + 3 * 4 + 4)) as u64);
            prop_assert_eq!(reuse.running(), running.len());
        }
        while !running.is_empty() {
            finish(&mut reuse, &mut running, 0, &mut answers);
        }
        prop_assert_eq!(answers.len(), asked.len());
        for (waiter, n) in asked.iter().enumerate() {
            prop_assert!(same(&answers[&waiter], &answer(*n)), "another one's answer");
        }
        prop_assert_eq!(reuse.entries() as u64 + reuse.evicted(), kept);
        // There are 40 keys.
        if room >= 45 {
            let sound = |n: &u32| answer(*n).is_ok_and(|output| output.is_finite());
            prop_assert!(runs.iter().all(|(n, times)| *times == 1 || !sound(n)), "{:?}", runs);
        }
    }
}

#[test]
fn with_room_for_all_each_runs_once_and_poison_each_time() {
    let mut reuse: Reuse<()> = Reuse::new(1 << 20);
    for _ in 0..3 {
        for n in 0..40 {
            if let Claim::Run(()) = reuse.claim(&key(n), ()) {
                reuse.answered(key(n), &answer(n));
            }
        }
    }
    assert_eq!(reuse.entries(), 32);
    assert!(matches!(reuse.claim(&key(7), ()), Claim::Run(())), "poison is not kept");
    assert!(matches!(reuse.claim(&key(8), ()), Claim::Run(())), "nor is NaN");
    assert!(matches!(reuse.claim(&key(9), ()), Claim::Kept(..)));
}

#[test]
fn another_model_has_other_answers() {
    let mut reuse: Reuse<()> = Reuse::new(1 << 20);
    assert!(matches!(reuse.claim(&key(1), ()), Claim::Run(())));
    reuse.answered(key(1), &answer(1));
    let other = Key { model: 1, ..key(1) };
    assert!(matches!(reuse.claim(&other, ()), Claim::Run(())));
}

/// One look through a long log must not put out what is asked for all the time.
#[test]
fn a_scan_does_not_put_out_what_is_in_use() {
    let mut reuse: Reuse<()> = Reuse::new(100 * (OVERHEAD + 16));
    let mut ask = |n: u32| match reuse.claim(&key(n * 10), ()) {
        Claim::Run(()) => {
            reuse.answered(key(n * 10), &answer(n * 10));
            false
        }
        _ => true,
    };
    let mut kept = 0;
    for round in 0..200 {
        for often in 0..20 {
            kept += usize::from(ask(often) && round > 100);
        }
        for once in 0..40 {
            ask(1000 + round * 40 + once);
        }
    }
    assert!(kept > 19 * 99, "of {} questions {kept} were answered at once", 20 * 99);
}
