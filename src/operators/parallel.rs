//! Work split over the threads of a session, where it has more than one (`threads` in a pipeline; sessions made
//! for throughput have one each).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use ort::operator::ComputeContext;

use super::wrong;

/// Fewer rows than this are not worth another thread.
const FEWEST: usize = 24;

/// Into how many rows at once so many fall: about equal shares, one a thread.
pub(super) fn share(rows: usize, threads: usize) -> usize {
    rows.div_ceil(threads.max(1)).next_multiple_of(FEWEST)
}

/// Does all jobs, on ONNX Runtime's threads if there are several. Each job owns its part of the output. A job
/// that panics must not unwind into ONNX Runtime: it ends as an error. Of several that fail the first one's words are kept.
pub(super) fn each<J: Send, E: ToString>(
    context: &ComputeContext,
    jobs: Vec<J>,
    run: impl Fn(J) -> Result<(), E> + Sync,
) -> ort::Result<()> {
    if jobs.len() <= 1 {
        return jobs.into_iter().try_for_each(|job| run(job).map_err(|e| wrong(&e.to_string())));
    }
    let jobs: Vec<Mutex<Option<J>>> = jobs.into_iter().map(|job| Mutex::new(Some(job))).collect();
    let failed: Mutex<Option<String>> = Mutex::new(None);
    context.par_for(jobs.len(), 0, |index| {
        let job = jobs.get(index).and_then(|job| job.lock().unwrap_or_else(PoisonError::into_inner).take());
        let message = match catch_unwind(AssertUnwindSafe(|| job.map(&run))) {
            Ok(Some(Ok(()))) => return,
            Ok(Some(Err(e))) => e.to_string(),
            Ok(None) => "an operator of squeezeflow was given a part of its work twice".to_owned(),
            Err(_) => "an operator of squeezeflow panicked on one of its threads".to_owned(),
        };
        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
    })?;
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(message) => Err(wrong(&message)),
        None => Ok(()),
    }
}

/// Consecutive texts for each thread, about equally many tokens. `offsets` as a packed graph has them; each
/// range is `first..end` of texts.
pub(super) fn texts(offsets: &[usize], threads: usize) -> Vec<std::ops::Range<usize>> {
    let count = offsets.len().saturating_sub(1);
    let tokens = offsets.last().copied().unwrap_or(0);
    let most = tokens.div_ceil(threads.max(1)).max(1);
    let (mut ranges, mut first) = (Vec::new(), 0);
    while first < count {
        let begin = offsets[first];
        let full = (first + 1..count).find(|&end| offsets[end] >= begin.saturating_add(most));
        // Texts without a token at the end are not worth a range of their own.
        let end = full.filter(|&end| offsets[end] < tokens).unwrap_or(count);
        ranges.push(first..end);
        first = end;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_is_in_one_range(lengths in prop::collection::vec(0_usize..50, 0..40), threads in 0_usize..9) {
            let mut sum = 0;
            let offsets: Vec<usize> =
                std::iter::once(0).chain(lengths.iter().map(|n| { sum += n; sum })).collect();
            let ranges = texts(&offsets, threads);
            prop_assert!(ranges.len() <= threads.max(1) || sum == 0);
            let all: Vec<usize> = ranges.into_iter().flatten().collect();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        }

        #[test]
        fn shares_cover_all_rows(rows in 0_usize..5000, threads in 0_usize..20) {
            let share = share(rows, threads);
            prop_assert!(share * threads.max(1) >= rows);
            prop_assert!(rows == 0 || share > 0);
        }
    }
}
