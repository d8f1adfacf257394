//! How many records are at each station of their way, so that one sees where they pile up.
//!
//! A record is where its document is: of a long text the first part carries it. So the stations together
//! hold what is in flight, and each record once.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A station of a record's way. The names are those of the `stage` label, and go with those of
/// `squeezeflow_stage_duration_seconds` where one is the time spent at the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Station {
    /// Waiting for a text worker, or in its hands.
    Tokenize,
    /// In the batcher's line.
    Queue,
    /// Waiting for an equal text that is in the model.
    Cache,
    /// In the model.
    Inference,
    /// Answered; waiting for its document's other parts, or for the result to be written into it.
    Enrich,
    /// At its outcome; waiting for those before it in its partition.
    Settle,
    /// With the producer, not delivered (or committed) yet.
    Publish,
}

impl Station {
    /// In the order of the way.
    pub const ALL: [Self; 7] = [
        Self::Tokenize,
        Self::Queue,
        Self::Cache,
        Self::Inference,
        Self::Enrich,
        Self::Settle,
        Self::Publish,
    ];

    /// As the metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tokenize => "tokenize",
            Self::Queue => "queue",
            Self::Cache => "cache",
            Self::Inference => "inference",
            Self::Enrich => "enrich",
            Self::Settle => "settle",
            Self::Publish => "publish",
        }
    }
}

/// One count a station. Cheap to clone; all clones are one. A count may be off for the moment in which a
/// record goes from one to the next, never for longer.
#[derive(Debug, Clone)]
pub(super) struct Depths(Arc<[AtomicI64; Station::ALL.len()]>);

impl Default for Depths {
    fn default() -> Self {
        Self(Arc::new(array::from_fn(|_| AtomicI64::new(0))))
    }
}

impl Depths {
    /// So many go from one station to another; `None`: from outside, or out.
    pub(super) fn moved(&self, records: usize, from: Option<Station>, to: Option<Station>) {
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        if let Some(from) = from {
            self.at(from).fetch_sub(records, Ordering::Relaxed);
        }
        if let Some(to) = to {
            self.at(to).fetch_add(records, Ordering::Relaxed);
        }
    }

    /// Of the stations that the edge looks after: the outcomes in its hands that are not written, and
    /// what is. `in_flight` counts all that was admitted and is not delivered.
    pub(super) fn edge(&self, in_flight: usize, publishing: usize) {
        let inside: i64 = Station::ALL
            .iter()
            .filter(|station| !matches!(station, Station::Settle | Station::Publish))
            .map(|station| self.at(*station).load(Ordering::Relaxed))
            .sum();
        // Of a partition that was taken away some may still be inside, and are not counted as in flight.
        let outside = i64::try_from(in_flight).unwrap_or(i64::MAX).saturating_sub(inside).max(0);
        let publishing = i64::try_from(publishing).unwrap_or(i64::MAX).min(outside);
        self.at(Station::Publish).store(publishing, Ordering::Relaxed);
        self.at(Station::Settle).store(outside - publishing, Ordering::Relaxed);
    }

    /// How many are there now.
    pub(super) fn records(&self, station: Station) -> u64 {
        u64::try_from(self.at(station).load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn at(&self, station: Station) -> &AtomicI64 {
        // Each has its place: there are as many as stations.
        &self.0[station as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_somewhere() {
        let depths = Depths::default();
        depths.moved(10, None, Some(Station::Tokenize));
        depths.moved(4, Some(Station::Tokenize), Some(Station::Queue));
        depths.moved(1, Some(Station::Tokenize), None);
        depths.moved(3, Some(Station::Queue), Some(Station::Inference));
        depths.moved(1, Some(Station::Inference), None);
        depths.edge(10, 1);
        let all = Station::ALL.map(|station| depths.records(station));
        assert_eq!(all, [5, 1, 0, 2, 0, 1, 1]);
        assert_eq!(all.iter().sum::<u64>(), 10);
        depths.edge(3, 0);
        assert_eq!(depths.records(Station::Settle), 0, "the others are of a partition that is gone");
    }

    #[test]
    fn stations_are_numbered_in_their_order() {
        for (number, station) in Station::ALL.iter().enumerate() {
            assert_eq!(*station as usize, number);
        }
    }
}
