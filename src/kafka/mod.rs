//! The Kafka edge: one thread that owns consumer and producer.
//!
//! Polling, admission, producing and committing all happen on that thread, so that whether a
//! partition is ours and what is committed for it are decided in one place.
//!
//! | file | what |
//! |---|---|
//! | `run` | a run, from its first connection to its end |
//! | `client` | settings to librdkafka's |
//! | `entry` | the first question: are we let in, and may we do what the pipeline asks for? |
//! | `entry_error` | why not |
//! | `access` | the rights that a pipeline needs, and the names of those that are missing |
//! | `rights` | what our user may do, by the cluster's own word |
//! | `trouble` | why a broker does not let us in, read out of librdkafka's words |
//! | `handshake` | what is wrong with a certificate |
//! | `tokens` | the token of clients that show one (OAUTHBEARER), renewed in time |
//! | `token_request` | a token from its issuer |
//! | `port` | what a port speaks: TLS, SASL |
//! | `ears` | what librdkafka says beside its answers |
//! | `commit` | offsets to the group, without waiting |
//! | `context` | callbacks made into events |
//! | `worker` | the loop |
//! | `exactly_once` | transactions: from the first write to the commit |
//! | `renewal` | a new producer, after an abort or a doubt |
//! | `verdict` | what an error of a transactional call means |
//! | `offsets` | offsets into a transaction, without waiting |
//! | `at_least_once` | delivered, then committed |
//! | `retained` | what no committed transaction holds yet |
//! | `handover` | what the group gives and wants back, until it is answered |
//! | `member` | who we are in the group |
//! | `standby` | a member without partitions: too many members, or too early? |
//! | `rebalance` | what the loop does when partitions come and go |
//! | `ending` | drain, salvage, leave |
//! | `assignment` | the owned partitions: lines, shares, offsets |
//! | `start` | where a partition begins; gaps |
//! | `publish` | outcomes to the broker |
//! | `cut` | a dead letter that is too large for its topic |
//! | `surge` | so many dead letters that something else is wrong |
//! | `watchdog` | a partition that is behind and not read |
//! | `topic_limits` | what the topics' own settings refuse and keep |
//! | `pace` | how long a turn waits for records |
//! | `onlooker` | a consumer for looking at topics beside the workers |
//! | `source`, `headers` | records in and out, byte for byte |
//! | `embedded` | a broker in this process, for the demo and for tests |
//! | `error` | what can stop a run |

pub(crate) mod access;
mod assignment;
mod at_least_once;
pub mod client;
mod commit;
mod context;
mod cut;
pub(crate) mod ears;
pub mod embedded;
mod ending;
pub(crate) mod entry;
mod entry_error;
mod error;
mod exactly_once;
mod handover;
mod handshake;
pub(crate) mod headers;
mod member;
#[cfg(test)]
mod model_tests;
mod offsets;
pub(crate) mod onlooker;
mod pace;
mod port;
mod publish;
mod rebalance;
mod renewal;
mod retained;
mod rights;
mod run;
pub(crate) mod source;
mod standby;
mod start;
mod surge;
mod token_request;
pub(crate) mod tokens;
pub(crate) mod topic_limits;
mod trouble;
mod verdict;
mod watchdog;
mod worker;

pub use access::{Denied, Missing, Operation, Resource};
pub use entry_error::EntryError;
pub use error::RunError;
pub(crate) use error::consumer_fate;
pub use run::run;
pub use worker::Summary;
